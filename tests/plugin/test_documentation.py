"""Documented examples run: what a reader copies works."""

from __future__ import annotations

import ast
import re
import textwrap
from dataclasses import dataclass

import pytest

from support.paths import ROOT

PAGES = [ROOT / "README.md", ROOT / "sample_programs/README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
OF_A_WALK = "exec_by.bpf.o"  # what docs/walk.md makes: test_walk_page.py runs that page as a whole


@dataclass(frozen=True, slots=True)
class Setting:
    """What a fragment takes for granted: ``page`` and a piece of its text find it, ``before`` is put in front."""

    page: str
    text: str
    before: str


# Fragments that are no tests of their own. Every other fragment is compiled only: it speaks of an object that is the
# reader's, of a library, or of a kernel feature that this machine may lack.
SETTINGS = (
    Setting("btf", 'types["event"]\nassert event.size == 280', ""),
    Setting(
        "btf",
        "from events import event",
        """
        import sys
        from pathlib import Path
        from click.testing import CliRunner
        from pytest_ebpf.cli.btf import btf
        path = str(bpf.find("exec_tracer.bpf.o"))
        made = CliRunner().invoke(btf, ["dump", path, "event", "--format", "python", "-o", "events.py"])
        assert made.exit_code == 0, made.output
        sys.path.insert(0, str(Path.cwd()))
        data = bpf.load(path).types["event"].pack(pid=7, comm="true")
        """,
    ),
    Setting(
        "introspection",
        "with bpf.count_runs():",
        """
        prog = bpf.load("config.bpf.o")["police"]
        packet = bytes(64)
        """,
    ),
    Setting(
        "introspection",
        "bpf.loaded.program(prog.id)",
        """
        (prog,) = bpf.load("exec_tracer.bpf.o").programs.values()
        prog.attach()
        """,
    ),
    Setting(
        "verifier-logs",
        'open("build.log").read()',
        f"""
        import shutil
        log = {str(ROOT / "tests/data/logs/asm-6.12/helper_not_allowed.l1.log")!r}
        shutil.copy(log, "build.log")
        shutil.copy(log, "huge.log")
        """,
    ),
    Setting(
        "writing-tests",
        'ctx={"mark": 7, "cb": [1, 2]}',
        f"""
        from pytest_ebpf import IP, TC, UDP, Eth
        prog = bpf.load({str(ROOT / "tests/objects/built/any_verdict.bpf.o")!r}, globals={{"verdict": 0}})["any_tc"]
        packet = bytes(Eth() / IP() / UDP() / bytes(22))
        """,
    ),
)


def blocks() -> list[object]:
    return [
        pytest.param(code, id=f"{page.stem}-{number}")
        for page in PAGES
        for number, code in enumerate(BLOCK.findall(page.read_text()), 1)
    ]


def is_test(code: str) -> bool:
    return "def test_" in code


def runnable() -> list[object]:
    return [block for block in blocks() if is_test(block.values[0]) and OF_A_WALK not in block.values[0]]


def as_test(code: str, before: str) -> str:
    """A fragment as the body of a test, its ``from pytest_ebpf`` imports included."""
    return "def test_fragment(bpf, bpf_vm):\n" + textwrap.indent(textwrap.dedent(before) + code, "    ")


@pytest.mark.parametrize("code", blocks())
def test_examples_are_python(code: str) -> None:
    ast.parse(code)


@pytest.mark.parametrize("code", runnable())
def test_examples_that_are_tests_pass(code: str, pytester: pytest.Pytester) -> None:
    pytester.makeini(f"[pytest]\nbpf_object_dirs = {ROOT / 'sample_programs/built'}")
    pytester.makepyfile(code if "import pytest\n" in code else f"import pytest\n{code}")
    outcomes = pytester.runpytest("--bpf-kernels=host", "--bpf-update=new").parseoutcomes()
    # A test with bpf_datapath runs twice, one with bpf_fault once for each of the four calls that can fail.
    expected = code.count("def test_") + len(re.findall(r"def test_.*\bbpf_datapath\b", code))
    expected += 3 * len(re.findall(r"def test_.*\bbpf_fault\b", code))
    assert outcomes.get("passed", 0) + outcomes.get("skipped", 0) == expected, outcomes
    assert outcomes.get("passed", 0) > 0, "an example that is skipped shows nothing"


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: f"{setting.page}: {setting.text[:30]}")
def test_fragments_run(setting: Setting, pytester: pytest.Pytester) -> None:
    page = (ROOT / "docs" / f"{setting.page}.md").read_text()
    (code,) = [block for block in BLOCK.findall(page) if setting.text in block]
    pytester.makeini(f"[pytest]\nbpf_object_dirs = {ROOT / 'sample_programs/built'}")
    pytester.makepyfile(as_test(code, setting.before))
    pytester.runpytest("--bpf-kernels=host").assert_outcomes(passed=1)
