"""Verdicts of objects over kernels: gathering them, and what a test asserts about them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pytest_ebpf.errors import BpfUsageError, EbpfError, GuestLost
from pytest_ebpf.frozen import dataclass, field, replace
from pytest_ebpf.live.load_cache import LoadCache
from pytest_ebpf.live.session import Target
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.obj.static_names import meanings
from pytest_ebpf.report.verdicts import render_table, render_why
from pytest_ebpf.suggest import close_names, did_you_mean
from pytest_ebpf.verifier.compare.budget import parse_share
from pytest_ebpf.verify.verdict import TARGET_MISSING, ProgramVerdict, Wanted, verify_object

_NO_MEMORY = re.compile(r"Out of memory|oom-kill|invoked oom-killer|Kernel panic .*deadlocked on memory")

__all__ = ["Kernels", "Verdicts", "check_globals", "check_names", "gather", "permutations"]


def permutations(values: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination: {"a": [1, 2], "b": [0]} -> [{"a": 1, "b": 0}, {"a": 2, "b": 0}]; nothing -> [{}]."""
    return [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]


def check_globals(values: Iterable[str], objects: Sequence[ObjectFile], *, what: str) -> None:
    """``BpfUsageError`` for a variable that none of the objects has; ``what`` is how it was given."""
    names = sorted({variable.name for obj in objects for section in obj.data for variable in section.variables})
    for name in values:
        if name not in names:
            if which := meanings(name, names):
                raise BpfUsageError(f"{what}: {which}")
            close = close_names(name, names, most=1)
            near = f"Did you mean {close[0]!r}? " if close else ""
            there = f"There are: {', '.join(names)}." if names else "There is none."
            raise BpfUsageError(f"{what}: no object has a variable {name!r}", hint=near + there)


def check_names(given: Iterable[str], objects: Sequence[ObjectFile], *, kind: str) -> None:
    """``BpfUsageError`` for a "map" or "program" that none of the objects has."""
    names = sorted({name for obj in objects for name in _names_of(obj, kind)})
    for name in given:
        if name not in names:
            hint = did_you_mean(name, names, otherwise=f"There are: {', '.join(names) or 'none'}.")
            raise BpfUsageError(f"{kind}s=: no object has a {kind} {name!r}", hint=hint)


def _names_of(obj: ObjectFile, kind: str) -> set[str]:
    if kind == "program":
        return {program.name for program in obj.programs}
    return {one.name for one in obj.maps} | {section.name for section in obj.data}


class Verdicts:
    """What kernels say about programs. Prints as a table with the reasons; the assertions give it back, so that they
    chain: ``verdicts.accepted_on("6.1").growth("10%")``. Iterates over ``ProgramVerdict``."""

    def __init__(self, found: Sequence[ProgramVerdict], *, kernels: Sequence[str]) -> None:
        self.programs = tuple(found)
        self.kernels = tuple(kernels)

    def __iter__(self) -> Iterator[ProgramVerdict]:
        return iter(self.programs)

    def __len__(self) -> int:
        return len(self.programs)

    def __str__(self) -> str:
        return self.table

    def __repr__(self) -> str:
        return f"<Verdicts: {len(self)} on {', '.join(self.kernels)}>"

    @property
    def table(self) -> str:
        """Programs by kernels, and why the refused ones are refused."""
        rows = [verdict.row() for verdict in self]
        lines = [*render_table(rows, kernels=self.kernels), *render_why(rows, kernels=self.oldest_first)]
        return "\n".join("".join(text for text, _ in line) for line in lines).rstrip()

    @property
    def oldest_first(self) -> tuple[str, ...]:
        """The kernels by release, so that "the first that rejects" is the oldest."""
        releases = {verdict.kernel: _numbers(verdict.release) for verdict in self}
        return tuple(sorted(self.kernels, key=lambda kernel: releases.get(kernel, ())))

    def on(self, kernel: str) -> Verdicts:
        """Those of one kernel. ``BpfUsageError`` when it was not asked."""
        self._known(kernel, self.kernels, what="kernel")
        return Verdicts([verdict for verdict in self if verdict.kernel == kernel], kernels=(kernel,))

    def of(self, program: str) -> Verdicts:
        """Those of one program. ``BpfUsageError`` when no object has it."""
        self._known(program, [verdict.program for verdict in self], what="program")
        return Verdicts([verdict for verdict in self if verdict.program == program], kernels=self.kernels)

    def accepted_on(self, *kernels: str) -> Verdicts:
        """Assert that every program is accepted on these kernels; on all without arguments."""
        return self._all_are("accepted", kernels)

    def rejected_on(self, *kernels: str, cls: str = "") -> Verdicts:
        """Assert that every program is rejected on these kernels (all without arguments), for an error of class
        ``cls`` where it is given."""
        self._all_are("rejected", kernels)
        wrong = [v for v in self if cls and v.kernel in (kernels or self.kernels) and v.class_id != cls]
        if wrong:
            raise AssertionError(self._complaint(f"expected class {cls!r}", wrong))
        return self

    def same_verdict(self) -> Verdicts:
        """Assert that no program is accepted on one kernel and refused on another."""
        seen: dict[tuple[str, str], set[str]] = {}
        for verdict in self:
            seen.setdefault((verdict.object, verdict.label), set()).add(verdict.verdict)
        wrong = [v for v in self if len(seen[v.object, v.label]) > 1 and not v.accepted]
        if wrong:
            raise AssertionError(self._complaint("the kernels do not agree", wrong))
        return self

    def growth(self, most: str, *, base: str = "") -> Verdicts:
        """Assert that no kernel walks more than ``most`` ("10%") above the instructions walked on ``base``, for each
        program that both accept. ``base``: a kernel; default the oldest that accepts the program."""
        share = parse_share(most, name="growth")
        if base:
            self._known(base, self.kernels, what="kernel")
        for first, other in self._pairs(base):
            assert first.insns is not None
            assert other.insns is not None
            if other.insns > first.insns * (1 + share):
                more = (other.insns - first.insns) / max(first.insns, 1)
                raise AssertionError(
                    f"{other.label}: {other.insns} insns on {other.kernel}, {more:.1%} more than the {first.insns} on "
                    f"{first.kernel} (at most {most})\n\n{self.table}"
                )
        return self

    def _pairs(self, base: str) -> Iterator[tuple[ProgramVerdict, ProgramVerdict]]:
        programs: dict[tuple[str, str], dict[str, ProgramVerdict]] = {}
        for verdict in self:
            if verdict.accepted and verdict.insns is not None:
                programs.setdefault((verdict.object, verdict.label), {})[verdict.kernel] = verdict
        for found in programs.values():
            start = base or next(kernel for kernel in self.oldest_first if kernel in found)
            if start in found:
                yield from ((found[start], other) for kernel, other in found.items() if kernel != start)

    def _all_are(self, verdict: str, kernels: Sequence[str]) -> Verdicts:
        for kernel in kernels:
            self._known(kernel, self.kernels, what="kernel")
        asked = [found for found in self if found.kernel in (kernels or self.kernels)]
        if not asked:
            raise AssertionError(f"no program was verified on {', '.join(kernels or self.kernels)}")
        wrong = [found for found in asked if found.verdict != verdict]
        if wrong:
            raise AssertionError(self._complaint(f"expected {verdict}", wrong))
        return self

    def _complaint(self, what: str, wrong: Sequence[ProgramVerdict]) -> str:
        first = wrong[0]
        why = f": {first.message}" if first.message else ""
        at = f", at {first.source_line}" if first.source_line else ""
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        return f"{what}: {first.label} is {first.verdict} on {first.kernel}{why}{at}{more}\n\n{self.table}"

    def _known(self, name: str, names: Sequence[str], *, what: str) -> None:
        if name not in names:
            close = close_names(name, names, most=1)
            near = f"Did you mean {close[0]!r}? " if close else ""
            raise BpfUsageError(f"no {what} {name!r} here", hint=f"{near}There are: {', '.join(dict.fromkeys(names))}.")


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", release.partition("-")[0]))


@dataclass(frozen=True, slots=True)
class Kernels:
    """Where to verify: ``start`` gives the running kernel of an id (booted if need be, anew after a loss), ``done`` is
    told when a kernel is not needed any more, ``say`` what is being done."""

    ids: tuple[str, ...]
    start: Callable[[str], Target]
    done: Callable[[str], None] = field(default=lambda kernel: None)
    say: Callable[[str], None] = field(default=lambda text: None)


def gather(
    objects: Sequence[ObjectFile],
    kernels: Kernels,
    *,
    cache: LoadCache,
    globals: Sequence[Mapping[str, Any]] = ({},),
    wanted: Wanted | None = None,
) -> Verdicts:
    """Every program of ``objects`` on every kernel, with each of ``globals`` (an object gets the variables it has, and
    of ``wanted`` the maps and programs).

    A guest that dies makes the programs of the object it died of errors, and the next object gets a fresh one.
    ``ImageError`` and ``BootFailed`` when a kernel cannot be had.
    """
    found: list[ProgramVerdict] = []
    for kernel in kernels.ids:
        kernels.start(kernel)
        for number, obj in enumerate(objects, 1):
            kernels.say(f"{kernel}: {obj.name.rpartition('/')[2]} ({number} of {len(objects)})")
            for config in _configs(obj, globals, wanted=wanted or Wanted()):
                found += _verify(obj, kernel, kernels=kernels, cache=cache, wanted=config)
        kernels.done(kernel)
    return Verdicts(_settled(found), kernels=kernels.ids)


def _settled(found: Sequence[ProgramVerdict]) -> list[ProgramVerdict]:
    """The attach targets that a kernel lacks are missing features when another kernel of the run has them, else errors
    of the object."""
    present = {(v.object, v.program) for v in found if v.kind != TARGET_MISSING}
    kinds = {True: "feature-missing", False: "object"}
    return [replace(v, kind=kinds[(v.object, v.program) in present]) if v.kind == TARGET_MISSING else v for v in found]


def _configs(obj: ObjectFile, globals: Sequence[Mapping[str, Any]], *, wanted: Wanted) -> list[Wanted]:
    names = {variable.name for section in obj.data for variable in section.variables}
    maps, programs = _names_of(obj, "map"), _names_of(obj, "program")
    own = replace(
        wanted,
        maps={name: asked for name, asked in wanted.maps.items() if name in maps},
        programs={name: asked for name, asked in wanted.programs.items() if name in programs},
    )
    configs: list[Wanted] = []
    for values in globals:
        config = replace(own, globals={name: value for name, value in values.items() if name in names})
        if config not in configs:
            configs.append(config)
    return configs


def _verify(
    obj: ObjectFile, kernel: str, *, kernels: Kernels, cache: LoadCache, wanted: Wanted
) -> tuple[ProgramVerdict, ...]:
    target = kernels.start(kernel)
    try:
        return verify_object(obj, target, kernel=kernel, cache=cache, wanted=wanted)
    except GuestLost as error:
        out_of_memory = _NO_MEMORY.search(f"{error.message}\n{error.console}")
        kind = "environment" if out_of_memory else "kernel-bug"
        message = f"guest lost: {error.message}" + (" (it ran out of memory)" if out_of_memory else "")
    except EbpfError:
        raise
    except Exception as error:  # one object must not end the run for the others
        kind, message = "", f"internal error of pytest-ebpf, please report it: {type(error).__name__}: {error}"
    return tuple(
        ProgramVerdict(
            object=obj.name,
            program=program.name,
            section=program.section,
            kernel=kernel,
            release=target.described.release,
            verdict="error",
            kind=kind,
            message=message,
            config=tuple(wanted.globals.items()),
        )
        for program in obj.programs
    )
