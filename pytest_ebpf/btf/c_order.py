"""The order of declarations in a C header: a type after those it contains, a name before its first use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pytest_ebpf.btf.c_names import CNames, float_spelling, int_spelling
from pytest_ebpf.btf.layout import MAX_DEPTH
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import Array, Enum, Float, Func, FuncProto, Fwd, Int, Modifier, Ptr, Struct, Typedef, Var
from pytest_ebpf.errors import ObjectError

__all__ = ["Step", "needs_alias", "order"]


class Step(NamedTuple):
    """Declare type ``id``: in full, or (structs and unions) by ``struct name;`` alone."""

    id: int
    complete: bool


def order(btf: Btf, roots: Iterable[int], *, names: CNames) -> list[Step]:
    """The steps that end with every type of ``roots`` declared in full. ObjectError when types contain each other."""
    return list(_Walk(btf, names).steps(roots))


def needs_alias(found: Int | Float) -> bool:
    """Whether a number type needs a typedef, as its name is not a C type: ``u8`` of Rust, ``long double`` on BPF."""
    if isinstance(found, Float):
        return not float_spelling(found)
    return int_spelling(found) != found.name


class _Walk:
    """A depth-first walk with its own stack: the file decides how deep the types nest."""

    def __init__(self, btf: Btf, names: CNames) -> None:
        self._btf = btf
        self._names = names
        self._done: set[Step] = set()
        self._open: set[Step] = set()

    def steps(self, roots: Iterable[int]) -> Iterator[Step]:
        for root in roots:
            yield from self._visit(Step(root, True))

    def _visit(self, first: Step) -> Iterator[Step]:
        stack = [(first, iter([first]))]
        while stack:
            parent, waiting = stack[-1]
            step = next(waiting, None)
            if step is None:
                stack.pop()
                if stack and self._finish(parent):
                    yield parent
            elif self._finished(step):
                continue
            elif not step.complete:
                self._done.add(step)
                yield step
            else:
                if step in self._open:
                    raise ObjectError(f"{self._btf.name(step.id)!r} cannot be written in C: it contains itself")
                self._open.add(step)
                stack.append((step, self._needs(step.id)))

    def _finished(self, step: Step) -> bool:
        return step in self._done or Step(step.id, True) in self._done

    def _finish(self, step: Step) -> bool:
        self._open.discard(step)
        new = step not in self._done
        self._done.add(step)
        return new

    def _needs(self, type_id: int) -> Iterator[Step]:
        """The declarations that ``type_id`` needs before it."""
        found = self._btf.type(type_id)
        seen: set[tuple[int, bool]] = set()
        if isinstance(found, Struct):
            for member in found.members:
                yield from self._uses(member.type, by_value=True, depth=0, seen=seen)
        elif isinstance(found, Typedef | Func | Var):
            yield from self._uses(found.type, by_value=False, depth=0, seen=seen)

    def _uses(self, type_id: int, *, by_value: bool, depth: int, seen: set[tuple[int, bool]]) -> Iterator[Step]:
        """The declarations that a use of ``type_id`` needs before it. ``seen``: (id, by value) visited."""
        if (type_id, by_value) in seen:
            return
        seen.add((type_id, by_value))
        if depth > MAX_DEPTH:
            raise ObjectError(f"BTF type {type_id} nests too deep to be written in C", section=".BTF")
        found, depth = self._btf.type(type_id), depth + 1
        match found:
            case Ptr():
                yield from self._uses(found.type, by_value=False, depth=depth, seen=seen)
            case Array():
                yield from self._uses(found.type, by_value=True, depth=depth, seen=seen)
            case Modifier():
                yield from self._uses(found.type, by_value=by_value, depth=depth, seen=seen)
            case FuncProto():
                for one in (found.ret, *(param.type for param in found.params)):
                    yield from self._uses(one, by_value=False, depth=depth, seen=seen)
            case Typedef():
                yield Step(type_id, True)
                if by_value:
                    yield from self._uses(found.type, by_value=True, depth=depth, seen=seen)
            case Fwd():
                yield Step(self._names.target(type_id), False)
            case Struct() if not found.name:
                for member in found.members:
                    yield from self._uses(member.type, by_value=True, depth=depth, seen=seen)
            case Struct():
                yield Step(type_id, by_value)
            case Enum() if found.name:
                yield Step(type_id, True)
            case Int() | Float() if needs_alias(found):
                yield Step(type_id, True)
