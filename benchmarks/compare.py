"""One object under libbpf and under us: the same verdict per program, and the same walk of the verifier?"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from ours import Ours, Verdict
from peer import Peer, PeerError
from stages import stage_in_words
from weaken import weaken

__all__ = ["ONLY_LIBBPF", "ONLY_WE", "Comparison", "Program", "compare", "find_objects", "share"]

ONLY_LIBBPF, ONLY_WE = "only libbpf loads it", "only we load it"

_ENDINGS = (".o", ".elf")
_EI_DATA = {"little": b"\1", "big": b"\2"}


@dataclass(frozen=True, slots=True)
class Program:
    """A program under both loaders. ``same``: "loaded" or "refused" (at the same stage) when they agree, else "" and
    ``difference``.
    ``theirs``: as libbpf_load printed it."""

    project: str
    file: str
    section: str
    name: str
    same: str
    difference: str
    theirs: dict[str, Any]
    ours: Verdict


@dataclass(frozen=True, slots=True)
class Comparison:
    """An object. ``apart``: why libbpf does not even open it: then there is nothing to compare with. ``cut``: one of
    the two did not come to an end with it: the guest was lost, or the time was up."""

    project: str
    ours: Ours
    programs: tuple[Program, ...] = ()
    apart: str = ""
    cut: bool = False


def find_objects(folder: Path) -> list[Path]:
    """Object files below a folder, in a fixed order."""
    return sorted(path for path in folder.rglob("*") if path.suffix in _ENDINGS and path.is_file())


def share(paths: Sequence[Path], *, below: Path, most: int = 0) -> Iterator[tuple[str, list[Path]]]:
    """(project, its objects), ``most`` of each at even distances, 0 for all. The folder below ``below`` is a project's
    name."""
    for project, found in groupby(paths, key=lambda path: path.relative_to(below).parts[0]):
        group = list(found)
        step = max(1.0, len(group) / most) if most else 1.0
        yield project, [group[int(number * step)] for number in range(int(len(group) / step))]


def compare(ours: Ours, *, project: str, libbpf: Peer, alone: Callable[[str], Ours]) -> Comparison:
    """Load the same file with libbpf, and put both answers side by side. ``alone``: our load of one program: what
    libbpf alone loads may have been refused for a neighbour's sake (a program array belongs to its first user)."""
    if ours.path.read_bytes()[5:6] != _EI_DATA[sys.byteorder]:
        return Comparison(project, ours, apart="of the other byte order")
    try:
        theirs = _verdicts(ours, libbpf)
    except PeerError as error:
        return Comparison(project, ours, apart=f"libbpf_load did not survive it ({error})", cut=True)
    if theirs["open_errno"]:
        said = theirs["warnings"].strip().rpartition("\n")[2]
        return Comparison(project, ours, apart=said or f"errno {theirs['open_errno']}")
    verdicts = {_place(verdict): verdict for verdict in ours.programs}
    programs = []
    for program in theirs["programs"]:
        section, name = program["section"], program["name"]
        verdict = verdicts.get((section, name)) or _absent(ours, section=section, name=name)
        same, difference = _judge(program, verdict)
        if difference == ONLY_LIBBPF:
            again = {_place(one): one for one in alone(name).programs}
            verdict = again.get((section, name), verdict)
            same, difference = _judge(program, verdict)
        programs.append(Program(project, ours.path.name, section, name, same, difference, program, verdict))
    return Comparison(project, ours, _weakened(programs, ours, libbpf))


def _weakened(programs: list[Program], ours: Ours, libbpf: Peer) -> tuple[Program, ...]:
    """libbpf refuses all programs of an object for a kernel symbol that one of them lacks. Those that we load, or that
    come further with us, are put to it once more, in a copy of the object that does without the symbol."""
    hindered = [i for i, program in enumerate(programs) if not program.same and _lacks_symbol(program)]
    if hindered:
        with tempfile.TemporaryDirectory(dir=libbpf.program.parent) as folder:  # guests see that place too
            copy = Path(folder, ours.path.name)
            copy.write_bytes(weaken(ours.path.read_bytes()))
            theirs = _verdicts(replace(ours, path=copy), libbpf)["programs"]
        for index in hindered if len(theirs) == len(programs) else ():
            same, difference = _judge(theirs[index], programs[index].ours)
            answer = theirs[index] | {"weakened": True}
            programs[index] = replace(programs[index], same=same, difference=difference, theirs=answer)
    return tuple(programs)


def _lacks_symbol(program: Program) -> bool:
    return not program.theirs["loaded"] and "extern" in program.theirs["warnings"]


def _verdicts(ours: Ours, libbpf: Peer) -> dict[str, Any]:
    """libbpf's answer; where it has no program type for a section that we know, it is told the type and asked again."""
    theirs = libbpf.verdicts(ours.path)
    types = {_place(verdict): verdict.type for verdict in ours.programs}
    hints = {}
    for index, program in enumerate(theirs["programs"]):
        type_ = types.get((program["section"], program["name"]))
        if program["type"] == 0 and type_:
            hints[index] = "{}:{}:{}".format(index, *type_)
    if hints:
        theirs = libbpf.verdicts(ours.path, hints=tuple(hints.values()))
    for index, program in enumerate(theirs["programs"]):
        program["told"] = index in hints
    return theirs


def _absent(ours: Ours, *, section: str, name: str) -> Verdict:
    if ours.internal:
        return Verdict(name, section, "internal", words=ours.internal)
    return Verdict(name, section, "refused", words=ours.error or "we do not see this program")


def _judge(theirs: dict[str, Any], ours: Verdict) -> tuple[str, str]:
    """(what both say, "") or ("", how they differ)."""
    loaded = ours.outcome == "loaded"
    if ours.outcome == "internal":
        return "", "an error of ours"
    if theirs["loaded"] != loaded:
        return "", ONLY_WE if loaded else ONLY_LIBBPF
    if theirs["walked"] != ours.walked and (loaded or min(theirs["walked"], ours.walked) >= 0):
        return "", f"libbpf's walk is {theirs['walked']} instructions, ours {ours.walked}"
    if not loaded and (stage := stage_in_words(theirs)) != ours.stage:
        return "", f"both refuse it, libbpf at the stage {stage}, we at the stage {ours.stage}"
    return ("loaded" if loaded else "refused"), ""


def _place(verdict: Verdict) -> tuple[str, str]:
    """libbpf tells sections without the "?" that switches them off."""
    return verdict.section.removeprefix("?"), verdict.name
