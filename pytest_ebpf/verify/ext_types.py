"""What a program that extends another is verified as when the other is not there: a program of the type whose context
it takes. The verifier checks an extension as a program of its target's type (check_attach_btf_id(), kernel/bpf), so
that it says the same; veristat guesses likewise."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_ebpf.btf.types import Func, FuncProto, Modifier, Ptr
from pytest_ebpf.obj.object import ObjectFile, ProgramDef
from pytest_ebpf.plan.options import ProgramOverride
from pytest_ebpf.uapi.enums import ProgType

__all__ = ["stand_ins"]

# The struct of the context (include/linux/bpf_types.h, for users and in the kernel) -> a section of that type.
_SECTIONS: Mapping[str, str] = {
    "xdp_md": "xdp",
    "xdp_buff": "xdp",
    "__sk_buff": "tc",
    "sk_buff": "tc",
    "bpf_sock": "cgroup/post_bind4",
    "bpf_sock_addr": "cgroup/bind4",
    "bpf_sock_ops": "sockops",
    "sk_msg_md": "sk_msg",
    "bpf_cgroup_dev_ctx": "cgroup/dev",
    "bpf_sysctl": "cgroup/sysctl",
    "bpf_sockopt": "cgroup/setsockopt",
    "sk_reuseport_md": "sk_reuseport",
    "bpf_sk_lookup": "sk_lookup",
    "bpf_user_pt_regs_t": "kprobe",
    "pt_regs": "kprobe",
    "bpf_perf_event_data": "perf_event",
    "bpf_raw_tracepoint_args": "raw_tp",
}


def stand_ins(obj: ObjectFile) -> dict[str, ProgramOverride]:
    """Program -> the section it is verified as, for the extensions among the programs whose context is known."""
    found = {}
    for program in obj.programs:
        if program.spec is not None and program.spec.prog_type == ProgType.EXT and (section := _section(obj, program)):
            found[program.name] = ProgramOverride(section=section)
    return found


def _section(obj: ObjectFile, program: ProgramDef) -> str:
    """By the only parameter: a pointer to a context, possibly behind typedefs."""
    btf = obj.btf
    if btf is None or not program.btf_id:
        return ""
    func = btf.type(program.btf_id)
    proto = btf.type(func.type) if isinstance(func, Func) else None
    if not isinstance(proto, FuncProto) or len(proto.params) != 1:
        return ""
    pointer = btf.type(btf.resolve(proto.params[0].type))
    target = btf.type(pointer.type) if isinstance(pointer, Ptr) else None
    while isinstance(target, Modifier):
        target = btf.type(target.type)
    return _SECTIONS.get(getattr(target, "name", ""), "")
