"""A run that is killed leaves nothing that the next one does not find and remove (on this machine; a guest dies with
its run)."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pytest_ebpf
from pytest_ebpf.agent.host.attached import attachment, detach
from pytest_ebpf.errors import KernelCallError
from pytest_ebpf.kernels.local import LocalKernel
from pytest_ebpf.uapi.enums import AttachType
from support.paths import ROOT

OBJECTS = ROOT / "sample_programs" / "built"
# Everything that a test can make there and that does not end with its process.
SUITE = """
import os, pathlib, time
import pytest
NAME = os.environ["LEFT"]

def test_that_hangs(bpf, bpf_vm, bpf_netns):
    named = bpf_vm.run(["ip", "link", "add", NAME, "type", "veth", "peer", "name", NAME + "p"], check=True)
    group = bpf_vm.cgroup(NAME)
    group.start(["sleep", "1000"])
    bpf_vm.start(["sh", "-c", "setsid sleep 1001 & sleep 1002"])
    bpf_vm.mkdir("/tmp/" + NAME)
    bpf_vm.write_file("/tmp/" + NAME + "-file", "x")
    from pytest_ebpf.live.net.netns import Netns
    Netns(bpf.session, name=NAME)
    obj = bpf.load("xdp_firewall.bpf.o")
    obj.maps["blocked"].pin("/sys/fs/bpf/" + NAME)
    (xdp,), (tc,) = obj.programs.values(), bpf.load("tc_rewrite.bpf.o").programs.values()
    xdp.attach(NAME, mechanism="netlink")
    tc.attach(NAME + "p", mechanism="clsact", direction="ingress")
    pathlib.Path("ready").touch()
    time.sleep(60)
"""


@pytest.fixture
def interface() -> Iterator[str]:
    name = f"left{os.getpid() % 100000}"
    yield name
    subprocess.run(["ip", "link", "del", name], check=False, capture_output=True)


def left(name: str) -> set[str]:
    """What of it is there."""
    groups = Path("/sys/fs/cgroup/unified") if Path("/sys/fs/cgroup/unified").exists() else Path("/sys/fs/cgroup")
    places = {
        "cgroup": groups / name,
        "directory": Path("/tmp") / name,
        "file": Path("/tmp") / f"{name}-file",
        "netns": Path("/run/netns") / name,
        "pin": Path("/sys/fs/bpf") / name,
    }
    shown = subprocess.run(["ip", "-d", "link", "show", name], capture_output=True, text=True, check=False).stdout
    filters = subprocess.run(["tc", "filter", "show", "dev", f"{name}p", "ingress"], capture_output=True, text=True)
    filters_out = subprocess.run(["tc", "filter", "show", "dev", f"{name}p", "egress"], capture_output=True, text=True)
    qdiscs = subprocess.run(["tc", "qdisc", "show", "dev", f"{name}p"], capture_output=True, text=True, check=False)
    there = {kind for kind, path in places.items() if path.exists()}
    there |= {"xdp"} if "xdp" in shown else set()
    there |= {"filter"} if "bpf" in filters.stdout + filters_out.stdout else set()
    there |= {"qdisc"} if "clsact" in qdiscs.stdout else set()
    there |= {"process"} if processes(name) else set()
    return there


def processes(name: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and f"LEFT={name}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found += [int(entry.name)] if b"sleep" in (entry / "cmdline").read_bytes() else []
        except OSError:
            continue
    return found


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_next_run_removes_what_a_killed_one_left(
    how: signal.Signals, pytester: pytest.Pytester, objects: Callable[..., None], interface: str
) -> None:
    objects("xdp_firewall", "tc_rewrite")
    pytester.makepyfile(SUITE)
    environment = {**os.environ, "LEFT": interface, "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--bpf-kernels=host"]
    run = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 60
    while not Path("ready").exists() and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    everything = {"cgroup", "directory", "file", "filter", "netns", "pin", "process", "qdisc", "xdp"}
    there = left(interface)
    run.send_signal(how)
    assert run.stdout is not None
    output = run.stdout.read().decode()
    run.wait(30)
    assert there == everything, output
    with LocalKernel() as kernel:
        told = " ".join(kernel.swept)
    assert left(interface) == set()
    for word in ("process", "netns", "pin", "directory", "file", "program", "qdisc"):
        assert word in told


def test_what_a_living_run_made_stays(pytester: pytest.Pytester) -> None:
    """Two runs at once: only the ledgers of the dead are read."""
    from pytest_ebpf.agent.ops import MakeDir
    from pytest_ebpf.kernels.base import made

    path = pytester.path / "made"
    with LocalKernel() as kernel:
        made(kernel.run([MakeDir(str(path))])[0])
        with LocalKernel() as other:
            assert other.swept == ()
        assert path.exists()
    assert not path.exists()


ATTACHES = """
import os, pathlib, sys, time
import pytest_ebpf
with pytest_ebpf.open_kernel("host") as bpf:
    (program,) = bpf.load(sys.argv[1]).programs.values()
    program.attach(sys.argv[2], mechanism="attach", mode="single")
    pathlib.Path("ready").touch()
    time.sleep(60)
"""


def test_a_program_on_a_cgroup_of_somebody_else_is_detached(pytester: pytest.Pytester, foreign_group: Path) -> None:
    """Without a link it would stay as long as the group does."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.Popen(
        [sys.executable, "-c", ATTACHES, str(OBJECTS / "connect_filter.bpf.o"), str(foreign_group)], env=environment
    )
    deadline = time.monotonic() + 60
    while not Path("ready").exists() and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    run.kill()
    run.wait(30)
    with pytest_ebpf.open_kernel("host") as bpf:  # a new run, which asks what is there after it has looked around
        assert bpf.attached(cgroup=str(foreign_group)) == ()
    assert foreign_group.exists()


def test_a_program_of_somebody_else_in_its_place_stays(foreign_group: Path) -> None:
    group = str(foreign_group)
    with pytest_ebpf.open_kernel("host") as bpf:
        (mine,), (other,) = (bpf.load(OBJECTS / "connect_filter.bpf.o").programs.values() for _ in range(2))
        link = other.attach(group, mechanism="attach", mode="single")
        kind = AttachType.CGROUP_INET4_CONNECT
        assert not detach(attachment(group, kind, prog_id=mine.info.id))
        assert [found.program.id for found in bpf.attached(cgroup=group)] == [other.info.id]
        assert detach(attachment(group, kind, prog_id=other.info.id))
        assert bpf.attached(cgroup=group) == ()
        with contextlib.suppress(KernelCallError):
            link.detach()  # it is gone


@pytest.fixture
def foreign_group() -> Iterator[Path]:
    groups = Path("/sys/fs/cgroup/unified") if Path("/sys/fs/cgroup/unified").exists() else Path("/sys/fs/cgroup")
    group = groups / f"foreign{os.getpid()}"
    group.mkdir()
    yield group
    group.rmdir()
