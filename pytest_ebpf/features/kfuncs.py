"""Probes for kernel functions that programs may call.

That a function is in the kernel's BTF does not make it a kfunc. Kernels since 6.10 tag theirs (``bpf_kfunc``); on
older ones a program is loaded that calls it, and the verifier says "calling kernel function ... is not allowed".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from pytest_ebpf.agent.ops import Data, Op, ProgLoaded, ProgRejected, ReadFile, Result, Try
from pytest_ebpf.btf.parse import Btf, parse_btf
from pytest_ebpf.btf.types import DeclTag, Kind
from pytest_ebpf.errors import ObjectError
from pytest_ebpf.features.base import Answer, Feature, refused, said
from pytest_ebpf.features.history import KFUNCS, REMOVED
from pytest_ebpf.features.progs import load_op, program_types
from pytest_ebpf.obj.insn import CALL, Insn
from pytest_ebpf.plan.facts import Facts
from pytest_ebpf.uapi.insn import PseudoCall

__all__ = ["in_modules", "kfunc_feature"]

_TAG = "bpf_kfunc"
# Between them these may call most of the documented kfuncs.
_CALLERS = ("SCHED_CLS", "XDP", "SYSCALL")
_EXIT = Insn(0x95)
_BARRED = b"is not allowed"
# What a kfunc's name begins with -> the module that may define it, the option it needs
_HOMES: tuple[tuple[str, str, str], ...] = (
    ("bpf_ct_set_nat_info", "nf_nat", "NF_NAT"),
    ("bpf_ct_", "nf_conntrack", "NF_CONNTRACK"),
    ("bpf_skb_ct_", "nf_conntrack", "NF_CONNTRACK"),
    ("bpf_xdp_ct_", "nf_conntrack", "NF_CONNTRACK"),
    ("bpf_xdp_flow_lookup", "nf_flow_table", "NF_FLOW_TABLE"),
    ("bpf_skb_set_fou_encap", "fou", "NET_FOU"),
    ("bpf_skb_get_fou_encap", "fou", "NET_FOU"),
    ("bpf_skb_set_xfrm_info", "xfrm_interface", "XFRM_INTERFACE"),
    ("bpf_skb_get_xfrm_info", "xfrm_interface", "XFRM_INTERFACE"),
    ("bpf_xdp_get_xfrm_state", "", "XFRM"),
    ("bbr_", "tcp_bbr", "TCP_CONG_BBR"),
    ("dctcp_", "tcp_dctcp", "TCP_CONG_DCTCP"),
    ("cubictcp_", "tcp_cubic", "TCP_CONG_CUBIC"),
    ("hid_bpf_", "hid", "HID_BPF"),
    ("scx_bpf_", "", "SCHED_CLASS_EXT"),
    ("bpf_iter_scx_", "", "SCHED_CLASS_EXT"),
    ("bpf_crypto_", "", "CRYPTO"),
    ("bpf_get_fsverity_digest", "", "FS_VERITY"),
    ("bpf_verify_pkcs7_signature", "", "SYSTEM_DATA_VERIFICATION"),
    ("bpf_lookup_", "", "KEYS"),
    ("bpf_key_put", "", "KEYS"),
    ("bpf_qdisc_", "", "NET_SCH_BPF"),
    ("bpf_kfree_skb", "", "NET_SCH_BPF"),
    ("bpf_skb_get_hash", "", "NET_SCH_BPF"),
    ("crash_kexec", "", "CRASH_DUMP"),
    ("cgroup_rstat_", "", "CGROUPS"),
    ("bpf_cgroup_", "", "CGROUPS"),
    ("bpf_io_uring_", "", "IO_URING_BPF"),
)


def kfunc_feature(text: str) -> Feature | None:
    """The row of ``NAME``, or of ``NAME@xdp``: whether programs of one type may call it. None for an unknown type."""
    name, _, caller = text.partition("@")
    if not name or (caller and caller.upper() not in program_types()):
        return None
    since, commit = ("", "") if caller or name in REMOVED else KFUNCS.get(name, ("", ""))
    module, option = _home(name)
    return Feature(
        f"kfunc:{text}",
        since,
        partial(_ops, name=name, module=module, callers=(caller.upper(),) if caller else _CALLERS),
        partial(_read, name=name, module=module, since=since, caller=caller.upper()),
        source=commit,
        config=("DEBUG_INFO_BTF", "BPF_JIT", *([option] if option else [])),
        group="kfunc",
    )


def _home(name: str) -> tuple[str, str]:
    return next(((module, option) for start, module, option in _HOMES if name.startswith(start)), ("", ""))


def _ops(facts: Facts, *, name: str, module: str, callers: tuple[str, ...]) -> list[Op]:
    if facts.btf is None:
        return []
    found = facts.btf.find(name, Kind.FUNC)
    if found:
        call = [Insn(CALL, src=PseudoCall.KFUNC_CALL, imm=found[0]), _EXIT]
        return [Try(load_op(caller, call, facts=facts)) for caller in callers]
    return [Try(ReadFile(f"/sys/kernel/btf/{module}"))] if module else []


def _read(results: Sequence[Result], facts: Facts, *, name: str, module: str, since: str, caller: str) -> Answer:
    if facts.btf is None:
        return Answer(False, f"kfunc {name}: this kernel has no BTF, and without it no kfuncs", since)
    if facts.btf.find(name, Kind.FUNC):
        return _in_vmlinux(results, facts, name=name, since=since, caller=caller)
    if not module:
        # A name that no table knows may be that of a module of one's own, which comes and goes.
        return Answer(False, f"kfunc {name} is not in the kernel's BTF", since, "" if name in KFUNCS else "module")
    if not (results and isinstance(results[0], Data)):
        message = f"kfunc {name} is not in the kernel's BTF, and its module {module} is not loaded (modprobe {module})"
        return Answer(False, message, since, "module")
    inside = _finds(results[0].data, facts.btf, name=name)
    return Answer(inside, f"kfunc {name} is {'' if inside else 'not '}in the BTF of module {module}", since, "module")


def in_modules(name: str, modules: Mapping[str, Btf]) -> Answer:
    """The answer for a kfunc (``NAME`` or ``NAME@xdp``) that neither vmlinux nor a module of the kernel's tree has:
    whether a module that is loaded does."""
    bare = name.partition("@")[0]
    for module, btf in modules.items():
        if any(number >= btf.first_id for number in btf.find(bare, Kind.FUNC)):
            return Answer(True, f"kfunc {bare} is in the BTF of module {module}", "", "module")
    return Answer(False, f"kfunc {bare} is not in the kernel's BTF, nor in that of a loaded module", "", "module")


def _in_vmlinux(results: Sequence[Result], facts: Facts, *, name: str, since: str, caller: str) -> Answer:
    assert facts.btf is not None
    if not caller and _tags(facts.btf):
        tagged = _is_tagged(facts.btf, name)
        return Answer(tagged, f"kfunc {name} is {'' if tagged else 'a kernel function, but no kfunc '}"
                      f"in the kernel's BTF", since)  # fmt: skip
    logs = [result.log for result in results if isinstance(result, ProgRejected)]
    who = f"{caller} programs" if caller else "programs"
    if any(isinstance(result, ProgLoaded) for result in results):
        return Answer(True, f"kfunc {name}: {who} may call it", since)
    reached = [log for log in logs if log and _BARRED not in log and b"BPF_CALL uses reserved" not in log]
    if any(b"calling kernel function" not in log for log in reached):
        return Answer(True, f"kfunc {name}: {who} may call it", since)  # what it says is about the arguments
    if any(log and b"BPF_CALL uses reserved" in log for log in logs):
        return Answer(False, f"kfunc {name}: this kernel lets programs call no kernel functions", since)
    if not any(logs):
        return refused(results[0], facts, message=f"kfunc {name}: {said(results[0])}", since=since)
    if not caller and name in KFUNCS:  # for other types of programs, such as struct_ops
        return Answer(True, f"kfunc {name} is in the kernel's BTF", since)
    return Answer(False, f"kfunc {name}: {said(results[0])}", since)


def _finds(data: bytes, base: Btf, *, name: str) -> bool:
    try:
        return bool(parse_btf(data, base=base).find(name, Kind.FUNC))
    except ObjectError:
        return False


def _tags(btf: Btf) -> tuple[int, ...]:
    return btf.find(_TAG, Kind.DECL_TAG)


def _is_tagged(btf: Btf, name: str) -> bool:
    wanted = set(btf.find(name, Kind.FUNC))
    return any(isinstance(tag := btf.type(id), DeclTag) and tag.type in wanted for id in _tags(btf))
