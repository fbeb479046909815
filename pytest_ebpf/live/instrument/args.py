"""The arguments of a recorded call, as a test writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from pytest_ebpf.agent.ops import Handle
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.live.instrument.parts import Parts
from pytest_ebpf.obj.insn import LD_IMM64, Insn
from pytest_ebpf.obj.object import MapDef
from pytest_ebpf.rewrite.flow import registers_of
from pytest_ebpf.rewrite.scratch import STACK
from pytest_ebpf.rewrite.sites import CallSite
from pytest_ebpf.rewrite.spies import MEMORY, RecordedSite
from pytest_ebpf.uapi.flags import MapFlag

__all__ = ["Address", "ArgumentMap", "Argument", "Flags", "arguments_of", "cleared_by", "map_of", "plan_record"]

_MOV, _MOV_IMM = 0xBF, (0xB7, 0xB4)
_INPUTS = ("*data", "*from", "*params")  # pointers to bytes whose number is the argument behind
_OUTPUTS, _SIZES = ("*to", "*dst", "*buf"), ("len", "size", "size_of_buf")
_CLEARING = ("bpf_skb_load_bytes", "bpf_probe_read", "bpf_get_current_comm", "bpf_copy_from_user")
_UPDATES = ("bpf_map_update_elem",)


class _Codec(Protocol):
    def show_key(self, raw: bytes) -> object: ...
    def raw_key(self, key: object) -> bytes: ...
    @property
    def plain(self) -> _Shape: ...


class _Shape(Protocol):
    def decode(self, data: bytes) -> object: ...


class ArgumentMap(Protocol):
    """A ``Map``, as far as arguments need it."""

    @property
    def definition(self) -> MapDef: ...
    @property
    def handle(self) -> Handle: ...
    @property
    def codec(self) -> _Codec: ...


class Address(int):
    """A pointer as a number, which is written as one writes addresses."""

    def __repr__(self) -> str:
        return hex(self)


class Flags(int):
    """A number that equals its name, too: ``call.args[3] == "BPF_NOEXIST"``."""

    name: str

    def __new__(cls, value: int, *, name: str) -> Flags:
        made = super().__new__(cls, value)
        made.name = name
        return made

    def __eq__(self, other: object) -> bool:
        return self.name == other if isinstance(other, str) else int(self) == other

    __hash__ = int.__hash__

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Argument:
    """What is known of a recorded site before it runs. ``map``: the one that the call gets, None when that is decided
    while it runs."""

    recorded: RecordedSite
    map: ArgumentMap | None


def plan_record(parts: Parts, site: CallSite, *, number: int, maps: Mapping[Handle, ArgumentMap]) -> Argument:
    """Which registers to keep at a site, and of which the bytes that they point to."""
    params = site.signature.params
    count = len(params) if params or site.signature.returns != "signed" or site.kind != "function" else 5
    known = parts.flow.set_[site.slot]
    registers = tuple(register for register in range(1, count + 1) if known >> register & 1)
    used = map_of(parts, site, maps=maps)
    pointed: dict[int, int] = {}
    for register, param in enumerate(params, 1):
        size = _size_of(parts, site, register=register, param=param, used=used)
        if register in registers and 0 < size <= MEMORY and len(pointed) < 2:
            pointed[register] = size
    return Argument(RecordedSite(site, number, registers, pointed), used)


def map_of(parts: Parts, site: CallSite, *, maps: Mapping[Handle, ArgumentMap]) -> ArgumentMap | None:
    """The map that a call gets, as far as the instructions before it tell."""
    register = _map_register(site)
    handle = _map_in(parts, register, slot=site.slot) if register else None
    return maps.get(handle) if handle is not None else None


def cleared_by(parts: Parts, site: CallSite) -> tuple[tuple[int, int], ...]:
    """What a call sets to zero when it fails: register of the argument and bytes, where the instructions before it tell
    how many. (bpf_skb_load_bytes() and others: net/core/filter.c, kernel/trace/bpf_trace.c.)"""
    params = site.signature.params
    found = []
    for register, param in enumerate(params, 1):
        if param in _OUTPUTS and site.function.startswith(_CLEARING):
            behind = [number for number, name in enumerate(params, 1) if name in _SIZES]
            size = _number_in(parts, behind[0], slot=site.slot) if behind else 0
            found += [(register, size)] if 0 < size <= STACK else []
    return tuple(found)


def _map_register(site: CallSite) -> int:
    return next((number for number, param in enumerate(site.signature.params, 1) if _is_map(param)), 0)


def _is_map(param: str) -> bool:
    return param.startswith("*") and param.endswith(("map", "ringbuf"))


def _size_of(parts: Parts, site: CallSite, *, register: int, param: str, used: ArgumentMap | None) -> int:
    if used is not None and param == "*key":
        return used.definition.key_size
    if used is not None and param == "*value":
        return used.definition.value_size if site.function.endswith(("update_elem", "push_elem")) else 0
    behind = site.signature.params[register : register + 1]
    if behind and (param in _INPUTS or behind == ("to_size",)):
        return _number_in(parts, register + 1, slot=site.slot)
    return 0


def _writer(parts: Parts, register: int, *, slot: int) -> int:
    """The slot of the instruction that wrote a register: the last one of the block, else the only one of the function;
    -1 when it cannot be told."""
    blocks = [block.start for block in parts.flow.blocks if block.start <= slot]
    for before in range(slot - 1, blocks[-1] - 1, -1):
        if parts.insns[before].code and registers_of(parts.insns[before])[1] >> register & 1:
            return before
    start = parts.flow.function_at(slot)
    end = min((f for f in parts.flow.functions if f > start), default=len(parts.insns))
    writers = [
        at for at in range(start, end) if parts.insns[at].code and registers_of(parts.insns[at])[1] >> register & 1
    ]
    return writers[0] if len(writers) == 1 else -1


def _map_in(parts: Parts, register: int, *, slot: int, hops: int = 4) -> Handle | None:
    at = _writer(parts, register, slot=slot)
    if at < 0 or not hops:
        return None
    insn = parts.insns[at]
    if insn.code == LD_IMM64:
        found = [patch.target for patch in parts.op.patches if patch.insn == at]
        return found[0] if found and isinstance(found[0], Handle) else None
    return _map_in(parts, insn.src, slot=at, hops=hops - 1) if insn.code == _MOV else None


def _number_in(parts: Parts, register: int, *, slot: int) -> int:
    at = _writer(parts, register, slot=slot)
    insn = parts.insns[at] if at >= 0 else Insn(0)
    return insn.imm if insn.code in _MOV_IMM else 0


def arguments_of(
    argument: Argument, numbers: list[int], *, pointed: list[bytes], addresses: dict[int, str]
) -> list[object]:
    """``numbers``: the five registers. ``pointed``: what was kept. ``addresses``: of maps, learned from sites whose map
    is known, and added to."""
    recorded, used = argument.recorded, argument.map
    signature = recorded.site.signature
    if used is not None:
        addresses[numbers[_map_register(recorded.site) - 1]] = used.definition.name
    kept = dict(zip(recorded.pointed, pointed, strict=False))
    decoded: list[object] = []
    for register in recorded.registers:
        param = signature.params[register - 1] if register <= len(signature.params) else ""
        number = numbers[register - 1]
        if register in kept:
            decoded.append(_pointed(param, kept[register][: recorded.pointed[register]], used=used))
        elif param.startswith("*"):
            decoded.append(addresses.get(number, Address(number)) if _is_map(param) else Address(number))
        elif param == "flags":
            decoded.append(_flags(recorded.site.function, number))
        else:
            decoded.append(_number(number, signature.widths[register - 1] if signature.widths else 8))
    return decoded


def _pointed(param: str, data: bytes, *, used: ArgumentMap | None) -> object:
    if used is not None and param == "*key":
        return used.codec.show_key(data)
    return used.codec.plain.decode(data) if used is not None and param == "*value" else data


def _flags(function: str, number: int) -> object:
    if function not in _UPDATES or number not in list(MapFlag):
        return number
    flag = MapFlag(number)
    return Flags(number, name=f"BPF_F_{flag.name}" if flag > MapFlag.EXIST else f"BPF_{flag.name}")


def _number(value: int, width: int) -> int:
    size = abs(width) or 8
    value &= (1 << 8 * size) - 1
    return value - (1 << 8 * size) if width < 0 and value >> 8 * size - 1 else value
