"""Prove an eBPF project on every kernel it ships to.

The public names, each loaded when it is first used: pytest imports this package for its plugin in every test run, and
must not pay for what that run does not use. The imports below are the list; type checkers read them, and
ci/gen_names.py writes ``_names.py`` from them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_ebpf.agent import ops as ops
    from pytest_ebpf.charts.flame import flame_graph as flame_graph, fold_stacks as fold_stacks
    from pytest_ebpf.charts.histogram import Histogram as Histogram
    from pytest_ebpf.errors import (
        BootFailed as BootFailed,
        BpfUsageError as BpfUsageError,
        EbpfError as EbpfError,
        GuestLost as GuestLost,
        HarnessError as HarnessError,
        ImageError as ImageError,
        KernelCallError as KernelCallError,
        MirrorUnreachable as MirrorUnreachable,
        ObjectError as ObjectError,
        PackageGone as PackageGone,
        PlanError as PlanError,
    )
    from pytest_ebpf.features.base import Answer as Answer
    from pytest_ebpf.fixtures.aya_log import BpfLog as BpfLog
    from pytest_ebpf.fixtures.comparisons.baseline import BpfBaseline as BpfBaseline
    from pytest_ebpf.fixtures.features import BpfFeatures as BpfFeatures
    from pytest_ebpf.fixtures.instruments.benchmark import BpfBenchmark as BpfBenchmark
    from pytest_ebpf.fixtures.instruments.faults import BpfFault as BpfFault
    from pytest_ebpf.fixtures.matrix_fixture import BpfMatrix as BpfMatrix
    from pytest_ebpf.fixtures.shared import SharedBpf as SharedBpf
    from pytest_ebpf.fixtures.values import BpfDmesg as BpfDmesg, BpfKernel as BpfKernel, BpfTrace as BpfTrace
    from pytest_ebpf.kernels.fake import FakeKernel as FakeKernel
    from pytest_ebpf.live.attach.link import Link as Link, Mechanism as Mechanism
    from pytest_ebpf.live.attach.query import Attached as Attached
    from pytest_ebpf.live.bpf_object import Attachments as Attachments, BpfObject as BpfObject
    from pytest_ebpf.live.datapath import BpfDatapath as BpfDatapath
    from pytest_ebpf.live.instrument.calls import Call as Call, Calls as Calls
    from pytest_ebpf.live.loader import Bpf as Bpf
    from pytest_ebpf.live.machine.cgroup import Cgroup as Cgroup
    from pytest_ebpf.live.machine.commands import User as User
    from pytest_ebpf.live.machine.machine import BpfVm as BpfVm
    from pytest_ebpf.live.machine.process import Background as Background
    from pytest_ebpf.live.machine.results import CommandTimeoutError as CommandTimeoutError, Completed as Completed
    from pytest_ebpf.live.maps.map import Map as Map
    from pytest_ebpf.live.net.netns import NetInterface as NetInterface, Netns as Netns, Veth as Veth
    from pytest_ebpf.live.net.sockets import Process as Process, Socket as Socket
    from pytest_ebpf.live.object_spec import MapSpec as MapSpec, ObjectSpec as ObjectSpec, ProgramSpec as ProgramSpec
    from pytest_ebpf.live.open_kernel import open_kernel as open_kernel
    from pytest_ebpf.live.program import Program as Program
    from pytest_ebpf.live.run.retvals import (
        CGROUP as CGROUP,
        FLOW as FLOW,
        LWT as LWT,
        NF as NF,
        SK as SK,
        TC as TC,
        XDP as XDP,
    )
    from pytest_ebpf.live.run.test_run import RunResult as RunResult
    from pytest_ebpf.live.typed.address import addr as addr
    from pytest_ebpf.outcome import Fault as Fault, Outcome as Outcome
    from pytest_ebpf.packets import (
        CaptureError as CaptureError,
        Frame as Frame,
        Packet as Packet,
        assert_packet as assert_packet,
        diff_packets as diff_packets,
        parse_packet as parse_packet,
        parse_pcap as parse_pcap,
        render_pcap as render_pcap,
        render_pcapng as render_pcapng,
    )
    from pytest_ebpf.packets.build import *
    from pytest_ebpf.pcap_files import read_pcap as read_pcap, write_pcap as write_pcap
    from pytest_ebpf.properties.decorator import bpf_property as bpf_property
    from pytest_ebpf.uapi.flags import MapFlag as MapFlag, RunFlag as RunFlag
    from pytest_ebpf.uapi.names import (
        AttachTypeName as AttachTypeName,
        LinkTypeName as LinkTypeName,
        MapTypeName as MapTypeName,
        ProgTypeName as ProgTypeName,
    )
    from pytest_ebpf.verifier.log.expect import absent as absent, next_line as next_line
    from pytest_ebpf.verifier.program_rejected import ProgramRejected as ProgramRejected
    from pytest_ebpf.verifier.rejection.classify import Rejection as Rejection
    from pytest_ebpf.verifier.verifier_log import VerifierLog as VerifierLog
    from pytest_ebpf.verify.verdict import ProgramVerdict as ProgramVerdict

__version__ = "0.1.0"


def _homes() -> dict[str, str]:
    """Public name -> the module that has it. Imported with the first name: an unused plugin has not even this."""
    from pytest_ebpf._names import HOMES

    return HOMES


def __getattr__(name: str) -> object:
    if name == "__all__":
        return list(_homes())
    home = "" if name.startswith("_") else _homes().get(name, "")
    if not home:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = import_module(home)
    value: object = getattr(module, name) if hasattr(module, name) else import_module(f"{home}.{name}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_homes()})
