"""``pytest-ebpf exec`` in a guest: a package of Rust, some of Go, a program of TAP, with binaries that hang and crash,
each of which costs itself only. They are built below /tmp, of which a guest has its own."""

from __future__ import annotations

import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from click.testing import CliRunner

from pytest_ebpf.cli.exec import exec_
from pytest_ebpf.vm.images.image import KernelImage

pytestmark = pytest.mark.slow
RUST = {
    "Cargo.toml": '[package]\nname = "suite"\nversion = "0.1.0"\nedition = "2021"\n[workspace]\n',
    "src/lib.rs": "",
    "tests/fine.rs": """
        #[test] fn reads() { std::fs::read("/proc/version").unwrap(); }
        #[test] #[ignore = "needs a card"] fn driver() {}
        #[test] fn differs() { assert_eq!(1, 2, "one is not two"); }
    """,
    "tests/crashes.rs": "#[test] fn aborts() { std::process::abort(); }",
    "tests/hangs.rs": """
        #[test] fn a_quick() {}
        #[test] fn b_waits() { loop { std::thread::sleep(std::time::Duration::from_secs(1)); } }
    """,
}
GO = {
    "go.mod": "module example.test/suite\ngo 1.21\n",
    "fine/a_test.go": """
        package fine
        import "testing"
        func TestFine(t *testing.T) {}
        func TestSkipped(t *testing.T) { t.Skip("needs a card") }
    """,
    "hangs/a_test.go": """
        package hangs
        import ("testing"; "time")
        func TestWaits(t *testing.T) { time.Sleep(time.Hour) }
    """,
    "panics/a_test.go": """
        package panics
        import "testing"
        func TestQuick(t *testing.T) {}
        func TestPanics(t *testing.T) { panic("no such map") }
    """,
}
TAP = "#!/bin/sh\necho 1..3\necho ok 1 - loads\necho not ok 2 - attaches\nkill -SEGV $$\n"


def written(files: dict[str, str], directory: Path) -> None:
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)


def results(image: KernelImage, *command: str, out: Path) -> dict[str, str]:
    """``program::test`` -> "" for passed, else the first line of why not."""
    done = CliRunner().invoke(exec_, [image.spec, "--timeout", "2", "--junit", str(out), "--", *command])
    assert done.exit_code == 1, done.output
    found = {}
    for case in ET.parse(out).iter("testcase"):
        (why,) = [child.get("message", "") for child in case if child.tag != "properties"] or [""]
        found[f"{case.get('classname')}::{case.get('name')}"] = why
    return found


@pytest.mark.skipif(shutil.which("cargo") is None, reason="cargo is not installed")
def test_cargo(
    any_image: KernelImage, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(RUST, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CARGO_TARGET_DIR", str(tmp_path_factory.mktemp("target")))
    found = results(any_image, "cargo", "test", "--offline", out=tmp_path / "out.xml")
    assert found.pop("fine::differs").startswith("thread 'differs'")
    assert found == {
        "crashes::aborts": "it crashed: SIGABRT",
        "fine::driver": "needs a card",
        "fine::reads": "",
        "hangs::a_quick": "",
        "hangs::b_waits": "it hung: killed after 2 s",
    }


@pytest.mark.skipif(shutil.which("go") is None, reason="go is not installed")
def test_go(any_image: KernelImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(GO, tmp_path)
    monkeypatch.chdir(tmp_path)
    found = results(any_image, "go", "test", "./...", out=tmp_path / "out.xml")
    assert found.pop("panics.test::TestPanics").startswith("panic: no such map")
    assert found == {
        "fine.test::TestFine": "",
        "fine.test::TestSkipped": "a_test.go:5: needs a card",
        "hangs.test::TestWaits": "it hung: killed after 2 s",
        "panics.test::TestQuick": "",
    }


def test_tap(any_image: KernelImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written({"suite": TAP}, tmp_path)
    (tmp_path / "suite").chmod(0o755)
    monkeypatch.chdir("/")
    found = results(any_image, str(tmp_path / "suite"), out=tmp_path / "out.xml")
    assert found.pop("suite::suite").startswith("it crashed: SIGSEGV")
    assert found.pop("suite::loads") == ""
    assert set(found) == {"suite::attaches", "suite::test 3"}
