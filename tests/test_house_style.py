"""The house rules for a single module: sizes, parameters, frozen values, inheritance, module state, public names."""

from __future__ import annotations

import ast
from pathlib import Path

from support.sources import dotted, each_module, functions, imports, is_generated, parse, room_of

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 40
MAX_POSITIONAL = 2
# Called by pytest or click with arguments by name.
NAMED_CALLERS = {"coverage_plugin", "plugin", "plugin_instruments", "fixtures", "cli"}


@each_module
def test_files_and_functions_are_small(path: Path) -> None:
    if is_generated(path):
        return
    lines = path.read_text().count("\n")
    assert lines <= MAX_FILE_LINES, f"{dotted(path)} has {lines} lines: split it"
    for function in functions(parse(path)):
        assert function.end_lineno is not None
        length = function.end_lineno - function.lineno + 1
        assert length <= MAX_FUNCTION_LINES, f"{dotted(path)}.{function.name} has {length} lines"


@each_module
def test_two_positional_parameters_at_most(path: Path) -> None:
    if room_of(path) in NAMED_CALLERS or is_generated(path):
        return
    for function in functions(parse(path)):
        if function.name.startswith("__"):
            continue
        names = [a.arg for a in (*function.args.posonlyargs, *function.args.args) if a.arg not in ("self", "cls")]
        assert len(names) <= MAX_POSITIONAL, f"{dotted(path)}.{function.name} takes {names} by position"


@each_module
def test_data_is_frozen(path: Path) -> None:
    for node in ast.walk(parse(path)):
        if not isinstance(node, ast.ClassDef):
            continue
        for decorator in node.decorator_list:
            text = ast.unparse(decorator)
            if text.startswith("dataclass"):
                assert "frozen=True" in text, f"{dotted(path)}.{node.name}: dataclasses are frozen"
                assert "slots=True" in text, f"{dotted(path)}.{node.name}: dataclasses are slotted"


@each_module
def test_data_is_declared_with_frozen(path: Path) -> None:
    """The standard module is slow to define a class, and guests do not have it."""
    for name, line in imports(parse(path)):
        assert name != "dataclasses" or dotted(path) == "frozen", f"{dotted(path)}:{line}: import it from .frozen"


@each_module
def test_inheritance_is_for_errors_and_protocols(path: Path) -> None:
    # int: a number that knows its name (btf.values.EnumValue)
    fine = {"int", "Protocol", "Exception", "NamedTuple", "IntEnum", "IntFlag", "Enum", "StrEnum", "Structure", "Union"}
    fine |= {"bytes", "tuple"}  # addresses, which also equal their text
    fine |= {"dict"}  # fields that share bytes (btf.values.OverlappingFields)
    fine |= {"list", "MadeList"}  # a list whose items are made later (live.run.later)
    fine |= {"File", "Item", "Command"}  # of pytest and click, which are extended so
    fine |= {"CoveragePlugin", "FileReporter"}  # of coverage.py
    fine |= {"SearchStrategy"}  # of Hypothesis
    fine |= {"Pickler", "Unpickler"}  # which are told so what they may write and make
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.ClassDef):
            for base in node.bases:
                name = ast.unparse(base).split("[")[0].split(".")[-1]
                ok = name in fine or name.endswith(("Error", "Rejected", "Mapping", "TypedDict", "Sequence"))
                assert ok, f"{dotted(path)}.{node.name} inherits from {name}"


@each_module
def test_no_mutable_module_state(path: Path) -> None:
    tree = parse(path)
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Global), f"{dotted(path)}:{node.lineno}: global"
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.List | ast.Dict | ast.Set):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            name = ast.unparse(target)
            assert name == "__all__" or name.strip("_").isupper(), f"{dotted(path)}: {name} is mutable module state"


@each_module
def test_all_lists_what_is_public(path: Path) -> None:
    tree = parse(path)
    names = declared_names(tree)
    defined = {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)}
    public = {name for name in defined if not name.startswith("_")}
    assert ast.get_docstring(tree) or not tree.body, f"{dotted(path)} has no docstring"
    if names is None:
        assert not public, f"{dotted(path)} has no __all__"
        return
    assert len(names) == len(set(names)), f"{dotted(path)}: __all__ repeats a name"
    assert public <= set(names), f"{dotted(path)}: not in __all__: {sorted(public - set(names))}"


def declared_names(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if is_annotated(node) else []
        if any(isinstance(t, ast.Name) and t.id == "__all__" for t in targets):
            assert isinstance(node, ast.Assign | ast.AnnAssign)
            value = node.value
            if isinstance(value, ast.List | ast.Tuple):
                return [ast.literal_eval(item) for item in value.elts if isinstance(item, ast.Constant)]
            return []
    return None


def is_annotated(node: ast.stmt) -> bool:
    return isinstance(node, ast.AnnAssign)


@each_module
def test_public_things_say_what_they_are_for(path: Path) -> None:
    if is_generated(path):
        return
    tree = parse(path)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{dotted(path)}.{node.name} has no docstring"
