"""Sends a packet through a program, by a test run or over a pair of interfaces: the same call, the same result type."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

from pytest_ebpf.agent.ops import EnableStats, Failed, Handle, LinkCreate, Made, ProgLoad, ProgLoaded
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.frozen import dataclass, field
from pytest_ebpf.live.handles import close_after
from pytest_ebpf.live.run.retvals import TC, XDP, render_retval
from pytest_ebpf.live.typed.as_bytes import as_bytes
from pytest_ebpf.packets import Packet, parse_packet
from pytest_ebpf.uapi.enums import AttachType, ProgType
from pytest_ebpf.uapi.net import XdpFlag

if TYPE_CHECKING:
    from pytest_ebpf.live.attach.link import Link
    from pytest_ebpf.live.maps.map import Map
    from pytest_ebpf.live.net.capture import Capture
    from pytest_ebpf.live.net.netns import NetInterface, Netns, Veth
    from pytest_ebpf.live.program import Program

__all__ = ["PATHS", "BpfDatapath", "PathProgram", "PathResult"]

PATHS = ("test_run", "wire")
_PASS = bytes.fromhex("b7000000020000009500000000000000")  # mov64 r0, XDP_PASS; exit
_GRACE = 0.02  # seconds from the end of a program to its packet's arrival, at most
_STEP = 0.005
_VLANS = (0x8100, 0x88A8)
# What is reported for a return value: a wire does not show why a packet was lost.
_SEEN: dict[int, int] = {
    XDP.ABORTED: XDP.DROP,
}
_TC_SEEN: dict[int, int] = {
    TC.UNSPEC: TC.OK,
    TC.RECLASSIFY: TC.OK,
    TC.PIPE: TC.OK,
    TC.STOLEN: TC.SHOT,
    TC.QUEUED: TC.SHOT,
    TC.TRAP: TC.SHOT,
}


@dataclass(frozen=True, slots=True)
class PathResult:
    """What happened to a packet. Two results are equal if the same happened: ``verdict`` (``XDP``: PASS, DROP, TX,
    REDIRECT; ``TC``: OK, SHOT, REDIRECT) and the bytes in ``data``, none for a packet that was dropped.

    A wire shows effects: ABORTED is reported as DROP, UNSPEC as OK, STOLEN as SHOT. ``retval`` is the program's return
    value in a test run, else None.
    """

    verdict: int
    data: bytes = b""
    path: str = field(default="", compare=False)
    retval: int | None = field(default=None, compare=False)

    @property
    def packet(self) -> Packet:
        """``data``, taken apart."""
        return parse_packet(self.data)

    @property
    def dropped(self) -> bool:
        """Whether the packet was dropped."""
        return self.verdict in (XDP.DROP, TC.SHOT) and not self.data

    def __bytes__(self) -> bytes:
        return self.data

    def __str__(self) -> str:
        return f"{render_retval(self.verdict)} by {self.path}, {len(self.data)} bytes"


class BpfDatapath:
    """How packets get to programs: ``name`` is "test_run" or "wire". The same test body runs by both.

    On the wire a packet leaves ``veth.a`` and arrives at ``veth.b``, where the program is attached (tc egress programs:
    at ``veth.a``). ``out`` is another interface beside ``veth.b``, for programs that redirect.
    """

    def __init__(self, name: str, *, netns: Callable[[], Netns], mode: Literal["skb", "native"] = "skb") -> None:
        if name not in PATHS:
            raise BpfUsageError(f"a path must be one of {', '.join(PATHS)}, got {name!r}")
        self.name = name
        self.mode = mode
        self._netns = netns
        self._attached: list[_Attached] = []
        self._behind: dict[int, Capture] = {}

    def on(self, name: str) -> BpfDatapath:
        """The path of that name: ``path.on("wire").run(...) == path.on("test_run").run(...)``."""
        return self if name == self.name else BpfDatapath(name, netns=self._netns, mode=self.mode)

    def run(self, program: Program, packet: object, *, timeout: float = 1.0) -> PathResult:
        """Send one packet through an XDP or tc program. On the wire the program is attached until another one is run.

        ``timeout``: seconds for the packet to reach the program. ``BpfUsageError``: a program of another type;
        ``AssertionError``: the packet did not reach the program.
        """
        if program.type_number not in (ProgType.XDP, ProgType.SCHED_CLS):
            raise BpfUsageError(
                f"{program.name} is a {program.type} program: a path takes XDP and tc programs",
                hint="prog.run() and prog.attach() take every type.",
            )
        if self.name == "test_run":
            return _tested(program, packet)
        return self._sent(program, as_bytes(packet), timeout=timeout)

    def of(self, program: Program) -> PathProgram:
        """The program as this path runs it, for what compares programs: ``oracles.same_on({"test_run":
        path.on("test_run").of(prog), "wire": path.on("wire").of(prog)}, packets)``."""
        return PathProgram(self, program)

    @cached_property
    def veth(self) -> Veth:
        """The wire: two interfaces without addresses, so that the network stack sends nothing by itself."""
        return self._netns().new().veth("near", "far")

    @cached_property
    def _beside(self) -> Veth:
        return self.veth.b.netns.veth("out", "sink")

    @property
    def out(self) -> NetInterface:
        """The interface for programs that redirect: ``obj.maps["ports"][0] = path.out.index``."""
        return self._beside.a

    def close(self) -> None:
        """Detach the program."""
        while self._attached:
            self._attached.pop().link.detach()

    def __enter__(self) -> BpfDatapath:
        return self

    def __exit__(self, *exc: object) -> None:
        close_after(exc, self.close)

    def _sent(self, program: Program, frame: bytes, *, timeout: float) -> PathResult:
        self._attach(program)
        places = self._places(program, frame)
        for place in places:
            place.capture.take(timeout=0)
        before = self._runs(program)
        self.veth.a.send(frame)
        verdict, data = self._outcome(program, places=places, before=before, timeout=timeout)
        return PathResult(verdict, data, self.name)

    def _outcome(
        self, program: Program, *, places: tuple[_Place, ...], before: int, timeout: float
    ) -> tuple[int, bytes]:
        scale = self.veth.a.netns.session.target.time_scale
        deadline, ran_at = time.monotonic() + timeout * scale, 0.0
        while True:
            for place in places:
                if got := place.capture.take(timeout=_STEP / scale if place is places[0] else 0, count=1):
                    return place.verdict, bytes(got[0])
            now = time.monotonic()
            if ran_at and now > ran_at + _GRACE * scale:
                return (XDP.DROP if program.type_number == ProgType.XDP else TC.SHOT), b""
            if not ran_at and self._runs(program) > before:
                ran_at = now
            if now > deadline:
                raise AssertionError(
                    f"the packet did not reach {program.name} at {self._attached[-1].link.target} within {timeout:g} s"
                )

    def _places(self, program: Program, frame: bytes) -> tuple[_Place, ...]:
        """Where the packet may arrive, and the verdict that this shows. The expected place comes first."""
        xdp = program.type_number == ProgType.XDP
        back, out = self.veth.a.capture(), self._beside.b.capture()
        if xdp or _is_egress(program):
            through = self.veth.b.capture()
        else:
            through = self._behind_tc(frame)
        passed, returned, redirected = (XDP.PASS, XDP.TX, XDP.REDIRECT) if xdp else (TC.OK, TC.REDIRECT, TC.REDIRECT)
        return _Place(through, passed), _Place(back, returned), _Place(out, redirected)

    def _behind_tc(self, frame: bytes) -> Capture:
        kind = int.from_bytes(frame[12:14], "big")
        if kind in _VLANS:  # the kernel takes the tag off before
            kind = int.from_bytes(frame[16:18], "big")
        if kind not in self._behind:
            self._behind[kind] = self.veth.b.behind_tc(*{0x0800, 0x86DD, 0x0806, max(kind, 0x0600)})
        return self._behind[kind]

    def _attach(self, program: Program) -> None:
        for last in self._attached:
            if last.program is program and last.mode == self.mode and last.link.attached:
                return
        self.close()
        _ = self._counting
        if program.type_number == ProgType.XDP:
            if self.mode == "native":
                _ = self._receivers
            link = program.attach(interface=self.veth.b, mode=self.mode)
        elif _is_egress(program):
            link = program.attach(interface=self.veth.a, direction="egress")
        else:
            link = program.attach(interface=self.veth.b, direction="ingress")
        self._attached.append(_Attached(program, self.mode, link))

    @cached_property
    def _receivers(self) -> list[Handle]:
        """Programs that pass everything, where packets come out: veth takes frames from another device's XDP only where
        it has a program too (veth_xdp_xmit in drivers/net/veth.c)."""
        session = self.veth.a.netns.session
        loaded = session.one(
            ProgLoad(type=ProgType.XDP, insns=_PASS, license="GPL", name="pass", log_level=0), ProgLoaded
        )
        ends = (self.veth.a, self._beside.b)
        return [
            session.make(LinkCreate(loaded.handle, AttachType.XDP, end.index, XdpFlag.DRV_MODE, netns=end.netns.handle))
            for end in ends
        ]

    @cached_property
    def _counting(self) -> bool:
        """Have the kernel count runs (Linux 5.8): the only trace of a program that drops."""
        return not isinstance(self.veth.a.netns.session.attempt(EnableStats(), Made), Failed)

    def _runs(self, program: Program) -> int:
        return program.run_stats.count

    def __repr__(self) -> str:
        return f"<BpfDatapath {self.name}>"


@dataclass(frozen=True, slots=True)
class PathProgram:
    """A program that a path runs: ``BpfDatapath.of``."""

    path: BpfDatapath
    program: Program

    def run(self, packet: object) -> PathResult:
        """As ``BpfDatapath.run``."""
        return self.path.run(self.program, packet)

    @property
    def maps(self) -> Mapping[str, Map]:
        """Those of the program."""
        return self.program.maps


class _Attached(NamedTuple):
    program: Program
    mode: str
    link: Link


class _Place(NamedTuple):
    capture: Capture
    verdict: int


def _is_egress(program: Program) -> bool:
    return program.definition.section.endswith("/egress")


def _tested(program: Program, packet: object) -> PathResult:
    ran = program.run(packet)
    if program.type_number == ProgType.XDP:
        known = ran.retval if ran.retval in XDP._value2member_map_ else XDP.ABORTED
        verdict = _SEEN.get(known, known)
    else:
        verdict = _TC_SEEN.get(ran.retval, ran.retval)
    dropped = verdict == (XDP.DROP if program.type_number == ProgType.XDP else TC.SHOT)
    return PathResult(verdict, b"" if dropped else ran.data, "test_run", ran.retval)
