"""Static variables of one name: several files may each have one, and an object that was linked has them all.

Each gets a name of its own, so that a test says which it means: "a.bpf.o:limit" among objects that are linked here, and
"limit#1", "limit#2" in the order of their places in an object that another linker made, which has no file names. A
variable that is not static keeps its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pytest_ebpf.frozen import replace
from pytest_ebpf.obj.object import DataSection, ObjectFile, Variable

__all__ = ["meanings", "number_statics", "statics_by_file"]


def number_statics(sections: Sequence[DataSection]) -> tuple[DataSection, ...]:
    """``sections`` of one object, with numbers behind the names that several static variables have."""
    names = [variable.name for section in sections for variable in section.variables]
    if len(set(names)) == len(names):
        return tuple(sections)
    numbers: dict[str, int] = {}

    def named(variable: Variable) -> Variable:
        if variable.is_global or names.count(variable.name) == 1:
            return variable
        number = numbers[variable.name] = numbers.get(variable.name, 0) + 1
        return replace(variable, name=f"{variable.name}#{number}", var_name=variable.var_name or variable.name)

    return tuple(replace(section, variables=tuple(map(named, section.variables))) for section in sections)


def statics_by_file(objects: Sequence[ObjectFile]) -> list[ObjectFile]:
    """``objects`` that are to be linked, with the name of the file before the names that others have, too."""
    count: dict[str, int] = {}
    for obj in objects:
        for name in {variable.name for section in obj.data for variable in section.variables}:
            count[name] = count.get(name, 0) + 1
    short = [obj.name.rpartition("/")[2] for obj in objects]
    files = [file if short.count(file) == 1 else obj.name for file, obj in zip(short, objects, strict=True)]
    return [_by_file(obj, file, count=count) for obj, file in zip(objects, files, strict=True)]


def _by_file(obj: ObjectFile, file: str, *, count: dict[str, int]) -> ObjectFile:
    def named(variable: Variable) -> Variable:
        is_shared = not variable.is_global and count[variable.name] > 1
        if not is_shared:
            return variable
        return replace(variable, name=f"{file}:{variable.name}", var_name=variable.var_name or variable.name)

    data = tuple(replace(section, variables=tuple(map(named, section.variables))) for section in obj.data)
    return replace(obj, data=data)


def meanings(name: str, names: Iterable[str]) -> str:
    """What an ambiguous ``name`` can mean among the ``names`` that there are, in words; "" when it is not ambiguous."""
    found = [other for other in names if other.rpartition(":")[2].partition("#")[0] == name and other != name]
    if not found:
        return ""
    return f"{name!r} is the name of {len(found)} static variables: write one of {', '.join(map(repr, found))}"
