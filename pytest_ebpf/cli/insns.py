"""The instructions of an object's functions, for ``pytest-ebpf inspect --insns``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_ebpf.obj.object import ObjectFile, ProgramDef
    from pytest_ebpf.obj.summary import Summary

__all__ = ["add_insns", "listing_text"]


def add_insns(obj: ObjectFile, summary: Summary) -> Summary:
    """``summary`` with a ``listing`` for every function: rows of slot, text, file, line, source and note."""
    programs = zip(obj.programs, summary["programs"], strict=True)
    subprograms = zip(obj.text, summary["subprograms"], strict=True)
    return summary | {
        "programs": [row | {"listing": _listing(obj, function)} for function, row in programs],
        "subprograms": [row | {"listing": _listing(obj, function)} for function, row in subprograms],
    }


def _listing(obj: ObjectFile, function: ProgramDef) -> list[Summary]:
    from pytest_ebpf.features.helper_table import HELPERS
    from pytest_ebpf.obj.listing import list_function

    listed = list_function(obj, function, helpers=HELPERS, notes=_core_notes(obj, function))
    return [
        {
            "slot": one.slot,
            "text": one.text,
            "file": one.source.file if one.source else "",
            "line": one.source.line if one.source else 0,
            "source": one.source.text if one.source else "",
            "note": one.note,
        }
        for one in listed
    ]


def _core_notes(obj: ObjectFile, function: ProgramDef) -> dict[int, str]:
    """What each CO-RE relocation asks of the kernel's types."""
    from pytest_ebpf.errors import EbpfError
    from pytest_ebpf.plan.core_spec import parse_spec

    notes = {}
    for reloc in function.core:
        try:
            assert obj.btf is not None
            spec = str(parse_spec(obj.btf, reloc.type_id, access=reloc.access, kind=reloc.kind))
        except (EbpfError, ValueError, IndexError):
            spec = f"type {reloc.type_id}, access {reloc.access!r}"
        notes[reloc.insn] = f"CO-RE {_kind_name(reloc.kind)}: {spec}"
    return notes


def _kind_name(kind: int) -> str:
    from pytest_ebpf.uapi.btf import CoreReloKind

    known = CoreReloKind._value2member_map_.get(kind)
    return known.name.lower() if known is not None else f"kind {kind}"


def listing_text(row: Summary) -> str:
    """The listing of one function as text, its name above."""
    from pytest_ebpf.obj.listing import Listed, SourceLine, render_listing

    listed = [
        Listed(
            one["slot"],
            one["text"],
            SourceLine(one["slot"], one["file"], one["line"], one["source"]) if one["source"] else None,
            one["note"],
        )
        for one in row["listing"]
    ]
    return f"{row['name']} ({row['section']}):\n{render_listing(listed)}\n"
