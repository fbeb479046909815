"""The same random stack of headers twice: in our builders and in scapy's. Every value is written out, so that only what
is computed can differ."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import Any

from pytest_ebpf import packets as ours

MAC = "02:00:00:00:00:{:02x}"
_TCP_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("MSS", 1460),
    ("NOP", None),
    ("WScale", 7),
    ("SAckOK", b""),
    ("SAck", (1, 2, 3, 4)),
    ("Timestamp", (123, 456)),
    ("UTO", 90),
    ("MD5", bytes(range(16))),
)


class Pair:
    """A stack so far. ``s`` is the module ``scapy.all`` with the contributed layers in it."""

    def __init__(self, seed: int, s: Any) -> None:
        self.random, self.s = Random(seed), s
        self.ours: Any = ours.Packet()
        self.theirs: Any = None

    def add(self, title: str, theirs: Any, **fields: Any) -> None:
        """One more header, in both."""
        self.ours = self.ours / getattr(ours, title)(**fields)
        self.theirs = theirs if self.theirs is None else self.theirs / theirs

    def same(self, title: str, *, scapy: str = "", **fields: Any) -> None:
        """One more header with the same fields in both."""
        self.add(title, getattr(self.s, scapy or title)(**fields), **fields)

    def chance(self, one_in: int) -> bool:
        return self.random.randrange(one_in) == 0

    def number(self, bits: int) -> int:
        return self.random.getrandbits(bits)

    def load(self) -> None:
        data = self.random.randbytes(self.random.randrange(1, 60))
        self.ours, self.theirs = self.ours / data, self.theirs / data

    def ethernet(self) -> None:
        macs = {"dst": MAC.format(self.number(7)), "src": MAC.format(self.number(7))}
        self.same("Eth", scapy="Ether", **macs)
        if self.chance(4):
            tag = {"prio": self.number(3), "dei": self.number(1)}
            if self.chance(2):
                self.same("QinQ", scapy="Dot1AD", vlan=self.number(12), **tag)
            self.same("VLAN", scapy="Dot1Q", vlan=self.number(12), **tag)

    def network(self) -> bool:
        """Returns whether more may follow."""
        if self.chance(2):
            options = self.s.IPOption_Router_Alert() if self.chance(4) else []
            head = {"src": f"10.0.0.{self.number(7)}", "dst": f"10.0.1.{self.number(7)}", "ttl": self.number(8)}
            head |= {"tos": self.number(8), "id": self.number(16), "flags": self.random.choice(("DF", "MF", 0))}
            given = [("RouterAlert", 0)] if options else b""
            self.add("IP", self.s.IP(options=options, **head), options=given, **head)
            return True
        self.same(
            "IPv6", src=f"2001:db8::{self.number(8):x}", dst="2001:db8::2", hlim=self.number(8), fl=self.number(20)
        )
        if self.chance(4):
            self.add("IPv6ExtHdrHopByHop", self._hop_by_hop("IPv6ExtHdrHopByHop"), options=[("RouterAlert", 0)])
        if self.chance(6):
            route = [f"2001:db8:1::{n}" for n in range(1 + self.number(2))]
            left = len(route)
            self.same("IPv6ExtHdrRouting", addresses=route, segleft=left)
        if self.chance(6):
            self.same("IPv6ExtHdrFragment", offset=0, m=1, id=self.number(32))
        if self.chance(6):
            self.add("IPv6ExtHdrDestOpt", self._hop_by_hop("IPv6ExtHdrDestOpt"), options=[("RouterAlert", 0)])
        return True

    def _hop_by_hop(self, name: str) -> Any:
        return getattr(self.s, name)(options=[self.s.RouterAlert(value=0)])

    def transport(self, *, deep: int) -> None:
        v6 = "ipv6" in [layer.name for layer in self.ours.layers[-4:]] and self._last() != "ip"
        kinds = ["tcp", "udp", "icmp6" if v6 else "icmp", "sctp", "esp"]
        kinds += ["tunnel", "vxlan", "gre", "geneve", "gtpu"] if deep else []
        getattr(self, "_" + self.random.choice(kinds))(deep)

    def _last(self) -> str:
        names = [layer.name for layer in self.ours.layers if layer.name in ("ip", "ipv6")]
        return names[-1] if names else ""

    def _ports(self) -> dict[str, int]:
        return {"sport": 40000 + self.number(8), "dport": 9}

    def _tcp(self, deep: int) -> None:
        options = self.random.sample(_TCP_OPTIONS, self.number(2))
        self.same(
            "TCP",
            seq=self.number(32),
            ack=self.number(32),
            flags=self.random.choice(("S", "SA", "FA", "PAU", "SEC")),
            window=self.number(16),
            options=options,
            **self._ports(),
        )
        self.load()

    def _udp(self, deep: int) -> None:
        self.same("UDP", **self._ports())
        self.load()

    def _icmp(self, deep: int) -> None:
        self.same("ICMP", type=self.random.choice((0, 8)), id=self.number(16), seq=self.number(16))
        self.load()

    def _icmp6(self, deep: int) -> None:
        if self.chance(2):
            self.same("ICMPv6ND_NS", tgt="2001:db8::7")
            self.same("ICMPv6NDOptSrcLLAddr", lladdr=MAC.format(9))
            return
        if self.chance(3):
            self.same("ICMPv6ND_RA", chlim=64, M=1, O=0, prf=1, routerlifetime=5)
            self.same("ICMPv6NDOptPrefixInfo", prefix="2001:db8:5::", prefixlen=64)
            self.same("ICMPv6NDOptMTU", mtu=1400)
            return
        self.same("ICMPv6EchoRequest", id=self.number(16), seq=self.number(16))
        self.load()

    def _sctp(self, deep: int) -> None:
        self.same("SCTP", tag=self.number(32), **self._ports())
        data = b"\x0e\x00\x00\x04"  # shutdown complete
        self.ours, self.theirs = self.ours / data, self.theirs / data

    def _esp(self, deep: int) -> None:
        data = self.random.randbytes(32)
        self.ours = self.ours / ours.ESP(spi=self.number(32), seq=7) / data
        spi = self.ours["esp"]["spi"]
        self.theirs = self.theirs / self.s.ESP(spi=spi, seq=7, data=data)

    def _inside(self, deep: int) -> None:
        self.network()
        self.transport(deep=deep - 1)

    def _tunnel(self, deep: int) -> None:
        self._inside(deep)

    def _vxlan(self, deep: int) -> None:
        self.same("UDP", sport=50000, dport=4789)
        self.same("VXLAN", flags=8, vni=self.number(24))
        self.ethernet()
        self._inside(deep)

    def _gre(self, deep: int) -> None:
        fields: dict[str, int] = {}
        if self.chance(2):
            fields |= {"key_present": 1, "key": self.number(32)}
        if self.chance(3):
            fields |= {"seqnum_present": 1, "sequence_number": self.number(32)}
        if self.chance(3):
            fields |= {"chksum_present": 1}
        self.same("GRE", **fields)
        if self.chance(2):
            self.ethernet()
        self._inside(deep)

    def _geneve(self, deep: int) -> None:
        options = [(0x0102, self.number(7), self.random.randbytes(4 * self.number(2)))] if self.chance(2) else []
        theirs = [self.s.GeneveOptions(classid=c, type=t, data=d) for c, t, d in options]
        vni = self.number(24)
        self.same("UDP", sport=50000, dport=6081)
        self.add("GENEVE", self.s.GENEVE(proto=0x6558, vni=vni, options=theirs), proto=0x6558, vni=vni, options=options)
        self.ethernet()
        self._inside(deep)

    def _gtpu(self, deep: int) -> None:
        self.same("UDP", sport=50000, dport=2152)
        teid = self.number(32)
        fields = {"S": 1, "seq": self.number(16)} if self.chance(2) else {}
        theirs = self.s.GTP_U_Header(teid=teid, **fields)
        self.add("GTPU", theirs, teid=teid, **fields)
        self._inside(deep)


def make_pair(seed: int, s: Any) -> tuple[Any, Any]:
    """Our packet and scapy's of a seed."""
    pair = Pair(seed, s)
    pair.ethernet()
    pair.network()
    pair.transport(deep=2)
    return pair.ours, pair.theirs


def scapy_module() -> Any:
    """``scapy.all`` with the contributed layers that we have too."""
    import scapy.all as scapy
    from scapy.contrib import geneve, gtp

    names = {**vars(scapy), "GENEVE": geneve.GENEVE, "GeneveOptions": geneve.GeneveOptions}
    return SimpleNamespace(**names, GTP_U_Header=gtp.GTP_U_Header)


_TITLES = {"Ether": "Eth", "Dot1Q": "VLAN", "Dot1AD": "QinQ", "GTP_U_Header": "GTPU", "Padding": "Pad"}
_SAME = {"ICMPv6EchoRequest": "ICMPv6", "SCTPChunkShutdownComplete": "Raw"}


def scapy_layers(packet: Any) -> list[tuple[str, dict[str, int]]]:
    """The headers of a packet of scapy as (our title, the fields that are numbers)."""
    found = []
    while packet is not None and type(packet).__name__ != "NoPayload":
        name = type(packet).__name__
        fields = packet.fields.items() if name != "SCTPChunkShutdownComplete" else ()
        numbers = {key: int(value) for key, value in fields if isinstance(value, int) and key != "autopad"}
        found.append((_SAME.get(name, _TITLES.get(name, name)), numbers))
        if name in ("ESP", "ICMPv6EchoRequest"):  # the bytes behind are a field of it
            found.append(("Raw", {}))
        packet = packet.payload
    return found
