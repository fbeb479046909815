"""Layers to bytes. Lengths, protocol numbers and checksums that were not given are computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from pytest_ebpf.packets.checksum import crc32c, fold, words
from pytest_ebpf.packets.layer import Layer, pack_numbers
from pytest_ebpf.packets.spec import HeaderSpec

__all__ = ["assemble", "checksum_of"]

_Numbers = list[int | None]


class _Rule(Protocol):
    """Sets the computed fields that a header has besides what follows and the checksum. ``head``: bytes of the header,
    its tail included; ``payload``: those behind it; ``follower``: what they begin with."""

    def __call__(self, spec: HeaderSpec, numbers: _Numbers, /, *, head: int, payload: int, follower: str) -> None: ...


def assemble(layers: Sequence[Layer]) -> bytes:
    """The packet on the wire. Padding behind the last header is not part of any length or checksum."""
    payload, follower, padding = b"", "", b""
    for index in range(len(layers) - 1, -1, -1):
        spec = layers[index].spec
        key = spec.key
        if spec.fields:
            payload = _complete(layers, index, payload=payload, follower=follower)
        elif key == "pad":
            padding = layers[index].tail + padding
            continue
        else:
            payload = layers[index].tail + payload
        follower = "icmpv6" if spec.name == "icmpv6" else key  # one number for all its forms
    return payload + padding if padding else payload


def _complete(layers: Sequence[Layer], index: int, *, payload: bytes, follower: str) -> bytes:
    """A header and what is in it."""
    layer = layers[index]
    spec, tail = layer.spec, layer.tail
    if tail or spec.codec == "ipv6":
        tail = _fill_up(spec, tail)
    numbers = list(layer.numbers)
    at = spec.next_at
    if at >= 0 and numbers[at] is None:
        numbers[at] = spec.next_number.get(follower, spec.next_unknown)
    rule = _RULES.get(spec.key)
    if rule is not None:
        rule(spec, numbers, head=spec.size + len(tail), payload=len(payload), follower=follower)
    at = spec.chksum_at
    if at < 0 or numbers[at] is not None or not spec.sum or (spec.optional and not spec.present(at, numbers)):
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


def _set(spec: HeaderSpec, numbers: _Numbers, /, **values: int) -> None:
    for field, value in values.items():
        place = spec.index[field]
        if numbers[place] is None:
            numbers[place] = value


def _ip(spec: HeaderSpec, numbers: _Numbers, /, *, head: int, payload: int, follower: str) -> None:
    _set(spec, numbers, ihl=head // 4 & 15, len=head + payload & 0xFFFF)


def _ipv6(spec: HeaderSpec, numbers: _Numbers, /, *, head: int, payload: int, follower: str) -> None:
    _set(spec, numbers, plen=payload if payload < 1 << 16 else 0)  # RFC 2675: a jumbogram


def _udp(spec: HeaderSpec, numbers: _Numbers, /, *, head: int, payload: int, follower: str) -> None:
    _set(spec, numbers, len=head + payload & 0xFFFF)


def _tcp(spec: HeaderSpec, numbers: _Numbers, /, *, head: int, payload: int, follower: str) -> None:
    _set(spec, numbers, dataofs=head // 4 & 15)


def _extension(spec: HeaderSpec, numbers: _Numbers, /, *, head: int, payload: int, follower: str) -> None:
    _set(spec, numbers, len=max(0, head // 8 - 1) & 255)
    if spec.key == "routing":
        _set(spec, numbers, segleft=(head - spec.size) // 16)


def _mpls(spec: HeaderSpec, numbers: _Numbers, /, *, head: int, payload: int, follower: str) -> None:
    _set(spec, numbers, s=int(follower != "mpls"))


def _geneve(spec: HeaderSpec, numbers: _Numbers, /, *, head: int, payload: int, follower: str) -> None:
    _set(spec, numbers, optionlen=(head - spec.size) // 4 & 63)


def _gre(spec: HeaderSpec, numbers: _Numbers, /, *, head: int, payload: int, follower: str) -> None:
    at = spec.index
    for flag, field in (("chksum_present", "chksum"), ("key_present", "key"), ("seqnum_present", "sequence_number")):
        _set(spec, numbers, **{flag: int(numbers[at[field]] is not None)})


def _gtpu(spec: HeaderSpec, numbers: _Numbers, /, *, head: int, payload: int, follower: str) -> None:
    at = spec.index
    for flag, field in (("E", "next_ex"), ("S", "seq"), ("PN", "npdu")):
        _set(spec, numbers, **{flag: int(numbers[at[field]] is not None)})
    more = sum(
        spec.fields[at[field]].bits // 8 for field in ("seq", "npdu", "next_ex") if spec.present(at[field], numbers)
    )
    _set(spec, numbers, length=payload + more & 0xFFFF)


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
