"""What a tool asks before it chooses a program: may this function be traced, is there this tracepoint, this field?

``fentry:vfs_read`` (``fexit``, ``fmod_ret``), ``tracepoint:sched:sched_switch`` (``tp``), ``raw_tp:sched_switch``
(``tp_btf``), ``field:task_struct.mm``. No release is documented for them: a kernel without one skips the test.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType

from pytest_ebpf.agent.ops import Data, Failed, Made, Op, ProgLoaded, RawTracepointOpen, ReadFile, Ref, Result, Try
from pytest_ebpf.btf.layout import Field, fields, strip
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import Kind, Ptr, Struct
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.features.base import Answer, Feature, refused, said
from pytest_ebpf.features.progs import load_op
from pytest_ebpf.frozen import replace
from pytest_ebpf.obj.insn import Insn
from pytest_ebpf.plan.facts import Facts
from pytest_ebpf.suggest import did_you_mean
from pytest_ebpf.uapi.enums import AttachType

__all__ = ["PLACE_GROUPS", "place_feature"]

_RETURN_0 = [Insn(0xB7), Insn(0x95)]
_NAME = re.compile(r"[A-Za-z_][\w.$]*")
_EVENT = re.compile(r"[\w-]+[:/][\w-]+")
_FIELD = re.compile(r"((struct|union) )?[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_TRAMPOLINES: Mapping[str, int] = MappingProxyType(
    {"fentry": AttachType.TRACE_FENTRY, "fexit": AttachType.TRACE_FEXIT, "fmod_ret": AttachType.MODIFY_RETURN}
)
_CONFIG = ("DEBUG_INFO_BTF",)


def place_feature(group: str, name: str) -> Feature:
    """The row of ``group:name``. ``BpfUsageError`` for a name that cannot be one."""
    form, example = _FORMS[group]
    if not form.fullmatch(name):
        raise BpfUsageError(f"no feature '{group}:{name}' can be asked for", hint=f"Such as {example}.")
    return _MAKERS[group](group, name)


def _function(group: str, name: str) -> Feature:
    kind = _TRAMPOLINES[group]
    ops, read = partial(_function_ops, kind=kind, name=name), partial(_function_read, asked=f"{group}:{name}")
    return Feature(f"{group}:{name}", "", ops, read, config=_CONFIG, group=group)


def _function_ops(facts: Facts, *, kind: int, name: str) -> list[Op]:
    """Load, and attach for an instant: some functions have a type and no place to hook. A program that would change the
    result of the function is loaded only."""
    found = facts.btf.find(name, Kind.FUNC) if facts.btf else ()
    if not found:
        return []
    load = replace(load_op("TRACING", _RETURN_0, facts=facts, btf_id=found[0]), expected_attach_type=kind)
    return [Try(load)] if kind == AttachType.MODIFY_RETURN else [Try(load), Try(RawTracepointOpen(Ref(0)))]


def _function_read(results: Sequence[Result], facts: Facts, *, asked: str) -> Answer:
    if not results:
        return Answer(False, f"{asked}: " + _no_type(facts, f"function {asked.partition(':')[2]}"))
    loaded = results[0]
    if not isinstance(loaded, ProgLoaded):
        return refused(loaded, facts, message=f"{asked}: loading a program for it: {said(loaded)}", since="")
    if len(results) > 1 and not isinstance(results[1], Made):
        return refused(results[1], facts, message=f"{asked}: attaching: {said(results[1])}", since="")
    return Answer(True, f"{asked}: works")


def _no_type(facts: Facts, what: str) -> str:
    return "this kernel has no BTF" if facts.btf is None else f"the kernel's BTF has no {what}"


def _tracepoint(group: str, name: str) -> Feature:
    place = name.replace(":", "/")
    read = partial(_tracepoint_read, asked=f"{group}:{name}")
    ops = [Try(ReadFile(f"events/{place}/id", limit=16, filesystem="tracefs"))]
    return Feature(f"{group}:{name}", "", lambda facts: list(ops), read, config=("EVENT_TRACING",), group=group)


def _tracepoint_read(results: Sequence[Result], facts: Facts, *, asked: str) -> Answer:
    """Those of modules come and go."""
    result = results[0]
    if isinstance(result, Data):
        return Answer(True, f"{asked}: id {result.data.decode(errors='replace').strip()}", cause="module")
    if isinstance(result, Failed) and result.errno in (errno.ENOENT, errno.ENODEV):
        return Answer(False, f"{asked}: the kernel has no such tracepoint now", cause="module")
    return Answer(None, f"{asked}: tracefs cannot be read: {said(result)}")


def _raw_tracepoint(group: str, name: str) -> Feature:
    read = partial(_raw_read, asked=f"{group}:{name}", name=name)
    return Feature(f"{group}:{name}", "", lambda facts: [], read, config=_CONFIG, group=group)


def _raw_read(results: Sequence[Result], facts: Facts, *, asked: str, name: str) -> Answer:
    """By the type that each tracepoint of the kernel has in its BTF."""
    if facts.btf is None:
        return Answer(None, f"{asked}: this kernel has no BTF, which lists raw tracepoints")
    found = bool(facts.btf.find(f"btf_trace_{name}", Kind.TYPEDEF))
    return Answer(found, f"{asked}: " + ("in the kernel's BTF" if found else _no_type(facts, f"raw tracepoint {name}")))


def _field(group: str, name: str) -> Feature:
    return Feature(
        f"{group}:{name}", "", lambda facts: [], partial(_field_read, name=name), config=_CONFIG, group=group
    )


def _field_read(results: Sequence[Result], facts: Facts, *, name: str) -> Answer:
    if facts.btf is None:
        return Answer(None, f"field {name}: this kernel has no BTF, so nobody knows")
    struct, *steps = name.removeprefix("struct ").removeprefix("union ").split(".")
    btf = facts.btf
    found = (*btf.find(struct, Kind.STRUCT), *btf.find(struct, Kind.UNION), *btf.find(struct, Kind.TYPEDEF))
    if not found:
        return Answer(False, f"field {name}: the kernel's BTF has no struct {struct}")
    type_id = found[0]
    for step in steps:
        known = {field.name: field.type for field in _fields(btf, type_id)}
        if step not in known:
            near = did_you_mean(step, known, otherwise="")
            return Answer(
                False, f"field {name}: {btf.name(type_id) or 'it'} has no {step!r}" + (f"; {near}" if near else "")
            )
        type_id = known[step]
    return Answer(True, f"field {name}: in the kernel's BTF")


def _fields(btf: Btf, type_id: int) -> Sequence[Field]:
    """Those of a struct, or of what a pointer points to, as ``->`` does."""
    target = btf.type(found := strip(btf, type_id))
    if isinstance(target, Ptr):
        target = btf.type(found := strip(btf, target.type))
    return fields(btf, found) if isinstance(target, Struct) else ()


_FORMS: Mapping[str, tuple[re.Pattern[str], str]] = MappingProxyType(
    {
        **dict.fromkeys(_TRAMPOLINES, (_NAME, "fentry:vfs_read")),
        **dict.fromkeys(("tracepoint", "tp"), (_EVENT, "tracepoint:sched:sched_switch")),
        **dict.fromkeys(("raw_tp", "raw_tracepoint", "tp_btf"), (_NAME, "raw_tp:sched_switch")),
        "field": (_FIELD, "field:task_struct.mm"),
    }
)
_MAKERS: Mapping[str, Callable[[str, str], Feature]] = MappingProxyType(
    {
        **dict.fromkeys(_TRAMPOLINES, _function),
        **dict.fromkeys(("tracepoint", "tp"), _tracepoint),
        **dict.fromkeys(("raw_tp", "raw_tracepoint", "tp_btf"), _raw_tracepoint),
        "field": _field,
    }
)
PLACE_GROUPS = frozenset(_MAKERS)
