"""Which program types ``BPF_PROG_TEST_RUN`` can run, what each wants, and what to do for those it cannot.

Source: ``net/bpf/test_run.c`` and the ``*_prog_ops`` tables of Linux 5.10 to 7.2. A type without a ``test_run``
operation answers ENOTSUPP; asking is pointless, so it is refused here with the way out.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pytest_ebpf.frozen import dataclass
from pytest_ebpf.obj.sections import prog_type_name
from pytest_ebpf.uapi.enums import ProgType

__all__ = ["RUN_RULES", "RunRule", "runnable_types", "type_name", "way_out"]


@dataclass(frozen=True, slots=True)
class RunRule:
    """How one program type runs. ``min_data`` in bytes; ``context`` names a row of ``CONTEXTS``, or is ``args`` (u64
    arguments), ``bytes`` (anything, changed in place) or empty (no context). ``data_is`` says what ``data`` is."""

    type: int
    since: str
    takes_data: bool = True
    min_data: int = 14
    context: str = ""
    ctx_only_on_request: bool = False
    repeatable: bool = True
    data_is: str = "an Ethernet frame"


def type_name(prog_type: int) -> str:
    """The kernel's name of a program type: xdp, sched_cls, ..."""
    return prog_type_name(prog_type).lower()


_SKB = (
    *(ProgType.SOCKET_FILTER, ProgType.SCHED_CLS, ProgType.SCHED_ACT, ProgType.CGROUP_SKB),
    *(ProgType.LWT_IN, ProgType.LWT_OUT, ProgType.LWT_XMIT, ProgType.LWT_SEG6LOCAL),
)


def _skb(number: int) -> RunRule:
    return RunRule(number, "4.12", context="__sk_buff")


# bpf_prog_test_run_* in net/bpf/test_run.c. xdp_md came with 5.14 (47316f4a3053), so it is only sent when asked for.
# lwt_seg6local runs on 5.10 and answers ENOTSUPP on 6.1 and later.
RUN_RULES: Mapping[int, RunRule] = MappingProxyType(
    {
        rule.type: rule
        for rule in (
            *(_skb(number) for number in _SKB),
            RunRule(ProgType.XDP, "4.12", context="xdp_md", ctx_only_on_request=True),
            RunRule(ProgType.RAW_TRACEPOINT, "5.10", takes_data=False, min_data=0, context="args", repeatable=False),
            RunRule(ProgType.FLOW_DISSECTOR, "5.0", context="bpf_flow_keys", ctx_only_on_request=True),
            RunRule(ProgType.TRACING, "5.5", takes_data=False, min_data=0, repeatable=False),
            RunRule(ProgType.SK_LOOKUP, "5.13", takes_data=False, min_data=0, context="bpf_sk_lookup"),
            RunRule(ProgType.SYSCALL, "5.14", takes_data=False, min_data=0, context="bytes", repeatable=False),
            RunRule(
                ProgType.NETFILTER,
                "6.4",
                min_data=20,
                context="nf_hook_state",
                ctx_only_on_request=True,
                data_is="an IP packet",
            ),
        )
    }
)

_CGROUP = (
    "attach it to a cgroup (prog.attach(cgroup=bpf.cgroup())), run a command in it and look at maps and exit codes"
)
_WAYS_OUT: Mapping[int, str] = MappingProxyType(
    {
        ProgType.KPROBE: (
            "attach it (prog.attach()), make the probed function run with bpf_vm.run([...]), then look at its maps"
        ),
        ProgType.TRACEPOINT: "attach it (prog.attach()), cause the event with bpf_vm.run([...]), then look at its maps",
        ProgType.PERF_EVENT: "attach it to a perf event and look at its maps",
        ProgType.CGROUP_SOCK: _CGROUP,
        ProgType.SOCK_OPS: _CGROUP,
        ProgType.SK_SKB: "put it on a sockmap and send through a socket",
        ProgType.CGROUP_DEVICE: _CGROUP,
        ProgType.SK_MSG: "put it on a sockmap and send through a socket",
        ProgType.CGROUP_SOCK_ADDR: _CGROUP,
        ProgType.CGROUP_SYSCTL: _CGROUP,
        ProgType.RAW_TRACEPOINT_WRITABLE: "attach it (prog.attach()), cause the event, then look at its maps",
        ProgType.CGROUP_SOCKOPT: _CGROUP,
        ProgType.EXT: "load it with its target and run the target",
        ProgType.LSM: (
            "attach it (prog.attach()), do what the hook guards with bpf_vm.run([...]), then look at its maps"
        ),
    }
)


def runnable_types() -> str:
    """The types that can run, for messages."""
    return ", ".join(type_name(number) for number in sorted(RUN_RULES))


def way_out(prog_type: int) -> str:
    """What to do instead of a test run, as one clause."""
    return _WAYS_OUT.get(prog_type, "attach it and look at its maps")
