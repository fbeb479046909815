"""What type checkers see of the package: a user's project, and the sample tests, with every fixture typed."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pytest_ebpf

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "tests" / "data" / "typed_project" / "test_typed.py"
SAMPLES = sorted((ROOT / "sample_programs").rglob("test_*.py"))
NO_ANY = ("reportAny", "reportUnknownMemberType", "reportUnknownVariableType", "reportUnknownArgumentType")

pytestmark = pytest.mark.slow


def _run(argv: list[str], *, cwd: Path) -> str:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "MYPYPATH": str(ROOT)}
    done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, timeout=600, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def _mypy(files: list[Path], *options: str, cwd: Path) -> str:
    argv = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--config-file=", "--python-version=3.11"]
    return _run([*argv, "--no-error-summary", "--follow-imports=silent", *options, *map(str, files)], cwd=cwd)


def _basedpyright(files: list[Path], *, cwd: Path, forbidden: tuple[str, ...] = NO_ANY) -> str:
    pytest.importorskip("basedpyright")
    settings: dict[str, object] = {"include": [str(file) for file in files], "extraPaths": [str(ROOT)]}
    settings |= {"typeCheckingMode": "standard", "pythonVersion": "3.11", **dict.fromkeys(forbidden, "error")}
    (cwd / "pyrightconfig.json").write_text(json.dumps(settings))
    argv = [sys.executable, "-m", "basedpyright", "--level", "error", "--pythonpath", sys.executable]
    return _run([*argv, "--project", str(cwd / "pyrightconfig.json")], cwd=cwd)


def test_mypy_accepts_a_typed_project(tmp_path: Path) -> None:
    shutil.copy(PROJECT, tmp_path)
    found = _mypy([tmp_path / PROJECT.name], "--disallow-any-expr", cwd=tmp_path)
    assert [line for line in found.splitlines() if "overloaded function" not in line] == []  # pytest.fixture itself


def test_basedpyright_accepts_a_typed_project(tmp_path: Path) -> None:
    shutil.copy(PROJECT, tmp_path)
    assert _basedpyright([tmp_path / PROJECT.name], cwd=tmp_path) == ""


def test_a_wrong_type_is_reported(tmp_path: Path) -> None:
    """The checks above can fail: the package has types, and they are looked at."""
    wrong = tmp_path / "test_wrong.py"
    wrong.write_text(
        "from pytest_ebpf import Bpf\n\n\ndef test_x(bpf: Bpf) -> None:\n    bpf.load(3)\n    bpf.nope()\n"
    )
    found = _mypy([wrong], cwd=tmp_path)
    assert "[arg-type]" in found
    assert "[attr-defined]" in found
    found = _basedpyright([wrong], cwd=tmp_path)
    assert "reportArgumentType" in found
    assert "reportAttributeAccessIssue" in found


def test_checkers_accept_the_sample_tests(tmp_path: Path) -> None:
    assert _mypy(SAMPLES, cwd=tmp_path) == ""
    found = _basedpyright(SAMPLES, cwd=tmp_path, forbidden=NO_ANY[1:])  # values that BTF types are Any, like JSON's
    assert found == ""


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_sample_tests_have_types_for_their_fixtures(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            untyped = [arg.arg for arg in node.args.args if arg.annotation is None]
            assert not untyped, f"{path.name}: {node.name} takes {untyped} without a type"


def test_the_typed_project_uses_every_fixture_and_type() -> None:
    tree = ast.parse(PROJECT.read_text())
    arguments = {arg.arg for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) for arg in node.args.args}
    plugin = ast.parse((ROOT / "pytest_ebpf" / "plugin.py").read_text())
    fixtures = {
        node.name
        for node in plugin.body
        if isinstance(node, ast.FunctionDef) and any("fixture" in ast.unparse(each) for each in node.decorator_list)
    }
    assert {name for name in fixtures if name.startswith("bpf")} <= arguments


def test_names_are_not_those_of_pytest() -> None:
    same = {name for name in pytest_ebpf.__all__ if hasattr(pytest, name)}
    assert same <= {"RunResult"}  # pytest.RunResult is what a run of pytester returns


def test_every_public_name_can_be_imported() -> None:
    for name in pytest_ebpf.__all__:
        assert getattr(pytest_ebpf, name) is not None
    assert set(pytest_ebpf.__all__) <= set(dir(pytest_ebpf))
    with pytest.raises(AttributeError, match="nothing_of_ours"):
        _ = pytest_ebpf.nothing_of_ours


def test_the_names_are_generated_from_the_imports() -> None:
    before = (ROOT / "pytest_ebpf" / "_names.py").read_text()
    namespace: dict[str, object] = {"__file__": str(ROOT / "ci" / "gen_names.py"), "__name__": "gen_names"}
    exec((ROOT / "ci" / "gen_names.py").read_text(), namespace)
    public_names, render = namespace["public_names"], namespace["render"]
    assert callable(public_names)
    assert callable(render)
    assert render(public_names((ROOT / "pytest_ebpf" / "__init__.py").read_text())) == before
