"""Programs whose type or target differs from their section."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pytest_ebpf.errors import ObjectError
from pytest_ebpf.obj.object import ObjectFile, ProgramDef
from pytest_ebpf.obj.sections import SectionSpec, nearest_section, parse_section, spec_of_type
from pytest_ebpf.plan.lost import lost_names
from pytest_ebpf.plan.map_definitions import nearest
from pytest_ebpf.plan.options import ProgramOverride
from pytest_ebpf.uapi.enums import ProgType

__all__ = ["override_programs"]


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
