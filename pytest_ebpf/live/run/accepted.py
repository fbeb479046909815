"""Which fields of a context a kernel lets a test run set, found by running a program that does nothing."""

from __future__ import annotations

import socket

from pytest_ebpf.agent.ops import Close, ProgLoad, ProgRun, Ran, Ref, Try
from pytest_ebpf.live.run.contexts import CONTEXTS, Context, Field, encode_ctx
from pytest_ebpf.live.run.rules import RUN_RULES
from pytest_ebpf.live.session import Session
from pytest_ebpf.obj.insn import Insn, pack_insns

__all__ = ["accepted_fields"]

_NOTHING = (Insn(0xB7), Insn(0x95))  # r0 = 0; exit
_FRAME = bytes(12) + b"\x08\x00\x45" + bytes(49)
_BESIDE = ("data", "data_end", "wire_len")  # they follow from the packet


def accepted_fields(session: Session, prog_type: int) -> tuple[Field, ...]:
    """The fields of the type's context that may be set to 1 on this kernel. Empty for types without named fields."""
    rule = RUN_RULES.get(prog_type)
    if rule is None or rule.context not in CONTEXTS:
        return ()
    context, order = CONTEXTS[rule.context], session.target.described.byteorder
    fields = tuple(field for field in context.fields if field.settable and field.name not in _BESIDE)
    load = ProgLoad(type=prog_type, insns=pack_insns(list(_NOTHING), byteorder=order), license="GPL")
    data = _FRAME if rule.takes_data else b""
    runs = [Try(ProgRun(Ref(0), data=data, ctx=_one(context, one, order=order, data=data))) for one in fields]
    answers = session.run([Try(load), *runs, Try(Close(Ref(0)))])[1 : 1 + len(fields)]
    return tuple(field for field, answer in zip(fields, answers, strict=True) if isinstance(answer, Ran))


def _one(context: Context, field: Field, *, order: str, data: bytes) -> bytes:
    values: dict[str, object] = {field.name: 1}
    if context.name == "xdp_md":
        values["data_end"] = len(data)
    if context.name == "bpf_sk_lookup":
        values |= {"family": socket.AF_INET, "protocol": socket.IPPROTO_TCP}
    return encode_ctx(context, values, byteorder=order)
