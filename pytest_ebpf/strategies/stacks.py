"""Packets."""

from __future__ import annotations

import ipaddress
import zlib
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

from hypothesis import strategies as hypothesis_strategies
from hypothesis.strategies import SearchStrategy

from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.packets.generate import KINDS, Mix, make_packet
from pytest_ebpf.packets.packet import Packet
from pytest_ebpf.strategies.saved import note_capture
from pytest_ebpf.suggest import did_you_mean

__all__ = ["PacketStrategy", "mix_of", "packets", "silent_packets"]


def packets(
    layers: Mapping[str, int] | Iterable[str] = (),
    *,
    broken: int = 4,
    first: str = "eth",
    addresses: Iterable[str] = (),
    ports: Iterable[int] = (),
    payload: int = 64,
    least: int = 0,
) -> SearchStrategy[Packet]:
    """Packets with headers by weight: valid ones, and one in ``broken`` that is cut off, too long, or has a wrong
    length, checksum or byte (0: valid ones only). They shrink to ``Eth() / IP() / UDP()``.

    ``layers``: other weights (``{"vlan": 20, "tcp": 0}``; 12 is even odds for what may be besides), or the only kinds
    there are (``["ip", "tcp", "options"]``), of ip, ipv6, arp, unknown; udp, tcp, icmp, sctp, esp, nothing; ipip,
    vxlan, gre, geneve, gtpu, mpls; vlan, options, fragment, extension. ``first``: "eth", or "ip" for programs that see
    no link header. ``addresses`` (IPv4 and IPv6) and ``ports``: what most packets have. ``payload``: bytes at most.
    ``least``: bytes that are left of a packet that is cut off (14; skb programs want the whole IP header: 54)."""
    if first not in ("eth", "ip"):
        raise BpfUsageError(f"packets(first={first!r}): packets start with 'eth' or 'ip'")
    known = [ipaddress.ip_address(one) for one in addresses]
    chosen = {
        "v4": tuple(int(one) for one in known if one.version == 4),
        "v6": tuple(int(one) for one in known if one.version == 6),
        "ports": tuple(ports),
    }
    mix = Mix(
        weights=_weights(layers),
        broken=broken,
        first=first,
        payload=payload,
        least=least or (14 if first == "eth" else 20),
        **{name: values for name, values in chosen.items() if values},
    )
    return PacketStrategy(mix, seen=note_capture)


def mix_of(strategy: object) -> Mix | None:
    """What a strategy of ``packets()`` makes; None for another one, also for one with a filter. A property makes the
    same packets without Hypothesis."""
    return strategy.mix if isinstance(strategy, PacketStrategy) else None


def _weights(layers: Mapping[str, int] | Iterable[str]) -> Mapping[str, int]:
    given = dict(layers) if isinstance(layers, Mapping) else dict.fromkeys(layers, 0)
    for name in given:
        if name not in KINDS:
            raise BpfUsageError(f"packets(): there is no kind of header {name!r}", hint=did_you_mean(name, KINDS))
    if isinstance(layers, Mapping):
        return {**KINDS, **given}
    return {name: KINDS[name] for name in given} if given else KINDS


def silent_packets(mix: Mix) -> SearchStrategy[Packet]:
    """The packets of a mix, without a capture of the one that fails."""
    return PacketStrategy(mix, seen=_nobody)


def _nobody(packet: Packet) -> None:
    """Nobody wants to know of the packet."""


class PacketStrategy(SearchStrategy[Packet]):
    """Packets of a mix, of which ``seen`` is told. It asks Hypothesis for its numbers without a strategy for each of
    them: a packet takes thirty, and what a strategy costs is three quarters of the time."""

    def __init__(self, mix: Mix, *, seen: Callable[[Packet], None]) -> None:
        super().__init__()
        self.mix = mix
        self._seen = seen

    def __repr__(self) -> str:
        return "packets()"

    def do_draw(self, data: Any) -> Packet:
        """One packet. ``data`` is Hypothesis's ``ConjectureData``."""
        packet = make_packet(_Draws(data), self.mix)
        self._seen(packet)
        return packet


class _Draws:
    """Hypothesis decides. What is nested is a span of its own, so that shrinking can put the inner packet of a tunnel
    in the place of the outer one."""

    __slots__ = ("_data",)

    def __init__(self, data: Any) -> None:
        self._data = data

    def __call__(self, count: int) -> int:
        if count <= _FEW:
            return self._data.draw_integer(0, count - 1) if count > 1 else 0
        return self._data.draw(_below(count))  # type: ignore[no-any-return]  # an int

    def nested(self, make: Callable[[], None]) -> None:
        self._data.start_span(_NESTED)
        try:
            make()
        finally:
            self._data.stop_span()


_FEW = 128  # of more numbers than that, integers() draws the ends more often
_NESTED = zlib.crc32(b"pytest-ebpf: a packet in a packet")  # spans with one label may take each other's place


@lru_cache(maxsize=512)
def _below(count: int) -> SearchStrategy[int]:
    return hypothesis_strategies.integers(0, count - 1)
