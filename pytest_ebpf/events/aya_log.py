"""The records that aya-log-ebpf's ``info!(&ctx, "…")`` writes into map AYA_LOGS, as text.

A record is a header of six fields and then arguments, each ``{u8 tag, u16 length, bytes}`` in the byte order of the
machine. The format string comes in pieces: text as it is; before a value, how it is to be shown. Sources: the crates
aya-log-common (0.1.14, 0.1.15, 0.2.0, 0.3.0) and aya-log (what each kind of value looks like).

Since aya-log-ebpf 0.2.0 the map is a ring buffer and a record starts with its length as u16; what follows is padding.
Before, it was a perf event array, no length, header fields counted from 1, and the number of arguments had 8 bytes.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable, Iterator, Mapping
from decimal import ROUND_HALF_UP, Context, Decimal
from types import MappingProxyType
from typing import Any, TypedDict, cast

from pytest_ebpf.events.levels import LOG_LEVELS
from pytest_ebpf.frozen import dataclass

__all__ = ["AyaRecord", "parse_aya_record", "render_aya_line", "render_aya_record"]

_LEVEL_NAMES = MappingProxyType({number: name for name, number in LOG_LEVELS.items()})
_HEADER = ("target", "level", "module", "file", "line", "args")
_HINTS = ("", "default", "x", "X", "ip", "mac", "MAC", "pointer")

_INTEGERS = ("i8", "i16", "i32", "i64", "isize", "u8", "u16", "u32", "u64", "usize")
_NEWEST = (
    "hint",
    *_INTEGERS,
    "f32",
    "f64",
    "ipv4",
    "ipv6",
    "arr4",
    "arr6",
    "arr16",
    "arr8x2",
    "bytes",
    "str",
    "pointer",
)
_WITHOUT_ADDRESSES = tuple(kind for kind in _NEWEST if kind not in ("ipv4", "ipv6", "arr4", "pointer"))
_CODES: Mapping[str, str] = MappingProxyType(
    dict(zip(_INTEGERS, "bhiqqBHIQQ", strict=True)) | {"f32": "f", "f64": "d", "pointer": "Q"}
)
_SIZES: Mapping[str, int] = MappingProxyType(
    {kind: struct.calcsize(f"={code}") for kind, code in _CODES.items()}
    | {"hint": 1, "ipv4": 4, "ipv6": 16, "arr4": 4, "arr6": 6, "arr16": 16, "arr8x2": 16}
)


_DIGITS = 18  # one more than any number of 64 bits needs
_AS_NUMBER = ("x", "X", "pointer")
_AS_TEXT = ("ip", "mac", "MAC")
_ADDRESSES = (ipaddress.IPv4Address, ipaddress.IPv6Address)


class AyaRecord(TypedDict):
    """One message. ``level``: "error", "warn", "info", "debug" or "trace". ``args``: its values, as numbers, bytes, or
    text (addresses as shown). ``file`` and ``line``: of the Rust source."""

    level: str
    target: str
    module: str
    file: str
    line: int
    message: str
    args: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class _Layout:
    """``first``: the tag of the target. ``kinds``: of arguments, by tag."""

    has_length: bool
    first: int
    kinds: tuple[str, ...]


_RING = (_Layout(True, 0, _NEWEST),)
_PERF = (_Layout(False, 1, _NEWEST), _Layout(False, 1, _WITHOUT_ADDRESSES))


def parse_aya_record(data: bytes, *, byteorder: str = "little", from_perf: bool = False) -> AyaRecord:
    """The message in one record. ``from_perf``: of a perf event array, so written by aya-log-ebpf before 0.2.0.

    ValueError when it is not such a record.
    """
    order = ">" if byteorder == "big" else "<"
    problems = []
    for layout in _PERF if from_perf else _RING:
        try:
            return _parse(data, order=order, layout=layout)
        except (ValueError, struct.error, IndexError, UnicodeDecodeError) as error:
            problems.append(str(error))
    raise ValueError(f"not a record of aya-log: {problems[0]}: {data[:48].hex(' ')}")


def render_aya_line(record: AyaRecord) -> str:
    """``[INFO  my_program] packet of 70 bytes``: as env_logger prints it without the time, further lines indented."""
    message = record["message"].replace("\n", "\n    ")
    return f"[{record['level'].upper():5} {record['target']}] {message}"


def render_aya_record(record: AyaRecord) -> str:
    """``[INFO  my_program] packet of 70 bytes (src/main.rs:14)``."""
    return f"{render_aya_line(record)} ({record['file']}:{record['line']})"


def _parse(data: bytes, *, order: str, layout: _Layout) -> AyaRecord:
    start, end = 0, len(data)
    if layout.has_length:
        (end,) = struct.unpack_from(f"{order}H", data)
        start = 2
        if not 2 <= end <= len(data):
            raise ValueError(f"it says that it has {end} bytes, and has {len(data)}")
    fields = _fields(data[:end], start=start, order=order)
    header: dict[str, Any] = {}
    for tag, value in _take(fields, len(_HEADER)):
        name = _HEADER[_checked(tag - layout.first, count=len(_HEADER))]
        if name in header:
            raise ValueError(f"{name} is in it twice")
        header[name] = _header_value(name, value, order=order)
    pieces = list(_pieces(_take(fields, header.pop("args")), order=order, kinds=layout.kinds))
    message = "".join(text for text, _ in pieces)
    args = tuple(value for _, value in pieces if value is not None)
    return cast("AyaRecord", {**header, "message": message, "args": args})


def _take(fields: Iterator[tuple[int, bytes]], count: int) -> Iterator[tuple[int, bytes]]:
    for number in range(count):
        found = next(fields, None)
        if found is None:
            raise ValueError(f"it ends after {number} of {count} fields")
        yield found


def _checked(index: int, *, count: int) -> int:
    if not 0 <= index < count:
        raise ValueError(f"field {index} is none that it knows")
    return index


def _fields(data: bytes, *, start: int, order: str) -> Iterator[tuple[int, bytes]]:
    while start < len(data):
        tag, size = struct.unpack_from(f"{order}BH", data, start)
        start += 3
        if start + size > len(data):
            raise ValueError(f"a field of {size} bytes does not fit its {len(data)}")
        yield tag, data[start : start + size]
        start += size


def _header_value(name: str, value: bytes, *, order: str) -> object:
    if name == "level":
        return _LEVEL_NAMES[_checked(value[0] - 1, count=len(LOG_LEVELS)) + 1]
    if name in ("line", "args"):  # the number of arguments was a usize before 0.2
        return struct.unpack(order + ("Q" if name == "args" and len(value) == 8 else "I"), value)[0]
    return value.decode()


def _pieces(
    arguments: Iterator[tuple[int, bytes]], *, order: str, kinds: tuple[str, ...]
) -> Iterator[tuple[str, object | None]]:
    """(shown text, the value; None for a piece of the format string)."""
    hint = ""
    for tag, value in arguments:
        kind = kinds[_checked(tag, count=len(kinds))]
        if kind in _SIZES and len(value) != _SIZES[kind]:
            raise ValueError(f"an argument of kind {kind} has {len(value)} bytes")
        if kind == "hint":
            hint = _HINTS[_checked(value[0], count=len(_HINTS))]
            continue
        if kind == "str":
            text = value.decode(errors="replace")
            yield text, text if hint else None
        else:
            plain = _plain(kind, value, order=order)
            text = _show(plain, kind=kind, hint=hint)
            yield text, text if hint in _AS_TEXT or isinstance(plain, _ADDRESSES) else plain
        hint = ""


def _plain(kind: str, value: bytes, *, order: str) -> Any:
    if kind in _CODES:
        return struct.unpack(order + _CODES[kind], value)[0]
    if kind == "ipv4":
        return ipaddress.IPv4Address(value)
    if kind == "ipv6":
        return ipaddress.IPv6Address(value)
    if kind == "arr8x2":  # eight numbers of 16 bits; an address has each of them in network order
        return struct.pack(">8H", *struct.unpack(f"{order}8H", value))
    return value


def _show(value: Any, *, kind: str, hint: str) -> str:
    show = _SHOW.get(hint)
    if hint in _AS_NUMBER and not isinstance(value, int | bytes):  # the macros do not compile with it
        raise ValueError(f"an argument of kind {kind} has no form {hint!r}")
    if hint in ("x", "X"):
        digits = value.hex() if isinstance(value, bytes) else f"{value & (1 << 8 * _SIZES[kind]) - 1:x}"
        return digits.upper() if hint == "X" else digits
    return show(value, kind) if show else _default(value, kind)


def _default(value: Any, kind: str) -> str:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float):
        return _float(value, single=kind == "f32")
    if isinstance(value, _ADDRESSES):
        return _ip(value, kind)
    return str(value)


def _ip(value: Any, kind: str) -> str:
    """A number of 32 bits is an IPv4 address in the byte order of the machine."""
    address = ipaddress.ip_address(value)
    mapped = getattr(address, "ipv4_mapped", None)
    return f"::ffff:{mapped}" if mapped else str(address)


def _mac(value: Any, kind: str) -> str:
    return value.hex(":") if isinstance(value, bytes) else str(value)


def _float(value: float, *, single: bool) -> str:
    """The fewest digits that read back as the same number, never with an exponent: Rust's ``{}``. Of two that are as
    near, Rust takes the larger one, and Python's ``repr`` the even one: 70368744177664.625 ends in .63, not in .62."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "inf" if value > 0 else "-inf"
    exact = Decimal(value)
    least = 1 if single else len(Decimal(repr(value)).normalize().as_tuple().digits)
    rounded = (Context(prec=count, rounding=ROUND_HALF_UP).create_decimal(exact) for count in range(least, _DIGITS))
    text = format(next((one for one in rounded if _reads_back(one, value, single=single)), exact), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _reads_back(text: Decimal, value: float, *, single: bool) -> bool:
    try:
        read = struct.unpack("f", struct.pack("f", float(text)))[0] if single else float(text)
    except OverflowError:  # rounded up, the largest number of 32 bits is none
        return False
    return bool(read == value)


_SHOW: Mapping[str, Callable[[Any, str], str]] = MappingProxyType(
    {
        "ip": _ip,
        "mac": _mac,
        "MAC": lambda value, kind: _mac(value, kind).upper(),
        "pointer": lambda value, kind: f"0x{value.hex()}" if isinstance(value, bytes) else f"{value:#x}",
    }
)
