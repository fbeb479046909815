"""Which fields of a context a kernel lets a test run set, found by running a program that does nothing."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType

from pytest_ebpf.agent.ops import Close, ProgLoad, ProgRun, Ran, Ref, Try
from pytest_ebpf.errors import KernelCallError
from pytest_ebpf.live.run.contexts import CONTEXTS, Context, Field, RunContext, encode_ctx
from pytest_ebpf.live.run.rules import RUN_RULES
from pytest_ebpf.live.session import Session
from pytest_ebpf.obj.insn import Insn, pack_insns
from pytest_ebpf.uapi.flags import ProgFlag

__all__ = ["ContextCheck", "accepted_fields", "idle_program"]

_NOTHING = (Insn(0xB7), Insn(0x95))  # r0 = 0; exit
_FRAME = bytes(12) + b"\x08\x00\x45" + bytes(49)
_PROBES: Mapping[tuple[str, str], int] = MappingProxyType(  # where 1 is not a value for it
    {("__sk_buff", "data_end"): len(_FRAME), ("xdp_md", "data"): 4, ("xdp_md", "rx_queue_index"): 0}
)
_BESIDE = ("data", "data_end", "wire_len")  # they follow from the packet


def accepted_fields(session: Session, prog_type: int) -> tuple[Field, ...]:
    """The fields of the type's context that may be set to 1 on this kernel. Empty for types without named fields."""
    rule = RUN_RULES.get(prog_type)
    if rule is None or rule.context not in CONTEXTS:
        return ()
    fields = CONTEXTS[rule.context].fields
    return _taken(
        session, prog_type, fields=[field for field in fields if field.settable and field.name not in _BESIDE]
    )


def _taken(session: Session, prog_type: int, *, fields: Sequence[Field]) -> tuple[Field, ...]:
    """Those of the fields with which an idle program of the type runs."""
    rule, order = RUN_RULES[prog_type], session.target.described.byteorder
    context, data = CONTEXTS[rule.context], _FRAME if rule.takes_data else b""
    load = idle_program(ProgLoad(prog_type, b"", "GPL"), byteorder=order)
    runs = [Try(ProgRun(Ref(0), data=data, ctx=_one(context, one, order=order, data=data))) for one in fields]
    answers = session.run([Try(load), *runs, Try(Close(Ref(0)))])[1 : 1 + len(fields)]
    return tuple(field for field, answer in zip(fields, answers, strict=True) if isinstance(answer, Ran))


def _late(context: Context) -> list[Field]:
    """What not every kernel takes."""
    return [field for field in context.fields if field.since]


class ContextCheck:
    """Holds contexts against what the kernel lets a run set, before the run. Fields that every kernel takes whose test
    run the type has cost nothing; the others are tried once."""

    def __init__(self, session: Session, *, prog_type: int) -> None:
        rule = RUN_RULES.get(prog_type)
        self._session, self._type = session, prog_type
        self._context = CONTEXTS.get(rule.context) if rule is not None else None

    def checked(self, ctx: object) -> object:
        """``ctx``; of one that a run gave back, what this kernel takes. ``KernelCallError`` (errno 0) for a field that
        is set and that this kernel refuses."""
        if not isinstance(ctx, Mapping) or self._context is None:
            return ctx
        late = [field for field in _late(self._context) if _is_set(ctx.get(field.name))]
        refused = [field for field in late if field.name not in self._accepted] if late else []
        if not refused:
            return ctx
        if isinstance(ctx, RunContext):
            names = {field.name for field in refused}
            left = RunContext({name: value for name, value in ctx.items() if name not in names})
            return left or None
        raise self._error(refused)

    @cached_property
    def _accepted(self) -> frozenset[str]:
        assert self._context is not None
        return frozenset(field.name for field in _taken(self._session, self._type, fields=_late(self._context)))

    def _error(self, refused: Sequence[Field]) -> KernelCallError:
        assert self._context is not None
        where = self._session.target
        fields = [one for one in self._context.fields if one.settable]
        taken = [one.name for one in fields if not one.since or one.name in self._accepted]
        return KernelCallError(
            f"struct {self._context.name}: this kernel ({where.described.release}) does not let a test run set "
            f"{', '.join(repr(field.name) for field in refused)}",
            op="ProgRun",
            errno=0,
            hint=f"Linux {refused[0].since} is the first that does. Here a run may set: {', '.join(taken) or '-'}.",
        )


def _is_set(value: object) -> bool:
    return any(value) if isinstance(value, Sequence) and not isinstance(value, str) else bool(value)


def idle_program(like: ProgLoad, *, byteorder: str) -> ProgLoad:
    """Loads a program of the same type, with the same attach type and flags, that does nothing."""
    code, flags = pack_insns(list(_NOTHING), byteorder=byteorder), like.flags & ProgFlag.XDP_HAS_FRAGS
    return ProgLoad(like.type, code, "GPL", expected_attach_type=like.expected_attach_type, flags=flags)


def _one(context: Context, field: Field, *, order: str, data: bytes) -> bytes:
    values: dict[str, object] = {field.name: _PROBES.get((context.name, field.name), 1)}
    if context.name == "xdp_md":
        values["data_end"] = len(data)
    if context.name == "bpf_sk_lookup":
        values |= {"family": socket.AF_INET, "protocol": socket.IPPROTO_TCP}
    return encode_ctx(context, values, byteorder=order)
