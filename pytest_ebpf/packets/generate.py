"""Packets out of small decisions. Who decides is open: a seeded generator makes thousands in a batch, Hypothesis draws
the same decisions one by one and shrinks them. A smaller decision is the simpler one: zeros make the simplest packet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

from pytest_ebpf.frozen import dataclass, field
from pytest_ebpf.packets.layer import Layer, make_layer
from pytest_ebpf.packets.options import encode_options
from pytest_ebpf.packets.packet import Packet
from pytest_ebpf.packets.protocols import PROTOCOLS
from pytest_ebpf.packets.read import parse_layers
from pytest_ebpf.packets.rows_common import address

__all__ = ["KINDS", "Below", "Mix", "make_packet"]

# ``below(n)`` decides on a number from 0 to n - 1.
Below = Callable[[int], int]

KINDS: Mapping[str, int] = MappingProxyType(
    {
        **{"ip": 10, "ipv6": 6, "arp": 1, "unknown": 1},  # network
        **{"udp": 8, "tcp": 8, "icmp": 2, "sctp": 1, "esp": 1, "nothing": 1},  # transport
        **{"ipip": 1, "vxlan": 1, "gre": 1, "geneve": 1, "gtpu": 1, "mpls": 1},  # tunnels
        **{"vlan": 3, "options": 3, "fragment": 2, "extension": 3},  # what may be besides
    }
)
_PLAIN = 12  # the weight of "none of them" where one may be besides
_NETWORKS = ("ip", "ipv6", "arp", "unknown")
_INNER = ("ip", "ipv6")
_TRANSPORTS = ("udp", "tcp", "icmp", "sctp", "esp", "nothing")
_TUNNELS = ("ipip", "vxlan", "gre", "geneve", "gtpu", "mpls")
_PORTS = (9, 53, 80, 443, 0, 65535, 40000)
_V4 = tuple(map(address, ("192.0.2.1", "192.0.2.2", "198.51.100.7", "10.0.0.1", "255.255.255.255", "0.0.0.0")))
_V6 = tuple(map(address, ("2001:db8::1", "2001:db8::2", "fe80::1", "::", "ff02::1")))
_VLANS = (1, 0, 7, 4095)
_TTLS = (64, 1, 0, 2, 255, 128)
_WORDS = (0, 1, 0xFFFF, 0x8000, 0xFF, 0x100)
_TCP_FLAGS = (0x02, 0x10, 0x12, 0x11, 0x18, 0x04, 0x00, 0x1FF)
_TCP_OPTIONS = tuple(
    encode_options("tcp", list(items))
    for items in (
        (("MSS", 1460),),
        (("NOP", None), ("WScale", 7), ("SAckOK", b"")),
        (("NOP", None), ("NOP", None), ("Timestamp", (1, 2))),
        (("SAck", (1, 2, 3, 4)),),
        (("EOL", None),),
        ((254, bytes(30)),),
    )
)
_IP_OPTIONS = tuple(
    encode_options("ip", list(items))
    for items in (
        (("RouterAlert", 0),),
        (("NOP", None),),
        (("RR", bytes(37)),),
        (("EOL", None),),
        (("LSRR", bytes(7)),),
    )
)
_HOPS = tuple(
    encode_options("ipv6", list(items))
    for items in ((("RouterAlert", 0),), (("PadN", bytes(12)),), ((0x3E, bytes(4)),))
)


@dataclass(frozen=True, slots=True)
class Mix:
    """What packets to make. ``weights``: how often each kind of header, from ``KINDS``; ``broken``: one packet in so
    many is damaged (0: none); ``first``: their first header. ``v4``, ``v6``, ``ports``: what addresses and ports are
    taken from most of the time. ``payload``: bytes at most; ``least``: bytes of a packet that is cut off."""

    weights: Mapping[str, int] = field(default_factory=lambda: KINDS)
    broken: int = 4
    first: str = "eth"
    v4: tuple[int, ...] = _V4
    v6: tuple[int, ...] = _V6
    ports: tuple[int, ...] = _PORTS
    payload: int = 64
    least: int = 14
    tables: dict[tuple[str, ...], tuple[str, ...]] = field(init=False, default_factory=dict, compare=False, repr=False)

    def table(self, names: tuple[str, ...], plain: int = 0) -> tuple[str, ...]:
        """Each name as often as its weight says, "" ``plain`` times before them."""
        found = self.tables.get(names)
        if found is None:
            weighted = tuple(name for name in names for _ in range(self.weights.get(name, 0)))
            found = self.tables[names] = ("",) * plain + weighted or names[:1]
        return found


def make_packet(below: Below, mix: Mix) -> Packet:
    """One packet."""
    layers: list[Layer] = []
    frame = _frame if mix.first == "eth" else _network
    _nested(below, lambda: frame(layers, below, mix=mix, deep=2))
    if mix.broken and below(mix.broken) == mix.broken - 1:
        return _damaged(layers, below, least=mix.least)
    return Packet(tuple(layers))


def _nested(below: Below, make: Callable[[], None]) -> None:
    """A packet in a packet: who decides may know it as one thing (``below.nested``), to put an inner one in the place
    of an outer one."""
    nested = getattr(below, "nested", None)
    if nested is None:
        make()
    else:
        nested(make)


def _pick(below: Below, values: Sequence[int], *, bits: int) -> int:
    """One of the values, or any of so many bits."""
    index = below(len(values) + 1)
    return values[index] if index < len(values) else below(1 << bits)


def _idle(below: Below, count: int) -> None:
    """Decide on nothing, so often: Hypothesis takes the packet with the fewest decisions for the smallest, and that is
    to be UDP over IPv4."""
    for _ in range(count):
        below(2)


@lru_cache(maxsize=64)
def _other(values: tuple[int, ...], first: int) -> tuple[int, ...]:
    """The same, with another one as the simplest: ports and addresses differ in the simplest packet."""
    first %= len(values)
    return (*values[first:], *values[:first])


def _kind(below: Below, mix: Mix, *, names: tuple[str, ...], plain: int = 0) -> str:
    """One of the names by weight; "" with weight ``plain``, which is the simplest."""
    table = mix.table(names, plain)
    return table[below(len(table))]


def _rarely(below: Below, mix: Mix, *, name: str) -> bool:
    weight = mix.weights.get(name, 0)
    return bool(weight) and below(_PLAIN + weight) >= _PLAIN


def _link(layers: list[Layer], below: Below, *, mix: Mix) -> None:
    layers.append(_ETH)
    if _rarely(below, mix, name="vlan"):
        _tag(layers, below)
        while len(layers) < 9 and below(2):  # one decision each: so they shrink one by one
            _tag(layers, below)


def _tag(layers: list[Layer], below: Below) -> None:
    key = "qinq" if below(4) == 3 else "vlan"
    layers.append(make_layer(key, {"id": _pick(below, _VLANS, bits=12), "prio": below(8)}))


_ETH = make_layer("eth", {})


def _frame(layers: list[Layer], below: Below, *, mix: Mix, deep: int) -> None:
    _link(layers, below, mix=mix)
    _nested(below, lambda: _network(layers, below, mix=mix, deep=deep))


def _network(layers: list[Layer], below: Below, *, mix: Mix, deep: int) -> None:
    kind = _kind(below, mix, names=_NETWORKS if layers and deep == 2 else _INNER)
    if kind in ("arp", "unknown"):
        _idle(below, 11)
    if kind == "arp":
        layers.append(make_layer("arp", {"op": 1 + below(2), "pdst": _pick(below, mix.v4, bits=32)}))
        return
    if kind == "unknown":
        layers.append(_load(below, mix))
        return
    fragment = _rarely(below, mix, name="fragment")
    later = (_ipv6 if kind == "ipv6" else _ipv4)(layers, below, mix=mix, fragment=fragment)
    if later:
        layers.append(_load(below, mix))
        return
    _transport(layers, below, mix=mix, deep=deep)


def _ipv4(layers: list[Layer], below: Below, *, mix: Mix, fragment: bool) -> bool:
    """Returns whether it is a later fragment, in which no header follows."""
    values: dict[str, int | bytes] = {
        "src": _pick(below, mix.v4, bits=32),
        "dst": _pick(below, _other(mix.v4, 1), bits=32),
        "ttl": _pick(below, _TTLS, bits=8),
        "tos": 0 if below(4) < 3 else below(256),
    }
    if _rarely(below, mix, name="options"):
        soup = [_IP_OPTIONS[below(len(_IP_OPTIONS))] for _ in range(1 + below(2))]
        values["options"] = b"".join(soup)[:40]
    offset = 0
    if fragment:
        offset = _pick(below, (0, 1, 185, 0x1FFF), bits=13)
        values |= {"frag": offset, "flags": below(2) if offset else 1, "id": below(1 << 16)}
        if offset:
            values["proto"] = (17, 6, 1)[below(3)]
    layers.append(make_layer("ip", values))
    return bool(offset)


def _ipv6(layers: list[Layer], below: Below, *, mix: Mix, fragment: bool) -> bool:
    _idle(below, 2)
    src, dst = _pick(below, mix.v6, bits=128), _pick(below, _other(mix.v6, 1), bits=128)
    layers.append(make_layer("ipv6", {"src": src, "dst": dst, "hlim": _pick(below, _TTLS, bits=8)}))
    if _rarely(below, mix, name="extension"):
        for _ in range(1 + below(3)):
            key = ("destopt", "hopbyhop", "routing")[below(3)]
            tail = (
                {"addresses": bytes(16 * (1 + below(2)))} if key == "routing" else {"options": _HOPS[below(len(_HOPS))]}
            )
            layers.append(make_layer(key, tail))
    if not fragment:
        return False
    offset = _pick(below, (0, 1, 181, 0x1FFF), bits=13)
    layers.append(make_layer("fragment", {"offset": offset, "m": below(2) if offset else 1, "id": below(1 << 32)}))
    if offset:
        layers[-1] = layers[-1].replace({"nh": (17, 6, 58)[below(3)]})
    return bool(offset)


def _transport(layers: list[Layer], below: Below, *, mix: Mix, deep: int) -> None:
    tunnel = _kind(below, mix, names=_TUNNELS, plain=4 * _PLAIN)  # decided at every depth: an inner packet may move out
    if tunnel and deep:
        _tunnel(layers, below, mix=mix, kind=tunnel, deep=deep)
        return
    kind = _kind(below, mix, names=_TRANSPORTS)
    if kind in ("udp", "tcp", "sctp"):
        values: dict[str, int | bytes] = {
            "sport": _pick(below, _other(mix.ports, -1), bits=16),
            "dport": _pick(below, mix.ports, bits=16),
        }
        if kind == "tcp":
            values["flags"] = _pick(below, _TCP_FLAGS, bits=9)
            if _rarely(below, mix, name="options"):
                soup = [_TCP_OPTIONS[below(len(_TCP_OPTIONS))] for _ in range(1 + below(3))]
                values["options"] = b"".join(soup)[:40]
        layers.append(make_layer(kind, values))
    elif kind == "icmp":
        _idle(below, 1)
        v6 = layers[-1].name != "ip"
        layers.append(make_layer("icmpv6" if v6 else "icmp", {"type": (128, 129, 1)[below(3)] if v6 else below(2) * 8}))
    elif kind == "esp":
        _idle(below, 1)
        layers.append(make_layer("esp", {"spi": below(1 << 32)}))
    else:
        _idle(below, 2)
    load = _load(below, mix)
    if load.tail:
        layers.append(load)


def _tunnel(layers: list[Layer], below: Below, *, mix: Mix, kind: str, deep: int) -> None:
    if kind in ("vxlan", "geneve", "gtpu"):
        layers.append(make_layer("udp", {}))
    if kind != "ipip":
        layers.append(make_layer(kind, {_TUNNEL_FIELD[kind]: below(1 << 16)}))
    inner = _frame if kind in ("vxlan", "geneve") or (kind == "gre" and below(2)) else _network
    _nested(below, lambda: inner(layers, below, mix=mix, deep=deep - 1))


_TUNNEL_FIELD: Mapping[str, str] = MappingProxyType(
    {"vxlan": "vni", "gre": "key", "geneve": "vni", "gtpu": "teid", "mpls": "label"}
)
_RAW = PROTOCOLS["raw"]
_LOADS = tuple(bytes(fill * at & 255 for at in range(256)) for fill in range(4))


def _load(below: Below, mix: Mix) -> Layer:
    size = below(mix.payload + 1)
    if not size:
        return Layer(_RAW, (), b"")
    return Layer(_RAW, (), (_LOADS[below(4)] * (size // 256 + 1))[:size])


def _damaged(layers: list[Layer], below: Below, *, least: int) -> Packet:
    """Cut off, too long, with a wrong length, checksum or byte."""
    kind, packet = below(5), Packet(tuple(layers))
    if kind == 4:
        return packet / Packet((Layer(PROTOCOLS["pad"], (), bytes(1 + below(64))),))
    if kind in (2, 3):
        found = [(at, name) for at, layer in enumerate(layers) for name in _LENGTHS.get(layer.spec.key, ())]
        if found:
            at, name = found[below(len(found))]
            place = layers[at].spec.index[name]
            bits = layers[at].spec.bits[place]
            wrong = _pick(below, [word & (1 << bits) - 1 for word in _WORDS], bits=bits)
            layers[at] = layers[at].with_number(place, wrong)
            return Packet(tuple(layers))
    data = bytes(packet)
    if kind == 1 and len(data) > 12:
        at = 12 + below(len(data) - 12)
        data = data[:at] + bytes((below(256),)) + data[at + 1 :]
    else:
        data = data[: len(data) - below(max(1, len(data) - least + 1))]
    return Packet(parse_layers(data, layers[0].spec.key))


_LENGTHS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "ip": ("len", "ihl", "chksum", "version", "proto"),
        "ipv6": ("plen", "nh", "version"),
        "udp": ("len", "chksum"),
        "tcp": ("dataofs", "chksum"),
        "eth": ("type",),
        "vlan": ("type",),
        "hopbyhop": ("len", "nh"),
        "destopt": ("len", "nh"),
        "geneve": ("optionlen",),
        "gtpu": ("length",),
    }
)
