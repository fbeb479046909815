"""The bundle of the agent, its dataclasses, and what process 1 decides without being process 1."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_ebpf.agent.protocol import init
from pytest_ebpf.agent.protocol.setup import Wishes
from pytest_ebpf.agent.protocol.wire import Codec, Decoder, Hello
from pytest_ebpf.errors import BootFailed
from pytest_ebpf.vm.guest.bundle import agent_sources, find_python, make_agent, stdlib_imports


def test_a_bundle_is_an_agent_that_says_hello(tmp_path: Path) -> None:
    agent = make_agent(tmp_path, python=find_python())
    ran = subprocess.run(agent.argv, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=30, cwd="/")
    hello = Decoder(Codec()).feed(ran.stdout)
    assert isinstance(hello[0], Hello)
    assert ran.stderr == b""


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
