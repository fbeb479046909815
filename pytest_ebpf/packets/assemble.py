"""Layers to bytes. Lengths, protocol numbers and checksums that were not given are computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from pytest_ebpf.packets.checksum import crc32c, fold, words
from pytest_ebpf.packets.layer import Layer, pack_numbers
from pytest_ebpf.packets.spec import HeaderSpec

__all__ = ["assemble", "checksum_of"]

_Numbers = list[int | None]


class _Header(NamedTuple):
    spec: HeaderSpec
    numbers: _Numbers
    head: int  # bytes of the header, its tail included
    payload: int
    follower: str


# Sets the computed fields that a header has besides what follows and the checksum.
_Rule = Callable[[_Header], None]


def assemble(layers: Sequence[Layer]) -> bytes:
    """The packet on the wire. Padding behind the last header is not part of any length or checksum."""
    padding = b"".join(layer.tail for layer in layers if layer.spec.key == "pad")
    if padding:
        layers = [layer for layer in layers if layer.spec.key != "pad"]
    payload, follower = b"", ""
    for index in range(len(layers) - 1, -1, -1):
        spec = layers[index].spec
        if spec.fields:
            payload = _complete(layers, index, payload=payload, follower=follower)
        else:
            payload = layers[index].tail + payload
        follower = "icmpv6" if spec.name == "icmpv6" else spec.key  # one number for all its forms
    return payload + padding


def _complete(layers: Sequence[Layer], index: int, *, payload: bytes, follower: str) -> bytes:
    """A header and what is in it."""
    spec, tail = layers[index].spec, layers[index].tail
    if tail or spec.codec == "ipv6":
        tail = _fill_up(spec, tail)
    numbers = list(layers[index].numbers)
    if spec.next_at >= 0 and numbers[spec.next_at] is None:
        numbers[spec.next_at] = spec.number_of(follower)
    rule = _RULES.get(spec.key)
    if rule is not None:
        rule(_Header(spec, numbers, spec.size + len(tail), len(payload), follower))
    at = spec.chksum_at
    if at < 0 or numbers[at] is not None or not spec.sum or not spec.present(at, numbers):
        return pack_numbers(spec, numbers) + tail + payload
    numbers[at] = 0
    head = pack_numbers(spec, numbers)
    checksum = checksum_of(spec, head + tail if tail else head, payload=payload, before=layers[:index])
    if not spec.optional:  # its bytes are in their place
        place = spec.chksum_byte
        size = spec.fields[at].bits // 8
        return b"".join((head[:place], checksum.to_bytes(size, "big"), head[place + size :], tail, payload))
    numbers[at] = checksum
    return pack_numbers(spec, numbers) + tail + payload


def _fill_up(spec: HeaderSpec, tail: bytes) -> bytes:
    """Header lengths are in units of four bytes, of eight in IPv6. Zero ends a list of options in IPv4 and in TCP."""
    if spec.codec != "ipv6":
        return tail + bytes(-len(tail) % 4)
    missing = -(len(tail) + 2) % 8
    if missing < 2:
        return tail + bytes(missing)  # Pad1, or nothing
    return tail + bytes((1, missing - 2)) + bytes(missing - 2)  # PadN


def checksum_of(spec: HeaderSpec, head: bytes, *, payload: bytes, before: Sequence[Layer]) -> int:
    """The checksum of a header whose ``chksum`` is zero in ``head``; ``before`` has the headers it is in."""
    if spec.sum == "header":
        return fold(words(head))
    if spec.sum == "crc32c":
        return crc32c(head + payload)
    total = words(head) + words(payload)
    if spec.sum == "plain":
        return fold(total)
    addresses = _addresses(before)
    if addresses is None:
        return 0  # without a network header there is no checksum
    checksum = fold(total + addresses + spec.protocol + len(head) + len(payload))
    # RFC 768: a UDP checksum of zero is sent as all ones, since zero means "no checksum".
    return checksum or (0xFFFF if spec.key == "udp" else 0)


def _addresses(before: Sequence[Layer]) -> int | None:
    """Source and destination, as a sum."""
    final: int | None = None
    for layer in reversed(before):
        key = layer.spec.key
        if key == "routing" and len(layer.tail) >= 16:
            final = _destination(layer)
        elif key in ("ip", "ipv6"):
            src, dst = layer.numbers[-2], layer.numbers[-1]
            return (src or 0) + (dst or 0 if final is None else final)
    return None


def _destination(layer: Layer) -> int | None:
    """The last address of a route, which the pseudo header has (RFC 8200 8.1). It is the first of type 4 (RFC 8754)."""
    left = layer.number("segleft")
    if left == 0:
        return None
    last = layer.tail[:16] if layer.number("type") == 4 else layer.tail[len(layer.tail) // 16 * 16 - 16 :][:16]
    return int.from_bytes(last, "big")


def _set(header: _Header, field: str, *, value: int) -> None:
    place = header.spec.index[field]
    if header.numbers[place] is None:
        header.numbers[place] = value


def _ip(header: _Header) -> None:
    _set(header, "ihl", value=header.head // 4 & 15)
    _set(header, "len", value=header.head + header.payload & 0xFFFF)


def _ipv6(header: _Header) -> None:
    length = header.payload if header.payload < 1 << 16 else 0  # RFC 2675: a jumbogram
    _set(header, "plen", value=length)


def _udp(header: _Header) -> None:
    _set(header, "len", value=header.head + header.payload & 0xFFFF)


def _tcp(header: _Header) -> None:
    _set(header, "dataofs", value=header.head // 4 & 15)


def _extension(header: _Header) -> None:
    _set(header, "len", value=max(0, header.head // 8 - 1) & 255)
    if header.spec.key == "routing":
        _set(header, "segleft", value=(header.head - header.spec.size) // 16)


def _mpls(header: _Header) -> None:
    _set(header, "s", value=int(header.follower != "mpls"))


def _geneve(header: _Header) -> None:
    _set(header, "optionlen", value=(header.head - header.spec.size) // 4 & 63)


def _gre(header: _Header) -> None:
    at = header.spec.index
    for flag, field in (("chksum_present", "chksum"), ("key_present", "key"), ("seqnum_present", "sequence_number")):
        _set(header, flag, value=int(header.numbers[at[field]] is not None))


def _gtpu(header: _Header) -> None:
    spec, at = header.spec, header.spec.index
    for flag, field in (("E", "next_ex"), ("S", "seq"), ("PN", "npdu")):
        _set(header, flag, value=int(header.numbers[at[field]] is not None))
    more = sum(
        spec.fields[at[field]].bits // 8
        for field in ("seq", "npdu", "next_ex")
        if spec.present(at[field], header.numbers)
    )
    _set(header, "length", value=header.payload + more & 0xFFFF)


_RULES: Mapping[str, _Rule] = MappingProxyType(
    {
        "ip": _ip,
        "ipv6": _ipv6,
        "udp": _udp,
        "tcp": _tcp,
        "hopbyhop": _extension,
        "destopt": _extension,
        "routing": _extension,
        "mpls": _mpls,
        "geneve": _geneve,
        "gre": _gre,
        "gtpu": _gtpu,
    }
)
