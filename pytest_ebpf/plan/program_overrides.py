"""Programs whose type or target differs from their section."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pytest_ebpf.errors import ObjectError
from pytest_ebpf.frozen import replace
from pytest_ebpf.obj.object import ObjectFile, Problem, ProgramDef
from pytest_ebpf.obj.sections import SectionSpec, nearest_section, parse_section, spec_of_type
from pytest_ebpf.plan.map_definitions import nearest
from pytest_ebpf.plan.options import LoadOptions, ProgramOverride
from pytest_ebpf.uapi.enums import ProgType

__all__ = ["check_lost", "lost_names", "override_programs", "why_lost"]


def override_programs(obj: ObjectFile, overrides: Mapping[str, ProgramOverride]) -> ObjectFile:
    """``obj`` with the programs changed. ObjectError for a program or section that does not exist."""
    if not overrides:
        return obj
    names = [program.name for program in obj.programs] + lost_names(obj)
    for name in overrides:
        if name not in names:
            raise ObjectError(f"no program {name!r} to change", path=obj.name, hint=nearest(name, names))
    changed = tuple(
        _override(program, overrides[program.name], path=obj.name) if program.name in overrides else program
        for program in obj.programs
    )
    return replace(obj, programs=changed)


def _override(program: ProgramDef, override: ProgramOverride, *, path: str) -> ProgramDef:
    spec = program.spec
    if override.section:
        spec = parse_section(override.section)
        if spec is None:
            near = nearest_section(override.section)
            hint = f"did you mean {near!r}?" if near else "a section names the program type: 'xdp', 'kprobe/do_exit'"
            raise ObjectError(f"{program.name}: no section {override.section!r} is known", path=path, hint=hint)
    spec = _typed(program, spec, override=override)
    if override.device is not None and (spec is None or spec.prog_type != ProgType.XDP):
        raise ObjectError(f"{program.name}: only XDP programs are loaded for one interface", path=path)
    if spec is None:
        return program
    for name in ("target", "autoload", "sleepable", "frags"):
        value = getattr(override, name)
        if value is not None:
            spec = replace(spec, **{name: value})
    return replace(program, spec=spec)


def _typed(program: ProgramDef, spec: SectionSpec | None, *, override: ProgramOverride) -> SectionSpec | None:
    """The spec with another type or attach type, which decide whether it needs a BTF target."""
    prog_type, attach_type = override.type, override.attach_type
    if override.program is not None and prog_type is None and (spec is None or spec.prog_type != ProgType.TRACING):
        prog_type = ProgType.EXT
    if prog_type is None and attach_type is None:
        return spec
    if prog_type is None:
        prog_type = spec.prog_type if spec is not None else 0
    fresh = spec_of_type(program.section, prog_type=prog_type, attach_type=attach_type)
    if spec is None:
        return fresh
    return replace(fresh, target=spec.target, sleepable=spec.sleepable, frags=spec.frags, autoload=spec.autoload)


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
