"""Kernel numbers come from ``uapi/``: no other module repeats one, in a table or beside a comment with its name."""

from __future__ import annotations

import ast
import importlib
import io
import pkgutil
import re
import tokenize
from collections.abc import Iterator
from enum import Enum, IntEnum, IntFlag
from functools import cache
from pathlib import Path

import pytest

from pytest_ebpf import uapi
from support import sources
from support.sources import dotted, each_module, room_of

# Fields and parameters that hold a number of a uapi enum.
NUMBERS = frozenset(
    ("type", "type_number", "map_type", "prog_type", "attach_type", "expected_attach_type", "linkage", "errno", "flags")
)
# Module constants with several integers that no uapi enum has, and what the integers are.
OTHER_NUMBERS = {
    "btf.c_decl._MODES": "bytes",
    "btf.c_names._INTS": "bytes",
    "btf.c_names._FLOATS": "bytes",
    "btf.layout._CODES": "bytes",
    "btf.layout._FLOATS": "bytes",
    "btf.py_source._INTS": "bytes",
    "btf.rust_source._INTS": "bytes",
    "verifier.extract.plain._STRAIGHT": "characters of Unicode",
    "btf.py_source._FLOATS": "bytes",
    "btf.source._HEADER": "ELF classes",
    "btf.source._SECTION": "ELF classes",
    "live.typed.shape._INT_CODES": "bytes",
    "plan.core_patch._SIZES": "bytes",
    "obj.elf._MACHINES": "ELF machines",
    "obj.dwarf_types._WORDS": "relocations",
    "obj.disasm._SIZES": "opcodes",
    "rewrite.asm._LOADS": "opcodes",
    "rewrite.mutants._CONDITIONS": "opcodes",
    "rewrite.mutants._OPERATIONS": "opcodes",
    "rewrite.asm._STORES": "opcodes",
    "obj.disasm._SIGNED_SIZES": "opcodes",
    "obj.disasm._ALU_OPS": "opcodes",
    "obj.disasm._JUMPS": "opcodes",
    "obj.disasm._ATOMIC_OPS": "opcodes",
    "obj.disasm._MOVSX": "bits",
}


@cache
def enums() -> tuple[type[IntEnum] | type[IntFlag], ...]:
    """The classes of uapi/."""
    found: dict[str, type[IntEnum] | type[IntFlag]] = {}
    for module in pkgutil.iter_modules(uapi.__path__, "pytest_ebpf.uapi."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, type) and issubclass(value, IntEnum | IntFlag) and value.__module__ == module.name:
                found[name] = value
    return tuple(found.values())


@cache
def values_by_name() -> dict[str, set[int]]:
    """The numbers of a name, over all enums."""
    found: dict[str, set[int]] = {}
    for enum in enums():
        for name, member in enum.__members__.items():
            found.setdefault(name, set()).add(int(member))
    return found


def modules() -> list[Path]:
    """All but those that have the numbers."""
    return [path for path in sources.modules() if path.parent.name != "uapi"]


def number_of(node: ast.AST) -> int | None:
    """The value of an integer literal, also written as a shift or an or of such."""
    if isinstance(node, ast.Constant):
        return node.value if type(node.value) is int else None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.LShift | ast.BitOr):
        left, right = number_of(node.left), number_of(node.right)
        if left is not None and right is not None:
            return left << right if isinstance(node.op, ast.LShift) else left | right
    return None


def assignments(tree: ast.Module) -> Iterator[tuple[str, ast.expr, int]]:
    """(name, value, line) of the module's constants; tuples one by one."""
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            yield ast.unparse(node.target), node.value, node.lineno
        elif isinstance(node, ast.Assign):
            target, value = node.targets[0], node.value
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                yield from ((ast.unparse(t), v, node.lineno) for t, v in zip(target.elts, value.elts, strict=True))
            elif isinstance(target, ast.Tuple) and ast.unparse(value).startswith("range("):
                yield from ((ast.unparse(t), ast.Constant(i), node.lineno) for i, t in enumerate(target.elts))
            else:
                yield ast.unparse(target), value, node.lineno


def copied_constants(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """``_XDP = 6``: a constant with the name and the number of an enum's member."""
    for name, value, line in assignments(tree):
        number = number_of(value)
        plain = name.strip("_")
        if number is not None and number in values_by_name().get(plain, ()):
            yield line, f"{name} = {number} repeats a number of uapi"


def commented_constants(source: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """``_HOOK = 37  # enum bpf_attach_type``: a literal that its comment explains with a name of the kernel's."""
    lines = {
        line for _, value, line in assignments(tree) if any(number_of(node) is not None for node in ast.walk(value))
    }
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT or token.start[0] not in lines | {line - 1 for line in lines}:
            continue
        beside = token.start[0] in lines
        if re.search(r"enum bpf_\w+", token.string):
            yield token.start[0], f"{token.string!r}: uapi has this enum"
        for name in re.findall(r"\b(?:BPF_F|XDP_FLAGS|BPF_MAP_TYPE|BPF_PROG_TYPE|CAP|NFPROTO)_(\w+)", token.string):
            if beside and name in values_by_name():
                yield token.start[0], f"{token.string!r}: uapi has {name}"


def integers(node: ast.expr) -> list[int]:
    """The integer literals that are the keys of a dict or the elements of a set or list."""
    if isinstance(node, ast.Call) and node.args:
        return integers(node.args[0])
    if isinstance(node, ast.Dict):
        return [number for key in node.keys if key is not None and (number := number_of(key)) is not None]
    if isinstance(node, ast.Set | ast.List | ast.Tuple):
        return [number for element in node.elts if (number := number_of(element)) is not None]
    return []


def texts(node: ast.expr) -> list[str]:
    if isinstance(node, ast.Tuple | ast.List):
        return [str(element.value) for element in node.elts if isinstance(element, ast.Constant)]
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value.split()
    return []


def tables(module: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Dicts keyed by integers, sets of integers, and tuples that list the names of an enum in its order."""
    for name, value, line in assignments(tree):
        is_set = isinstance(value, ast.Call) and ast.unparse(value.func) == "frozenset"
        is_dict = isinstance(value, ast.Dict) or ast.unparse(value).startswith("MappingProxyType({")
        if (is_set or is_dict) and len(integers(value)) > 1 and f"{module}.{name}" not in OTHER_NUMBERS:
            yield line, f"{name} is a table of integers: use the members of a uapi enum, or list it in OTHER_NUMBERS"
        names = [text.upper().replace("-", "_") for text in texts(value)]
        for enum in enums():
            if len(names) > 3 and names == list(enum.__members__)[: len(names)]:
                yield line, f"{name} lists the names of {enum.__name__}"


def bare_numbers(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Literals compared with, or given as, a number of a uapi enum."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value == 524:
            yield node.lineno, "524: use ENOTSUPP"
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
            names = {ast.unparse(part).rpartition(".")[2] for part in parts}
            flat = [number for part in parts for number in ([number_of(part)] if number_of(part) else integers(part))]
            if names & NUMBERS and any(flat):
                yield node.lineno, f"{ast.unparse(node)}: compare with a member of a uapi enum"
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd | ast.BitOr):
            sides = (node.left, node.right)
            names = {ast.unparse(side).rpartition(".")[2] for side in sides}
            if names & NUMBERS and any(0 < (number_of(side) or 0).bit_count() < 3 for side in sides):
                yield node.lineno, f"{ast.unparse(node)}: use a flag of uapi"
        if isinstance(node, ast.keyword) and node.arg in NUMBERS and number_of(node.value):
            yield node.value.lineno, f"{ast.unparse(node)}: give a member of a uapi enum"


def problems(module: str, source: str) -> list[str]:
    """What repeats a kernel number in the source of a module."""
    tree = ast.parse(source)
    found = [*copied_constants(tree), *commented_constants(source, tree), *tables(module, tree), *bare_numbers(tree)]
    return [f"{module}:{line}: {text}" for line, text in sorted(set(found))]


@each_module
def test_kernel_numbers_come_from_uapi(path: Path) -> None:
    if room_of(path) != "uapi":
        found = problems(dotted(path), path.read_text())
        assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        "_XDP = 6",
        "_ARRAY, _ARENA = 2, 33",
        "_SLEEPABLE = 1 << 4",
        "_HOOK = 37  # enum bpf_attach_type",
        "# enum bpf_map_type\n_FIRST, _SECOND = 1, 2",
        "_ON = 8  # BPF_F_CPU",
        "_TYPES = ('unspec', 'raw_tracepoint', 'tracing', 'cgroup')",
        "RULES = {3: 'a', 4: 'b'}",
        "_SIGNED: frozenset[int] = frozenset({3, 4, 17})",
        "def f(op):\n    return op.type == 28",
        "def f(op):\n    return op.type in (14, 25)",
        "def f(error):\n    return error.errno == 22",
        "def f(op):\n    return op.flags & 1 << 4",
        "def f(make):\n    make(type=2)",
        "REFUSED = (22, 524)",
    ],
)
def test_copies_are_found(source: str) -> None:
    assert problems("example", source)


def test_other_numbers_exist() -> None:
    names = {f"{dotted(path)}.{name}" for path in modules() for name, _, _ in assignments(ast.parse(path.read_text()))}
    assert set(OTHER_NUMBERS) <= names, f"not there any more: {set(OTHER_NUMBERS) - names}"


def test_every_enum_is_unique() -> None:
    for enum in enums():
        assert issubclass(enum, Enum)
        aliases = [name for name, member in enum.__members__.items() if member.name != name]
        assert not aliases, f"{enum.__name__}: two names for one number: {aliases}"
