"""Python values to bytes by their BTF type."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping, Sequence
from struct import Struct as Format
from typing import Any

from pytest_ebpf.btf.addresses import address_kind, pack_address
from pytest_ebpf.btf.describe import describe
from pytest_ebpf.btf.layout import MAX_DEPTH, Field, Scalar, fields, flexible, is_char, scalar, strip
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.positional import positional
from pytest_ebpf.btf.types import Array, DataSec, Struct
from pytest_ebpf.errors import ObjectError
from pytest_ebpf.suggest import did_you_mean

__all__ = ["Encoder", "encoder"]

Encoder = Callable[[Any], bytes]
_Put = Callable[[bytearray, Any], None]  # a field's value into the bytes of the whole type

_MAX_SIZE = 1 << 30


class _RefusedError(Exception):
    """A value that does not fit its type; each caller adds to ``path``."""

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

    It takes the values that decoding returns (and bytes of the right length for any type); omitted fields are 0. It
    raises ValueError for a value that does not fit and TypeError for one of the wrong type, and names the field.
    ``encoder`` itself raises ObjectError when the type has no size or the BTF is broken.
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
    make = _maker_of(btf, type_id, depth=0)
    name = describe(btf, type_id)

    def encode(value: Any) -> bytes:
        try:
            return make(value)
        except _RefusedError as error:
            where = f"{name}: {error.path.removeprefix('.')}" if error.path else name
            raise error.kind(f"{where}: {error.message}") from None

    return encode


def _maker_of(btf: Btf, type_id: int, *, depth: int) -> Encoder:
    """For a type as it is declared: the names of its typedefs say what is an address."""
    kind = address_kind(btf, type_id)
    plain = _maker(btf, strip(btf, type_id), depth=depth)
    if not kind:
        return plain

    def make(value: Any) -> bytes:
        try:
            data = pack_address(kind, value)
        except ValueError as error:
            raise _RefusedError(str(error), kind=ValueError) from None
        return plain(value) if data is None else data

    return make


def _maker(btf: Btf, type_id: int, *, depth: int) -> Encoder:
    """Made once per type, but for the outermost, whose end may be open."""
    key = ("maker", type_id)
    found: Encoder | None = btf.memo.get(key) if depth else None
    if found is None:
        found = _new_maker(btf, type_id, depth=depth)
        if depth:
            btf.memo[key] = found
    return found


def _new_maker(btf: Btf, type_id: int, *, depth: int) -> Encoder:
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


def _or_bytes(make: Encoder, *, size: int) -> Encoder:
    """``make``, except that bytes are used unchanged."""

    def make_any(value: Any) -> bytes:
        if not isinstance(value, bytes | bytearray | memoryview):
            return make(value)
        if len(value) != size:
            raise _RefusedError(f"takes {size} bytes, not {len(value)}", kind=ValueError)
        return bytes(value)

    return make_any


def _number(btf: Btf, number: Scalar, *, name: str) -> Encoder:
    if number.kind == "float":
        return _float(btf, number, name=name)
    if number.kind == "unit":
        return _nothing
    as_number = _as_number(number, bits=8 * number.size)
    size, signed = number.size, number.signed
    byteorder: Any = btf.byteorder

    def make(value: Any) -> bytes:
        whole = as_number(value)
        try:
            return whole.to_bytes(size, byteorder, signed=signed)
        except OverflowError:
            raise _does_not_fit(whole, bits=8 * size, signed=signed, name=name) from None

    return make


def _nothing(value: Any) -> bytes:
    if value is not None:
        raise _RefusedError(f"takes None, not {value!r}", kind=TypeError)
    return b""


def _float(btf: Btf, number: Scalar, *, name: str) -> Encoder:
    pack = Format(("<" if btf.byteorder == "little" else ">") + (number.code or f"{number.size}s")).pack

    def make(value: Any) -> bytes:
        if not isinstance(value, int | float) or not number.code:
            wanted = "a number" if number.code else f"{number.size} bytes"
            raise _RefusedError(f"takes {wanted}, not {value!r}", kind=TypeError)
        try:
            return pack(value)
        except OverflowError:
            raise _RefusedError(f"{value} does not fit {name}", kind=ValueError) from None

    return make


def _as_number(number: Scalar, *, bits: int) -> Callable[[Any], int]:
    """A number of ``bits`` bits. Compilers before LLVM 15 do not mark enums with negative values, so any enum takes
    them."""
    names = dict(number.names)
    unclear = number.kind == "enum" and not number.signed

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
            raise _RefusedError(f"takes a number, not {value!r}{_address_hint(value)}", kind=TypeError) from None
        if number.kind == "bool" and whole not in (0, 1):
            raise _RefusedError(f"{value} is neither true nor false", kind=ValueError)
        return whole + (1 << bits) if unclear and -(1 << bits - 1) <= whole < 0 else whole

    return convert


def _address_hint(value: object) -> str:
    """Text that is an address is written in network byte order, where the type does not say so, when asked for."""
    if not isinstance(value, str):
        return ""
    try:
        ipaddress.IPv4Address(value)
    except ValueError:
        return ""
    return f": addr({value!r}) is that address in network byte order (from pytest_ebpf import addr)"


def _does_not_fit(value: int, *, bits: int, signed: bool, name: str) -> _RefusedError:
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return _RefusedError(f"{value} does not fit {name} ({low} to {high})", kind=ValueError)


def _array(btf: Btf, array: Array, *, depth: int) -> Encoder:
    """``T x[]`` (0 elements) gives as many bytes as its value asks for."""
    element_id = strip(btf, array.type)
    step = btf.size(element_id)
    count = array.nelems
    size = count * step
    make = _maker_of(btf, array.type, depth=depth + 1)
    takes_text = is_char(btf, element_id)

    def make_all(value: Any) -> bytes:
        if isinstance(value, str) and step == 1:
            value = value.encode()
            if count and len(value) > count:
                raise _RefusedError(f"{len(value)} bytes of text do not fit {count}", kind=ValueError)
            return bytes(value.ljust(size, b"\0"))
        if isinstance(value, bytes | bytearray | memoryview):
            # text may be shorter than its array; bytes must have its length
            if count and (len(value) > size or (len(value) < size and not takes_text)):
                raise _RefusedError(f"takes {size} bytes, not {len(value)}", kind=ValueError)
            return bytes(value).ljust(size, b"\0")
        return b"".join(_each(make, value, count=count)).ljust(size, b"\0")

    return make_all


def _each(make: Encoder, value: Any, *, count: int) -> Iterator[bytes]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise _RefusedError(f"takes a list of {count or 'elements'}, not {value!r}", kind=TypeError)
    if count and len(value) > count:
        raise _RefusedError(f"takes {count} elements, not {len(value)}", kind=ValueError)
    for index, element in enumerate(value):
        try:
            yield make(element)
        except _RefusedError as error:
            raise error.within(f"[{index}]") from None


def _compound(btf: Btf, type_id: int, *, depth: int) -> Encoder:
    puts: dict[str, _Put] = {}
    end = 0
    listed = fields(btf, type_id)
    tail = None if depth else flexible(btf, listed)
    for field in listed:
        store = _merge if field.bit_offset < end else _store
        puts[field.name] = _field(btf, field, depth=depth, store=store, is_tail=field is tail)
        end = max(end, field.bit_offset + (field.bit_size or 8 * btf.size(field.type)))
    name, size = describe(btf, type_id), btf.size(type_id)

    def make(value: Any) -> bytes:
        if isinstance(value, tuple):
            value = _by_position(btf, type_id, values=value)
        if not isinstance(value, Mapping):
            raise _RefusedError(f"takes a dict of fields, not {value!r}", kind=TypeError)
        buffer = bytearray(size)
        for key, given in value.items():
            put = puts.get(key)
            if put is None:
                near = did_you_mean(str(key), puts, otherwise=f"it has {', '.join(puts)}")
                raise _RefusedError(f"{name} has no field {key!r}; {near}", kind=ValueError)
            try:
                put(buffer, given)
            except _RefusedError as error:
                raise error.within(f".{key}") from None
        return bytes(buffer)

    return make


def _by_position(btf: Btf, type_id: int, *, values: tuple[Any, ...]) -> Any:
    if not isinstance(btf.type(type_id), Struct):
        return values
    try:
        return positional(btf, type_id, values=values)
    except ValueError as error:
        raise _RefusedError(str(error), kind=ValueError) from None


def _store(buffer: bytearray, data: bytes, *, start: int) -> None:
    buffer[start : start + len(data)] = data


def _merge(buffer: bytearray, data: bytes, *, start: int) -> None:
    """Set bytes that another member of a union may have set. A decoded value must encode again, and text lost what
    follows its NUL: a byte that is 0 in one member is taken from the other."""
    old = buffer[start : start + len(data)].ljust(len(data), b"\0")
    if any(a and b and a != b for a, b in zip(old, data, strict=True)):
        raise _RefusedError("it shares its bytes with a field before it, and they disagree", kind=ValueError)
    _store(buffer, bytes(a | b for a, b in zip(old, data, strict=True)), start=start)


def _field(btf: Btf, field: Field, *, depth: int, store: Callable[..., None], is_tail: bool) -> _Put:
    start, rest = divmod(field.bit_offset, 8)
    type_id = strip(btf, field.type)
    if field.bit_size or rest:
        number = scalar(btf, type_id)
        if number is None:
            raise ObjectError(f"bitfield {field.name} is not a number", section=".BTF")
        return _bitfield(btf, field, number=number)
    make = _maker_of(btf, field.type, depth=depth + 1)
    size = btf.size(type_id)

    def put(buffer: bytearray, value: Any) -> None:
        data = make(value)
        if len(data) > size and not is_tail:
            raise _RefusedError("an array without a size can only be the end of a whole value", kind=ValueError)
        store(buffer, data, start=start)

    return put


def _bitfield(btf: Btf, field: Field, *, number: Scalar) -> _Put:
    bits = field.bit_size or 8 * number.size
    start, end = field.bit_offset // 8, (field.bit_offset + bits + 7) // 8
    low = field.bit_offset - 8 * start
    shift = low if btf.byteorder == "little" else 8 * (end - start) - low - bits
    mask = (1 << bits) - 1
    limits = (-(1 << bits - 1), 1 << bits - 1) if number.signed else (0, 1 << bits)
    order: Any = btf.byteorder
    as_number = _as_number(number, bits=bits)

    def put(buffer: bytearray, value: Any) -> None:
        whole = as_number(value)
        if not limits[0] <= whole < limits[1]:
            raise _does_not_fit(whole, bits=bits, signed=number.signed, name=f"{bits} bits")
        old = int.from_bytes(buffer[start:end], order)
        new = old & ~(mask << shift) | (whole & mask) << shift
        buffer[start:end] = new.to_bytes(end - start, order)

    return put
