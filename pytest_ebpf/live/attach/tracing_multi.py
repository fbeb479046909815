"""One program on many functions that BTF knows: fentry.multi, fexit.multi and fsession.multi (Linux 7.2)."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from pytest_ebpf.agent.ops import LinkCreate, PointerAt
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import Kind
from pytest_ebpf.errors import PlanError
from pytest_ebpf.live.attach.arguments import FunctionArg
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.kprobe_multi import function_names, is_pattern, matching, pack_cookies, traceable_functions
from pytest_ebpf.live.attach.link import Link, Mechanism
from pytest_ebpf.live.inspect.suggest import nearest_functions
from pytest_ebpf.live.session import Session

__all__ = ["attach_tracing_multi"]

_TRACING_MULTI = "QQI"  # link_create.tracing_multi: ids, cookies, cnt
_IDS, _COOKIES = 0, 8


def attach_tracing_multi(
    session: Session, program: AttachableProgram, *, function: FunctionArg, cookies: Sequence[int] | None = None
) -> Link:
    """One link on every function that ``function`` names: a name, a pattern, or a list of them."""
    wanted = [str(each) for each in function_names(program, function)]
    btf = session.target.facts().btf
    if btf is None:
        raise PlanError(f"{program.name} needs the kernel's BTF, and this kernel has none", feature="btf")
    names = _traced(session, program, wanted=wanted, btf=btf)
    packed = pack_cookies(program, cookies, count=len(names))
    order = session.target.described.order
    ids = struct.pack(f"{order}{len(names)}I", *(btf.find(name, Kind.FUNC)[0] for name in names))
    spec = program.definition.spec
    assert spec is not None
    op = LinkCreate(
        program.handle,
        spec.attach_type,
        extra=struct.pack(order + _TRACING_MULTI, 0, 0, len(names)),
        pointers=(PointerAt(_IDS, ids), *((PointerAt(_COOKIES, packed),) if packed else ())),
    )
    where = names[0] if len(names) == 1 else f"{len(names)} functions ({', '.join(wanted)})"
    mechanism = Mechanism(f"{spec.prefix} link")
    return Link(session, program=program, target=where, mechanism=mechanism, handles=(session.make(op),))


def _traced(session: Session, program: AttachableProgram, *, wanted: Sequence[str], btf: Btf) -> list[str]:
    """The functions that BTF knows and that can be traced; of a pattern those that are both."""
    known = traceable_functions(session) if any(map(is_pattern, wanted)) else {}
    found: list[str] = []
    for each in wanted:
        if not is_pattern(each) and not btf.find(each, Kind.FUNC):
            raise PlanError(f"{program.name}: this kernel has no function {each!r}", hint=nearest_functions(btf, each))
        found += [name for name in matching(program, each, known=known) if btf.find(name, Kind.FUNC)]
    return list(dict.fromkeys(found))
