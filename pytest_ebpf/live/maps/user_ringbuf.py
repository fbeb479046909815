"""Records from a test to programs: user ring buffers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pytest_ebpf.agent.ops import Done, Handle, RingProduce
from pytest_ebpf.btf.encode import encoder
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.maps.record_types import named_type, type_named_like
from pytest_ebpf.live.session import Session
from pytest_ebpf.live.typed.as_bytes import as_bytes
from pytest_ebpf.live.typed.object_types import ObjectTypes
from pytest_ebpf.obj.object import MapDef

__all__ = ["produce"]


def produce(
    session: Session,
    handle: Handle,
    *,
    records: Sequence[object],
    definition: MapDef,
    types: ObjectTypes,
    type: str | None,
) -> None:
    """See ``Map.produce``."""
    encode = _encoder(definition, types=types, type=type)
    raw = tuple(as_bytes(one) if _is_raw(one) else encode(one) for one in records)
    session.one(RingProduce(handle, raw), Done)


def _is_raw(record: object) -> bool:
    return isinstance(record, bytes | bytearray | memoryview) or hasattr(record, "__bytes__")


def _encoder(definition: MapDef, *, types: ObjectTypes, type: str | None) -> Callable[[object], bytes]:
    name = definition.name
    found = named_type(types, type) if type is not None else type_named_like(types, definition)
    if found is not None:
        return encoder(found.btf, found.type_id)
    why = f"map {name!r}: the object {'does not say what type its records have' if types.btf else 'has no BTF'}"

    def refuse(record: object) -> bytes:
        raise BpfUsageError(
            f"{why}, so they are bytes, not {record!r}", hint="Or name their type: type='struct sample'."
        )

    return refuse
