"""What ``inspect`` says beyond the object itself: the first kernel that should take a program, what its tags expect."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pytest_ebpf.obj.object import MapDef, ObjectFile, ProgramDef
    from pytest_ebpf.obj.summary import Summary

__all__ = ["Need", "add_outlook", "first_kernel"]

_CALL = 0x85
_HELPER, _KFUNC = 0, 2  # source register of a call
_SHOWN = 3


class Need(NamedTuple):
    """Something that a program uses, and the first release that has it."""

    release: str
    what: str

    @property
    def order(self) -> tuple[int, ...]:
        return tuple(map(int, self.release.split(".")))


def add_outlook(obj: ObjectFile, summary: Summary) -> Summary:
    """``summary`` with ``first_kernel``, ``needs`` and ``expects`` for every program."""
    expected = _expectations(obj)
    rows = []
    for program, row in zip(obj.programs, summary["programs"], strict=True):
        needs = first_kernel(obj, program)
        release = needs[0].release if needs else ""
        rows.append(
            row
            | {
                "first_kernel": release,
                "needs": [need.what for need in needs if need.release == release],
                "expects": expected.get(program.name, []),
            }
        )
    return summary | {"programs": rows}


def first_kernel(obj: ObjectFile, program: ProgramDef) -> list[Need]:
    """What the program uses whose first release is documented, newest first. The first entry names the oldest kernel
    that should take it (on x86-64, with everything configured in): a lower bound, not a proof."""
    return sorted(sorted(set(_needs(obj, program))), key=lambda need: need.order, reverse=True)


def _needs(obj: ObjectFile, program: ProgramDef) -> Iterator[Need]:
    from pytest_ebpf.features.history import KFUNCS
    from pytest_ebpf.features.section_releases import SECTION_RELEASES

    prefix = program.spec.prefix if program.spec is not None else ""
    if prefix in SECTION_RELEASES:
        yield Need(SECTION_RELEASES[prefix], f'SEC("{prefix}")')
    used = {reloc.symbol for reloc in program.relocs if reloc.kind in ("map", "kfunc")}
    for map_ in obj.maps:
        if map_.name in used:
            yield from _map_needs(map_)
    for name in used & set(KFUNCS):
        yield Need(KFUNCS[name][0], f"kfunc {name}")
    if any(reloc.kind == "data" for reloc in program.relocs):
        yield Need("5.2", "global data")
    yield from _helper_needs(obj, program)


def _map_needs(map_: MapDef) -> Iterator[Need]:
    from pytest_ebpf.features.history import FLAGS, MAPS
    from pytest_ebpf.obj.sections import map_flag_names, map_type_name

    kind = map_type_name(map_.type).lower()
    if kind in MAPS:
        yield Need(MAPS[kind][0], f"map type {kind}")
    for flag in map_flag_names(map_.flags):
        if flag.lower() in FLAGS:
            yield Need(FLAGS[flag.lower()][0], f"map flag {flag}")


def _helper_needs(obj: ObjectFile, program: ProgramDef) -> Iterator[Need]:
    """Of the helpers that it calls, and the subprograms of its object: which of them it reaches is not looked at."""
    from pytest_ebpf.helper_history import HELPER_HISTORY
    from pytest_ebpf.obj.insn import unpack_insns

    names = tuple(HELPER_HISTORY)
    functions = (program, *(obj.text if any(reloc.kind in ("call", "func") for reloc in program.relocs) else ()))
    for function in functions:
        for insn in unpack_insns(function.insns, byteorder=obj.byteorder):
            if insn.code == _CALL and insn.src == _HELPER and 0 < insn.imm <= len(names):
                name = names[insn.imm - 1]
                yield Need(HELPER_HISTORY[name][0], f"helper {name}")


def _expectations(obj: ObjectFile) -> dict[str, list[str]]:
    """Program -> what its test tags ask for, in a few words each."""
    from pytest_ebpf.obj.decl_tags import function_tags
    from pytest_ebpf.verifier.tags.spec import Expectation, make_spec
    from pytest_ebpf.verifier.tags.tags import is_test_tag

    def words(way: str, one: Expectation | None) -> Iterator[str]:
        if one is None:
            return
        yield f"{way}{'is rejected' if one.rejected else 'loads'}"
        yield from (
            f"{way}{'no ' if wanted.absent else ''}message {wanted.pattern!r}" for wanted in one.messages[:_SHOWN]
        )
        if one.retval is not None:
            yield f"{way}returns {one.retval}"

    tags = {type_id: [text for text in texts if is_test_tag(text)] for type_id, texts in function_tags(obj).items()}
    found = {}
    for program in obj.programs:
        if tags.get(program.btf_id):
            spec = make_spec(program.name, tags[program.btf_id])
            found[program.name] = [*words("", spec.priv), *words("unprivileged: ", spec.unpriv), *spec.problems]
    return found
