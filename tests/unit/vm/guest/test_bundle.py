"""The bundle of the agent, the lean dataclasses in it, and what process 1 decides without being process 1."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from pytest_ebpf.agent.protocol import fast_dataclasses as lean, init
from pytest_ebpf.agent.protocol.setup import Wishes
from pytest_ebpf.agent.protocol.wire import Codec, Decoder, Hello
from pytest_ebpf.errors import BootFailed
from pytest_ebpf.vm.guest.bundle import agent_sources, find_python, make_agent, stdlib_imports


@pytest.mark.slow
def test_a_bundle_is_an_agent_that_says_hello(tmp_path: Path) -> None:
    agent = make_agent(tmp_path, python=find_python())
    ran = subprocess.run(agent.argv, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=30, cwd="/")
    hello = Decoder(Codec()).feed(ran.stdout)
    assert isinstance(hello[0], Hello)
    assert ran.stderr == b""


@pytest.mark.slow
def test_equal_sources_make_one_equal_bundle(tmp_path: Path) -> None:
    python = find_python()
    one = make_agent(tmp_path / "a", python=python).bundle
    two = make_agent(tmp_path / "b", python=python).bundle
    assert one.name == two.name
    assert one.read_bytes() == two.read_bytes()
    before = one.stat().st_ino
    assert make_agent(tmp_path / "a", python=python).bundle.stat().st_ino == before
    names = {path.name for path in (tmp_path / "a" / "agents").iterdir()}
    assert names == {one.name, one.with_suffix(".json").name}


@pytest.mark.slow
def test_an_agent_that_does_not_compile_is_named(tmp_path: Path) -> None:
    package = tmp_path / "pytest_ebpf"
    for name, source in agent_sources().items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(source)
    (package / "agent" / "protocol" / "serve.py").write_text("def :\n")
    with pytest.raises(BootFailed, match=r"agent/protocol/serve.py, line 1: invalid syntax"):
        make_agent(tmp_path / "cache", python=find_python(), package=package)
    assert not (tmp_path / "cache").exists()


def test_the_bundle_holds_every_import_of_the_agent() -> None:
    names = stdlib_imports(
        {"a.py": "import os.path\ndef f():\n    from ctypes import c_int\nfrom pytest_ebpf import x"}
    )
    assert names == ["ctypes", "os.path"]


@pytest.mark.parametrize("version", ["print(3, 8)", "import sys; sys.exit(1)"], ids=["old", "broken"])
def test_a_python_that_will_not_do_is_passed_over(tmp_path: Path, version: str) -> None:
    fake = tmp_path / "python3"
    fake.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{version}"\n')
    fake.chmod(0o755)
    running = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    assert find_python([str(fake), str(tmp_path / "none")]) == running


def test_the_first_python_that_will_do_is_taken(tmp_path: Path) -> None:
    fake = tmp_path / "python3"
    fake.write_text("#!/bin/sh\necho 3 12\n")
    fake.chmod(0o755)
    assert find_python([str(fake)]) == str(fake)


SOURCE = """
from __future__ import annotations
from dataclasses import dataclass, field

@dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = 2
    tags: tuple[str, ...] = field(default_factory=tuple)
    note: str = field(default="", compare=False)

    @property
    def sum(self) -> int:
        return self.x + self.y
"""


@pytest.fixture(params=[dataclasses, lean], ids=["standard", "lean"])
def points(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """The class of SOURCE and the dataclasses module that made it. What holds for one has to hold for the other."""
    monkeypatch.setitem(sys.modules, "dataclasses", request.param)
    module = types.ModuleType("points")
    monkeypatch.setitem(sys.modules, "points", module)
    exec(SOURCE, vars(module))
    return vars(module)["Point"], request.param


def test_values_are_made_by_place_and_name(points: tuple[Any, Any]) -> None:
    point, _ = points
    value = point(1, tags=("a",))
    assert (value.x, value.y, value.tags, value.note, value.sum) == (1, 2, ("a",), "", 3)
    assert repr(value) == "Point(x=1, y=2, tags=('a',), note='')"


@pytest.mark.parametrize("args", [((), {}), ((1, 2, (), "", 5), {}), ((1,), {"x": 2}), ((1,), {"z": 2})])
def test_wrong_fields_are_type_errors(points: tuple[Any, Any], args: tuple[tuple[Any, ...], dict[str, Any]]) -> None:
    with pytest.raises(TypeError):
        points[0](*args[0], **args[1])


def test_values_are_frozen_and_slotted(points: tuple[Any, Any]) -> None:
    value = points[0](1)
    with pytest.raises(AttributeError):
        value.x = 2
    with pytest.raises(AttributeError):
        del value.x
    assert not hasattr(value, "__dict__")


def test_values_compare_and_hash_by_the_fields_that_count(points: tuple[Any, Any]) -> None:
    point, _ = points
    assert point(1, note="a") == point(1, note="b")
    assert hash(point(1, note="a")) == hash(point(1, note="b"))
    assert point(1) != point(2)
    assert point(1) != (1, 2)


def test_fields_and_replace_and_match(points: tuple[Any, Any]) -> None:
    point, module = points
    assert [(f.name, f.type) for f in module.fields(point)][:2] == [("x", "int"), ("y", "int")]
    assert module.fields(point)[0].default is module.MISSING
    assert module.fields(point(1))[1].default == 2
    assert module.is_dataclass(point)
    assert not module.is_dataclass(int)
    assert module.replace(point(1), y=5) == point(1, 5)
    match point(1, 2):
        case point(x, y):
            assert (x, y) == (1, 2)


def test_the_port_is_found_by_its_name(tmp_path: Path) -> None:
    for device, name in (("vport0p1", "other"), ("vport1p2", "org.pytest-ebpf.agent")):
        (tmp_path / device).mkdir()
        (tmp_path / device / "name").write_text(name + "\n")
    assert init.find_port("org.pytest-ebpf.agent", ports=str(tmp_path)) == "/dev/vport1p2"
    with pytest.raises(FileNotFoundError, match="no virtio port is called nobody"):
        init.find_port("nobody", ports=str(tmp_path), patience=0)


def test_wishes_are_one_line_and_what_follows_is_left() -> None:
    read, write = os.pipe()
    os.write(write, json.dumps({"hostname": "h", "modules": "/m", "keep": ["/a", "/b"]}).encode() + b"\nframe")
    assert init.read_wishes(read) == Wishes("h", "/m", ("/a", "/b"))
    assert os.read(read, 10) == b"frame"
    os.close(write)
    with pytest.raises(EOFError):
        init.read_wishes(read)
    os.close(read)
