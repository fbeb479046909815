"""Programs and maps of an object that could not be read, and the errors of loads that need them."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_ebpf.errors import ObjectError
from pytest_ebpf.obj.object import ObjectFile, Problem
from pytest_ebpf.plan.options import LoadOptions

__all__ = ["check_lost", "lost_names", "why_lost"]


def check_lost(obj: ObjectFile, options: LoadOptions) -> None:
    """ObjectError for a program that cannot be read, unless ``options`` leave it out; and for such a map, unless they
    name other programs (``only``) that do not use it."""
    lost = [problem for problem in obj.problems if problem.costs and _is_wanted(problem, obj, options=options)]
    if not lost:
        return
    first = lost[0]
    more = f" (and {len(lost) - 1} more: {', '.join(p.symbol or p.section for p in lost[1:])})" if lost[1:] else ""
    raise ObjectError(
        f"{first.symbol + ': ' if first.symbol else ''}{first.message}{more}",
        path=obj.name,
        section=first.section,
        hint=_hint(first, others=bool(obj.programs)),
    )


def _is_wanted(problem: Problem, obj: ObjectFile, *, options: LoadOptions) -> bool:
    if problem.costs == "map":
        return not options.only or _is_used(problem.symbol, obj, programs=options.only)
    if options.only:
        return problem.symbol in options.only
    override = options.programs.get(problem.symbol)
    if override is not None and override.autoload is not None:
        return override.autoload
    return not problem.section.startswith("?")


def _is_used(name: str, obj: ObjectFile, *, programs: Iterable[str]) -> bool:
    wanted = frozenset(programs)
    functions = (*(program for program in obj.programs if program.name in wanted), *obj.text)
    return any(reloc.kind == "map" and reloc.symbol == name for function in functions for reloc in function.relocs)


def _hint(problem: Problem, *, others: bool) -> str:
    if problem.costs != "program" or not problem.symbol or not others:
        return problem.hint
    return f"{problem.hint}\nTo load the others without it: programs={{{problem.symbol!r}: False}}.".strip()


def lost_names(obj: ObjectFile) -> list[str]:
    """Names of the programs that could not be read."""
    return [problem.symbol for problem in obj.problems if problem.costs == "program" and problem.symbol]


def why_lost(obj: ObjectFile, costs: str) -> dict[str, str]:
    """Name -> why the program or map could not be read. ``costs``: "program" or "map"."""
    return {problem.symbol: problem.message for problem in obj.problems if problem.costs == costs and problem.symbol}
