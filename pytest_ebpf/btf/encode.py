"""Python values to bytes by their BTF type."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from struct import Struct as Format
from typing import Any

from pytest_ebpf.btf.describe import describe
from pytest_ebpf.btf.layout import MAX_DEPTH, Field, Scalar, fields, is_char, scalar, strip
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import Array, DataSec, Struct
from pytest_ebpf.errors import ObjectError

__all__ = ["Encoder", "encoder"]

Encoder = Callable[[Any], bytes]
_Writer = Callable[[bytearray, int, Any], None]  # buffer, byte offset, value

_MAX_SIZE = 1 << 30


class _RefusedError(Exception):
    """A value that does not fit its type; ``path`` grows on the way out."""

    def __init__(self, message: str, *, kind: type[Exception]) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind
        self.path = ""

    def within(self, step: str) -> _RefusedError:
        self.path = step + self.path
        return self


def encoder(btf: Btf, type_id: int) -> Encoder:
    """A function from a value to the bytes of a type; made once per ``btf`` and type.

    It takes what decoding gives (and bytes of the right length, for anything); fields left out are 0. It raises
    ValueError for what does not fit and TypeError for what is of the wrong sort, naming the field. ObjectError here,
    when the type has no size or the BTF is broken.
    """
    key = ("encoder", type_id)
    if key not in btf.memo:
        btf.memo[key] = _checked(btf, type_id)
    made: Encoder = btf.memo[key]
    return made


def _checked(btf: Btf, type_id: int) -> Encoder:
    size = btf.size(type_id)
    if size > _MAX_SIZE:
        raise ObjectError(f"a type of {size:,} bytes: {describe(btf, type_id)}", section=".BTF")
    write = _writer(btf, strip(btf, type_id), depth=0)
    name = describe(btf, type_id)

    def encode(value: Any) -> bytes:
        buffer = bytearray(size)
        try:
            write(buffer, 0, value)
        except _RefusedError as error:
            where = f"{name}: {error.path.removeprefix('.')}" if error.path else name
            raise error.kind(f"{where}: {error.message}") from None
        return bytes(buffer)

    return encode


def _writer(btf: Btf, type_id: int, *, depth: int) -> _Writer:
    if depth > MAX_DEPTH:
        raise ObjectError(f"BTF type {type_id} contains itself", section=".BTF")
    number = scalar(btf, type_id)
    if number:
        return _or_bytes(_number(btf, number, name=describe(btf, type_id)), size=number.size)
    found = btf.type(type_id)
    if isinstance(found, Array):
        return _array(btf, found, depth=depth)
    if isinstance(found, Struct | DataSec):
        return _or_bytes(_compound(btf, type_id, depth=depth), size=btf.size(type_id))
    raise ObjectError(f"BTF type {type_id} has no value", section=".BTF")


def _or_bytes(write: _Writer, *, size: int) -> _Writer:
    """``write``, but for bytes, which are taken as they are."""

    def write_any(buffer: bytearray, at: int, value: Any) -> None:
        if isinstance(value, bytes | bytearray | memoryview):
            if len(value) != size:
                raise _RefusedError(f"takes {size} bytes, not {len(value)}", kind=ValueError)
            buffer[at : at + size] = value
        else:
            write(buffer, at, value)

    return write_any


def _number(btf: Btf, number: Scalar, *, name: str) -> _Writer:
    order = "<" if btf.byteorder == "little" else ">"
    as_number = _as_number(number)
    if number.kind == "float":
        if not number.code:
            raise ObjectError(f"{name}: floats of {number.size} bytes can only be given as bytes", section=".BTF")
        pack = Format(order + number.code).pack_into

        def write_float(buffer: bytearray, at: int, value: Any) -> None:
            try:
                pack(buffer, at, _as_float(value))
            except OverflowError:
                raise _RefusedError(f"{value} does not fit {name}", kind=ValueError) from None

        return write_float
    size, signed = number.size, number.signed
    byteorder: Any = btf.byteorder

    def write(buffer: bytearray, at: int, value: Any) -> None:
        whole = as_number(value)
        try:
            buffer[at : at + size] = whole.to_bytes(size, byteorder, signed=signed)
        except OverflowError:
            raise _does_not_fit(whole, bits=8 * size, signed=signed, name=name) from None

    return write


def _as_float(value: Any) -> float:
    if isinstance(value, int | float):
        return float(value)
    raise _RefusedError(f"takes a number, not {value!r}", kind=TypeError)


def _as_number(number: Scalar) -> Callable[[Any], int]:
    names = dict(number.names)

    def convert(value: Any) -> int:
        if isinstance(value, str) and names:
            if value not in names:
                raise _RefusedError(f"{value!r} is none of {', '.join(names)}", kind=ValueError)
            return names[value]
        if isinstance(value, str) and number.kind == "int" and number.size == 1 and len(value) == 1:
            value = ord(value)
        try:
            whole = int(value.__index__())
        except AttributeError:
            raise _RefusedError(f"takes a number, not {value!r}", kind=TypeError) from None
        if number.kind == "bool" and whole not in (0, 1):
            raise _RefusedError(f"{value} is neither true nor false", kind=ValueError)
        return whole

    return convert


def _does_not_fit(value: int, *, bits: int, signed: bool, name: str) -> _RefusedError:
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return _RefusedError(f"{value} does not fit {name} ({low} to {high})", kind=ValueError)


def _array(btf: Btf, array: Array, *, depth: int) -> _Writer:
    element_id = strip(btf, array.type)
    step = btf.size(element_id)
    write = _writer(btf, element_id, depth=depth + 1)
    takes_text = is_char(btf, element_id)

    def write_all(buffer: bytearray, at: int, value: Any) -> None:
        # ``T x[]`` at the end of a type is as long as the value
        count = array.nelems or _room(buffer, at, value, step=step)
        if isinstance(value, str) and step == 1:
            value = value.encode()
            if len(value) > count:
                raise _RefusedError(f"{len(value)} bytes of text do not fit {count}", kind=ValueError)
            buffer[at : at + len(value)] = value
        elif isinstance(value, bytes | bytearray | memoryview):
            # text may be shorter than its array; other bytes are meant as they are
            if len(value) > count * step or (len(value) < count * step and not takes_text):
                raise _RefusedError(f"takes {count * step} bytes, not {len(value)}", kind=ValueError)
            buffer[at : at + len(value)] = value
        else:
            _write_each(write, buffer, value, at=at, count=count, step=step)

    return write_all


def _room(buffer: bytearray, at: int, value: Any, *, step: int) -> int:
    """Makes room at the end of the buffer for all of ``value``; 0 elements when ``at`` is not at its end."""
    try:
        length = len(value.encode() if isinstance(value, str) else value)
    except TypeError:
        return 0
    count = length // step if isinstance(value, bytes | bytearray | memoryview) and step else length
    if at + count * step < len(buffer):
        return 0
    buffer.extend(bytes(at + count * step - len(buffer)))
    return count


def _write_each(write: _Writer, buffer: bytearray, value: Any, *, at: int, count: int, step: int) -> None:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise _RefusedError(f"takes a list of {count}, not {value!r}", kind=TypeError)
    if len(value) > count:
        raise _RefusedError(f"takes {count} elements, not {len(value)}", kind=ValueError)
    for index, element in enumerate(value):
        try:
            write(buffer, at + index * step, element)
        except _RefusedError as error:
            raise error.within(f"[{index}]") from None


def _compound(btf: Btf, type_id: int, *, depth: int) -> _Writer:
    writers = {field.name: _field(btf, field, depth=depth) for field in fields(btf, type_id)}
    name = describe(btf, type_id)

    def write(buffer: bytearray, at: int, value: Any) -> None:
        if not isinstance(value, Mapping):
            raise _RefusedError(f"takes a dict of fields, not {value!r}", kind=TypeError)
        for key, given in value.items():
            found = writers.get(key)
            if found is None:
                raise _RefusedError(f"{name} has no field {key!r}; it has {', '.join(writers)}", kind=ValueError)
            try:
                found(buffer, at, given)
            except _RefusedError as error:
                raise error.within(f".{key}") from None

    return write


def _field(btf: Btf, field: Field, *, depth: int) -> _Writer:
    """Writes a field into the bytes of the whole type."""
    start, rest = divmod(field.bit_offset, 8)
    if not field.bit_size and not rest:
        write = _writer(btf, strip(btf, field.type), depth=depth + 1)
        return lambda buffer, at, value: write(buffer, at + start, value)
    number = scalar(btf, strip(btf, field.type))
    if number is None:
        raise ObjectError(f"bitfield {field.name} is not a number", section=".BTF")
    return _bitfield(btf, field, number=number)


def _bitfield(btf: Btf, field: Field, *, number: Scalar) -> _Writer:
    bits = field.bit_size or 8 * number.size
    start, end = field.bit_offset // 8, (field.bit_offset + bits + 7) // 8
    low = field.bit_offset - 8 * start
    shift = low if btf.byteorder == "little" else 8 * (end - start) - low - bits
    mask = (1 << bits) - 1
    limits = (-(1 << bits - 1), 1 << bits - 1) if number.signed else (0, 1 << bits)
    order: Any = btf.byteorder
    as_number = _as_number(number)

    def write(buffer: bytearray, at: int, value: Any) -> None:
        whole = as_number(value)
        if not limits[0] <= whole < limits[1]:
            raise _does_not_fit(whole, bits=bits, signed=number.signed, name=f"{bits} bits")
        span = slice(at + start, at + end)
        old = int.from_bytes(buffer[span], order)
        new = old & ~(mask << shift) | (whole & mask) << shift
        buffer[span] = new.to_bytes(end - start, order)

    return write
