"""Questions to the kernel about programs, maps, links and BTF, by handle or by id; each is one or two round trips.

An object that is asked about by id is open only while the question lasts: nothing of another process is kept alive.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from struct import unpack, unpack_from
from typing import Any

from pytest_ebpf.agent.ops import (
    Close,
    Data,
    FdInfo,
    Handle,
    Ids,
    Info,
    InfoArray,
    InfoArrays,
    InfoByFd,
    Made,
    Obj,
    ObjById,
    Op,
    Ref,
    Result,
    Try,
)
from pytest_ebpf.btf.parse import Btf, parse_btf
from pytest_ebpf.errors import PlanError
from pytest_ebpf.features.helper_table import HELPERS
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.kernels.base import check
from pytest_ebpf.live.inspect import dump
from pytest_ebpf.live.inspect.info import (
    LINK_ARRAYS,
    BtfInfo,
    LinkInfo,
    MapInfo,
    ProgInfo,
    fdinfo_fields,
    link_kind,
    read_btf_info,
    read_link_info,
    read_map_info,
    read_prog_info,
)
from pytest_ebpf.live.inspect.kallsyms import read_kallsyms
from pytest_ebpf.live.session import Session
from pytest_ebpf.obj.insn import unpack_insns
from pytest_ebpf.obj.listing import SourceLine

__all__ = [
    "Asked",
    "RunStats",
    "ask_btf",
    "ask_btf_info",
    "ask_function_name",
    "ask_info",
    "ask_infos",
    "ask_jited",
    "ask_run_stats",
    "ask_xlated",
    "ids_of",
    "program_name",
]

_NAME = slice(64, 80)  # of struct bpf_prog_info
Asked = Handle | int  # an object by what it is called here, or by the kernel's id
AnyInfo = ProgInfo | MapInfo | LinkInfo | BtfInfo

# struct bpf_prog_info: address, count, size of an element
_JITED, _XLATED = InfoArray(24, 16), InfoArray(32, 20)
_MAP_IDS = InfoArray(56, 52, stride=4)
_KSYMS, _FUNC_LENS = InfoArray(112, 104, stride=8), InfoArray(120, 108, stride=4)
_FUNCS = InfoArray(136, 144, record_size=132)
_LINES, _JITED_LINES = InfoArray(152, 148, record_size=172), InfoArray(160, 168, record_size=176)
_BTF_ID, _LINE_SIZE = 128, 172
# struct bpf_btf_info
_BTF_DATA, _BTF_NAME = InfoArray(0, 8), InfoArray(16, 24, room=64)
_ARRAYS: Mapping[str, tuple[InfoArray, ...]] = {"prog": (_MAP_IDS,), "map": (), "link": (), "btf": (_BTF_NAME,)}


@dataclass(frozen=True, slots=True)
class RunStats:
    """How often a program ran and how long it took in all, while statistics were on. ``recursion_misses``: calls that
    the kernel left out because the program was running on that CPU already (Linux 5.12; None before)."""

    count: int
    time_ns: int
    recursion_misses: int | None = None

    @property
    def mean_ns(self) -> float:
        """Nanoseconds per run, 0 when there was none."""
        return self.time_ns / self.count if self.count else 0.0


def ids_of(session: Session, kind: str) -> tuple[int, ...]:
    """The ids of a kind (prog, map, link, btf), ascending. KernelCallError where the kernel has none (links: 5.8)."""
    return _u32s(session.one(Ids(kind), Data).data, order=_order(session))


def ask_info(session: Session, kind: str, *, asked: Asked) -> Any:
    """ProgInfo, MapInfo, LinkInfo or BtfInfo of one object. KernelCallError (ENOENT) for an id that does not exist."""
    info, text = _ask(session, kind, asked=asked, ops=lambda obj: [InfoArrays(obj, _ARRAYS[kind]), FdInfo(obj)])
    return _value(session, check(info, Info), text=check(text, Data), asked=asked)


def ask_infos(session: Session, kind: str, *, ids: Iterable[int]) -> list[AnyInfo]:
    """The infos of many objects in one round trip (links of some types: two); ended objects are left out."""
    ops: list[Op] = []
    known = list(ids)
    for index, id in enumerate(known):
        obj = Ref(4 * index)
        ops += [Try(ObjById(kind, id)), Try(InfoArrays(obj, _ARRAYS[kind])), Try(FdInfo(obj)), Try(Close(obj))]
    results = session.run(ops)
    found: list[AnyInfo] = []
    for id, info, text in zip(known, results[1::4], results[2::4], strict=True):
        if isinstance(info, Info) and isinstance(text, Data):
            found.append(_value(session, info, text=text, asked=id))
    return found


def _value(session: Session, info: Info, *, text: Data, asked: Asked) -> AnyInfo:
    fdinfo, order = fdinfo_fields(text.data), _order(session)
    if info.kind == "prog":
        return read_prog_info(info.data, map_ids=_u32s(info.arrays[0], order=order), fdinfo=fdinfo, order=order)
    if info.kind == "map":
        return read_map_info(info.data, fdinfo=fdinfo, order=order)
    if info.kind == "btf":
        return read_btf_info(info.data, name=info.arrays[0], order=order)
    rows = LINK_ARRAYS.get(link_kind(info.data, order=order), ())
    if not rows:
        return read_link_info(info.data, order=order)
    request = tuple(array for _, array in rows)
    (full,) = _ask(session, "link", asked=asked, ops=lambda obj: [InfoArrays(obj, request)])
    with_arrays = check(full, Info)
    names = (name for name, _ in rows)
    return read_link_info(with_arrays.data, arrays=dict(zip(names, with_arrays.arrays, strict=True)), order=order)


def _ask(session: Session, kind: str, *, asked: Asked, ops: Callable[[Obj], list[Op]]) -> Sequence[Result]:
    """The answers to ``ops`` about one object, in one round trip."""
    if isinstance(asked, Handle):
        return session.run(ops(asked))
    by_id = ObjById(kind, asked)
    opened, *answers, _ = session.run([by_id, *(Try(op) for op in ops(Ref(0))), Close(Ref(0))])
    session.checked(by_id, opened, kind=Made)
    return answers


def _order(session: Session) -> str:
    return session.target.described.order


def _u32s(data: bytes, *, order: str) -> tuple[int, ...]:
    return unpack(f"{order}{len(data) // 4}I", data)


def _u64s(data: bytes, *, order: str) -> tuple[int, ...]:
    return unpack(f"{order}{len(data) // 8}Q", data)


def ask_run_stats(session: Session, asked: Asked) -> RunStats:
    """The run statistics of a program. All 0 while statistics are off."""
    info = ask_info(session, "prog", asked=asked)
    return RunStats(info.run_count or 0, info.run_time_ns or 0, info.recursion_misses)


def ask_btf_info(session: Session, id: int) -> BtfInfo:
    """BtfInfo of one id."""
    info = ask_info(session, "btf", asked=id)
    assert isinstance(info, BtfInfo)
    return info


def ask_btf(session: Session, id: int) -> Btf:
    """The types of a BTF object of the kernel: a program's, vmlinux's, a module's."""
    (answer,) = _ask(session, "btf", asked=id, ops=lambda obj: [InfoArrays(obj, (_BTF_DATA, _BTF_NAME))])
    info = check(answer, Info)
    about = read_btf_info(info.data, name=info.arrays[1], order=_order(session))
    kernel = session.target.facts().btf if about.is_kernel else None
    if about.name == "vmlinux" and kernel is not None:
        return kernel
    if not info.arrays[0]:
        raise PlanError(f"this kernel does not give out the types of BTF object {id}")
    return parse_btf(info.arrays[0], base=kernel)


def ask_xlated(session: Session, asked: Asked) -> dump.Xlated:
    """The instructions of a program after verification. PlanError when the kernel does not show them."""
    info = _arrays(session, asked, arrays=(_XLATED, _MAP_IDS, _KSYMS, _LINES))
    code, map_ids, ksyms, lines = info.arrays
    order = _order(session)
    if not code:
        raise PlanError(
            "this kernel does not show the instructions of programs",
            hint="It takes CAP_PERFMON or CAP_SYS_ADMIN, and net.core.bpf_jit_harden=0 or CAP_BPF.",
        )
    names = dump.xlated_names(
        helpers=HELPERS,
        symbols=_symbols(session),
        maps=_map_names(session, _u32s(map_ids, order=order)),
        ksyms=_u64s(ksyms, order=order),
    )
    insns = unpack_insns(code, byteorder=session.target.described.byteorder)
    return dump.list_xlated(insns, names=names, lines=_source_lines(session, info, lines=lines))


def ask_jited(session: Session, asked: Asked) -> dump.Jited:
    """The machine code of a program, by function."""
    info = _arrays(session, asked, arrays=(_JITED, _KSYMS, _FUNC_LENS, _LINES, _JITED_LINES))
    code, ksyms, lengths, lines, jited_lines = info.arrays
    if not code:
        return dump.Jited(())
    order = _order(session)
    sizes = _u32s(lengths, order=order) or (len(code),)
    addresses = _u64s(ksyms, order=order) or (0,) * len(sizes)
    symbols = _symbols(session) if any(addresses) else dump.Symbols("")
    places = _u64s(jited_lines, order=order)
    sources = list(zip(places, _source_lines(session, info, lines=lines), strict=False))
    functions, start = [], 0
    for address, size in zip(addresses, sizes, strict=False):
        own = tuple(dump.JitedLine(at - address, source) for at, source in sources if address <= at < address + size)
        functions.append(dump.JitedFunction(symbols.at(address), address, code[start : start + size], own))
        start += size
    return dump.Jited(tuple(functions))


def _arrays(session: Session, asked: Asked, *, arrays: tuple[InfoArray, ...]) -> Info:
    (answer,) = _ask(session, "prog", asked=asked, ops=lambda obj: [InfoArrays(obj, arrays)])
    return check(answer, Info)


def _source_lines(session: Session, info: Info, *, lines: bytes) -> tuple[SourceLine, ...]:
    if len(info.data) < _LINE_SIZE + 4 or not lines:
        return ()
    word = f"{_order(session)}I"
    (btf_id,), (size,) = unpack_from(word, info.data, _BTF_ID), unpack_from(word, info.data, _LINE_SIZE)
    return dump.read_source_lines(lines, record_size=size, btf=ask_btf(session, btf_id)) if btf_id else ()


def _map_names(session: Session, ids: tuple[int, ...]) -> dict[int, str]:
    """Names by id. The kernel keeps 15 characters: maps that share them go by their ids."""
    infos = ask_infos(session, "map", ids=ids) if ids else []
    names = Counter(info.name for info in infos if isinstance(info, MapInfo))
    return {info.id: info.name for info in infos if isinstance(info, MapInfo) and names[info.name] == 1}


def _symbols(session: Session) -> dump.Symbols:
    return dump.Symbols(read_kallsyms(session))


def ask_function_name(session: Session, asked: Asked) -> str:
    """The name of a program's function in its BTF, "" when it has none: the kernel keeps 15 characters of a name."""
    info = _arrays(session, asked, arrays=(_FUNCS,))
    (records,) = info.arrays
    order = _order(session)
    (btf_id,) = unpack_from(f"{order}I", info.data, _BTF_ID) if len(info.data) >= _BTF_ID + 4 else (0,)
    if len(records) < 8 or not btf_id:
        return ""
    _, type_id = unpack_from(f"{order}II", records)  # the program itself comes first
    return ask_btf(session, btf_id).name(type_id)


def program_name(session: Session, number: int) -> str:
    """Up to 15 characters of a program's name, "?" if it does not exist any more."""
    results = session.run([Try(ObjById("prog", number)), Try(InfoByFd(Ref(0)))])
    if isinstance(results[0], Made) and isinstance(results[1], Info):
        return results[1].data[_NAME].partition(b"\0")[0].decode(errors="replace")
    return "?"
