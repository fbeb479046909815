"""Bytes to Python values by their BTF type.

A decoder is compiled once per type: one ``struct.Struct`` reads all plain fields of a struct, and only the rest
(nested types, text, enums, bitfields, overlapping members) is read one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from struct import Struct as Format
from typing import Any, NamedTuple

from pytest_ebpf.btf.addresses import address_kind, unpack_address
from pytest_ebpf.btf.describe import describe
from pytest_ebpf.btf.layout import MAX_DEPTH, Field, Scalar, fields, flexible, is_char, overlaps, scalar, strip
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import Array, DataSec, Int, Struct
from pytest_ebpf.btf.values import OverlappingFields, enum_values
from pytest_ebpf.errors import ObjectError

__all__ = ["Decoder", "ManyDecoder", "decoder", "many_decoder"]

Decoder = Callable[[bytes], Any]
ManyDecoder = Callable[[bytes, int], list[Any]]

_MAX_SIZE = 1 << 30
# Limits of values in one value: types may share parts, so that a few bytes of BTF and data describe 2 ** 32.
_MAX_VALUES, _MAX_VALUES_PER_BYTE = 1 << 13, 256


class _Row(NamedTuple):
    """How to read a struct without overlapping members: unpack ``format``, name the values, convert them."""

    format: Format
    names: tuple[str, ...]
    converts: tuple[tuple[str, Callable[[Any], Any]], ...]


class _Piece(NamedTuple):
    """How to read a type: unpack ``format`` (of ``size`` bytes), then ``convert`` the result, if set. ``values``: the
    number of values in it, itself included."""

    format: str
    size: int
    convert: Callable[[Any], Any] | None = None
    values: int = 1


def decoder(btf: Btf, type_id: int) -> Decoder:
    """A function from bytes to the value of a type; made once per ``btf`` and type.

    It raises ValueError for too few bytes and ignores excess bytes, except for a trailing ``T x[]``, which takes all.
    ``decoder`` itself raises ObjectError when the type has no size or the BTF is broken.
    """
    key = ("decoder", type_id)
    if key not in btf.memo:
        btf.memo[key] = _checked(btf, type_id)
    made: Decoder = btf.memo[key]
    return made


def many_decoder(btf: Btf, type_id: int) -> ManyDecoder:
    """As ``decoder``, for many values that lie in one piece, a stride (the second argument) of at least their size
    apart. Numbers and plain structs are unpacked in one go."""
    read = decoder(btf, type_id)
    piece = _piece_of(btf, type_id, depth=0)
    row: _Row | None = btf.memo.get(("row", strip(btf, type_id)))
    order = _order(btf)
    if piece.convert is None:
        return lambda data, stride: [
            value for (value,) in Format(f"{order}{piece.format}{stride - piece.size}x").iter_unpack(data)
        ]
    if row is None:
        return lambda data, stride: [read(data[at : at + stride]) for at in range(0, len(data), stride)]
    return _many_rows(row)


def _many_rows(row: _Row) -> ManyDecoder:
    make = _rows_maker(row)
    return lambda data, stride: make(Format(f"{row.format.format}{stride - row.format.size}x").iter_unpack(data))


def _rows_maker(row: _Row) -> Callable[[Iterator[tuple[Any, ...]]], list[Any]]:
    """Converts unpacked fields to dicts with an expression compiled for the type, as ``dataclass`` compiles its
    methods: it takes a third of the time of ``dict(zip(...))``. Only the quoted names come from the BTF."""
    converts = dict(row.converts)
    fields = [f"v{index}" for index in range(len(row.names))]
    calls = {f"c{index}": converts[name] for index, name in enumerate(row.names) if name in converts}
    items = [
        f"{name!r}: c{index}(v{index})" if name in converts else f"{name!r}: v{index}"
        for index, name in enumerate(row.names)
    ]
    source = f"lambda rows: [{{{', '.join(items)}}} for ({''.join(f'{field}, ' for field in fields)}) in rows]"
    made: Callable[[Iterator[tuple[Any, ...]]], list[Any]] = eval(source, {"__builtins__": {}, **calls})
    return made


def _checked(btf: Btf, type_id: int) -> Decoder:
    size = btf.size(type_id)
    if size > _MAX_SIZE:
        raise ObjectError(f"a type of {size:,} bytes: {describe(btf, type_id)}", section=".BTF")
    piece = _piece_of(btf, type_id, depth=0)
    name = describe(btf, type_id)
    if piece.values > _MAX_VALUES + _MAX_VALUES_PER_BYTE * size:
        raise ObjectError(f"{name} consists of {piece.values:,} values in {size:,} bytes", section=".BTF")
    read = _reader(btf, piece)

    def decode(data: bytes) -> Any:
        if len(data) < size:
            raise ValueError(f"{name} takes {size} bytes, not {len(data)}")
        return read(data)

    return decode


def _order(btf: Btf) -> str:
    return "<" if btf.byteorder == "little" else ">"


def _reader(btf: Btf, piece: _Piece) -> Decoder:
    """A decoder from a piece; it reads from the start of its argument."""
    convert = piece.convert
    if convert is not None and piece.format.endswith("s"):
        return convert
    unpack = Format(_order(btf) + piece.format).unpack_from
    if convert is None:
        return lambda data: unpack(data)[0]
    return lambda data: convert(unpack(data)[0])


def _piece_of(btf: Btf, type_id: int, *, depth: int) -> _Piece:
    """How to read a type as it is declared: the names of its typedefs say what is an address."""
    kind = address_kind(btf, type_id)
    if not kind:
        return _piece(btf, strip(btf, type_id), depth=depth)
    size = btf.size(type_id)
    return _Piece(f"{size}s", size, lambda data: unpack_address(kind, data))


def _piece(btf: Btf, type_id: int, *, depth: int) -> _Piece:
    """Made once per type, but for the outermost, whose end may be open."""
    key = ("piece", type_id)
    found: _Piece | None = btf.memo.get(key) if depth else None
    if found is None:
        found = _new_piece(btf, type_id, depth=depth)
        if depth:
            btf.memo[key] = found
    return found


def _new_piece(btf: Btf, type_id: int, *, depth: int) -> _Piece:
    if depth > MAX_DEPTH:
        raise ObjectError(f"BTF type {type_id} contains itself", section=".BTF")
    number = scalar(btf, type_id)
    if number:
        return _number(btf, type_id, number=number)
    found = btf.type(type_id)
    if isinstance(found, Array):
        return _array(btf, found, depth=depth)
    if isinstance(found, Struct | DataSec):
        return _compound(btf, type_id, depth=depth)
    raise ObjectError(f"BTF type {type_id} has no value", section=".BTF")


def _number(btf: Btf, type_id: int, *, number: Scalar) -> _Piece:
    if number.kind == "unit":
        return _Piece("0s", 0, lambda data: None)
    if number.kind == "enum" and number.code:
        names = enum_values(number.names)
        return _Piece(number.code, number.size, lambda value: names.get(value, value))
    if number.kind == "bool":
        return _Piece("?" if number.size == 1 else f"{number.size}s", number.size, None if number.size == 1 else any)
    found = btf.type(type_id)
    if isinstance(found, Int) and (found.offset or 0 < found.bits < 8 * found.size):
        size, shift, bits, signed = found.size, found.offset, found.bits, found.signed
        return _Piece(f"{size}s", size, _bits(btf, start=0, end=size, shift=shift, bits=bits, signed=signed))
    if number.code:
        return _Piece(number.code, number.size)
    if number.kind == "float":
        return _Piece(f"{number.size}s", number.size, lambda data: bytes(data[: number.size]))
    bits = 8 * number.size
    return _Piece(
        f"{number.size}s", number.size, _bits(btf, start=0, end=number.size, shift=0, bits=bits, signed=number.signed)
    )


def _bits(btf: Btf, *, start: int, end: int, shift: int, bits: int, signed: bool) -> Decoder:
    """Reads ``bits`` bits, ``shift`` above the lowest, of the number in bytes ``start`` to ``end``."""
    order: Any = btf.byteorder
    mask = (1 << bits) - 1
    sign = 1 << (bits - 1) if signed and bits else 0

    def read(data: bytes) -> int:
        value = (int.from_bytes(data[start:end], order) >> shift) & mask
        return (value ^ sign) - sign

    return read


def _array(btf: Btf, array: Array, *, depth: int) -> _Piece:
    element_id = strip(btf, array.type)
    count = array.nelems
    if is_char(btf, element_id):
        return _Piece(f"{count}s", count, lambda data: _text(data[:count]))
    element = _piece_of(btf, array.type, depth=depth + 1)
    size = count * element.size
    if element.format == "B" and element.convert is None:
        return _Piece(f"{size}s", size, lambda data: bytes(data[:size]))
    if not size:
        return _Piece("0s", 0, lambda data: [])
    values = 1 + count * element.values
    if element.convert is None and len(element.format) == 1:
        unpack = Format(f"{_order(btf)}{count}{element.format}").unpack_from
        return _Piece(f"{size}s", size, lambda data: list(unpack(data)), values)
    read, step = _reader(btf, element), element.size
    return _Piece(f"{size}s", size, lambda data: [read(data[at : at + step]) for at in range(0, size, step)], values)


def _text(data: bytes) -> str | bytes:
    """Text up to the first NUL (the rest may be garbage); the bytes when that is not text."""
    head, _, tail = bytes(data).partition(b"\0")
    if not head and any(tail):
        return bytes(data)
    try:
        text = head.decode()
    except UnicodeDecodeError:
        return bytes(data)
    return text if text.isprintable() or text.replace("\n", "").replace("\t", "").isprintable() else bytes(data)


def _compound(btf: Btf, type_id: int, *, depth: int) -> _Piece:
    """Struct, union or section -> dict of its fields in order; overlapping members are views of the same bytes."""
    formats = [_order(btf)]
    names: list[str] = []
    converts: list[tuple[str, Callable[[Any], Any]]] = []
    views: list[tuple[str, Decoder]] = []
    listed = fields(btf, type_id)
    cursor, values = 0, 1
    for field in listed:
        names.append(field.name)
        start, rest = divmod(field.bit_offset, 8)
        if field.bit_size or rest or start < cursor:
            formats.append("0s")  # keeps the order of the dict; the view sets the value
            read, inside = _view(btf, field, depth=depth)
            views.append((field.name, read))
            values += inside
            continue
        piece = _piece_of(btf, field.type, depth=depth + 1)
        values += piece.values
        formats.append(f"{start - cursor}x{piece.format}")
        cursor = start + piece.size
        if piece.convert:
            converts.append((field.name, piece.convert))
    tail = None if depth else flexible(btf, listed)
    if tail:
        views.append((tail.name, _padded(_flexible(btf, tail), size=btf.size(type_id))))
    size = btf.size(type_id)
    row = _Row(Format("".join(formats)), tuple(names), tuple(converts))
    if not views and not depth:  # an open end is only read at the end of the outermost type
        btf.memo["row", type_id] = row
    read = _sharing(_assembled(row, views=tuple(views)), places=overlaps(btf, listed))
    return _Piece(f"{size}s", size, read, values)


def _sharing(read: Decoder, *, places: Mapping[str, tuple[int, int]]) -> Decoder:
    return (lambda data: OverlappingFields(read(data), places)) if places else read


def _assembled(row: _Row, *, views: tuple[tuple[str, Decoder], ...]) -> Decoder:
    unpack, names, converts = row.format.unpack_from, row.names, row.converts
    if not converts and not views:
        return lambda data: dict(zip(names, unpack(data), strict=True))

    def read(data: bytes) -> dict[str, Any]:
        values = dict(zip(names, unpack(data), strict=True))
        for name, convert in converts:
            values[name] = convert(values[name])
        for name, view in views:
            values[name] = view(data)
        return values

    return read


def _view(btf: Btf, field: Field, *, depth: int) -> tuple[Decoder, int]:
    """(a reader of one field from the bytes of the whole type, the number of values in it)."""
    if field.bit_size or field.bit_offset % 8:
        return _bitfield(btf, field), 1
    read = _reader(btf, piece := _piece_of(btf, field.type, depth=depth + 1))
    start = field.bit_offset // 8
    end = start + piece.size
    return lambda data: read(data[start:end]), piece.values


def _bitfield(btf: Btf, field: Field) -> Decoder:
    number = scalar(btf, strip(btf, field.type))
    bits = field.bit_size or 8 * btf.size(field.type)
    start, end = field.bit_offset // 8, (field.bit_offset + bits + 7) // 8
    low = field.bit_offset - 8 * start
    shift = low if btf.byteorder == "little" else 8 * (end - start) - low - bits
    read = _bits(btf, start=start, end=end, shift=shift, bits=bits, signed=bool(number and number.signed))
    if number and number.kind == "enum":
        names = enum_values(number.names)
        return lambda data: names.get(value := read(data), value)
    return (lambda data: bool(read(data))) if number and number.kind == "bool" else read


def _padded(read: Decoder, *, size: int) -> Decoder:
    """A reader for a ``T x[]`` that begins in the padding of its struct: zeros up to its end are no elements."""

    def read_tail(data: bytes) -> Any:
        found = read(data)
        return found if len(data) != size or any(found) else found[:0]

    return read_tail


def _flexible(btf: Btf, field: Field) -> Decoder:
    """A reader for ``T x[]`` at the end of a type: as many elements as there are bytes for."""
    array = btf.type(strip(btf, field.type))
    assert isinstance(array, Array)
    start, step = field.bit_offset // 8, btf.size(array.type)
    if is_char(btf, strip(btf, array.type)):
        return lambda data: _text(data[start:])
    element = _piece_of(btf, array.type, depth=1)
    if element.format == "B" and element.convert is None:
        return lambda data: bytes(data[start:])
    read = _reader(btf, element)
    if not step:
        return lambda data: []
    return lambda data: [read(data[at : at + step]) for at in range(start, len(data) - step + 1, step)]
