"""One suite over two machines with pytest-xdist and ssh gives the matrix of one machine.

The machines are network namespaces with a host name, a cache and an sshd of their own (Debian's openssh-server,
unpacked into a temporary folder); the project lies at the same place on both. Kernels are prepared on each. Needs root,
apt, ssh and the kernels in the cache of this machine, which gives the images to both.
Usage: python ci/machines.py [KERNEL…] (default: oldest newest); with ``host`` nothing is booted.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("openssh-server", "libwrap0")
TEST = """
import platform
import pytest

@pytest.mark.parametrize("n", range(4))
def test_runs(bpf, record_property, n):
    record_property("machine", platform.node())
    prog = bpf.load("xdp_decap.bpf.o")["decap"]
    assert prog.run(bytes(64)).retval == 2

def test_fails(bpf_kernel):
    assert bpf_kernel.spec == "another"

def test_is_skipped(bpf_kernel):
    pytest.skip("because")
"""
SSHD = """
ListenAddress {address}
Port 22
HostKey {home}/host_key
AuthorizedKeysFile {home}/key.pub
StrictModes no
UsePAM no
PermitRootLogin yes
PidFile none
"""
SSH = """
Host {name}
  HostName {address}
  User root
  IdentityFile {home}/key
  IdentitiesOnly yes
  StrictHostKeyChecking no
  UserKnownHostsFile {home}/known
  LogLevel ERROR
"""


@dataclass(frozen=True)
class Other:
    """A machine: its name, its address, its cache."""

    name: str
    address: str
    cache: Path


def run(*argv: str | Path, cwd: Path | None = None) -> str:
    """What a command printed. Its failure ends this script, with what it said."""
    done = subprocess.run([str(word) for word in argv], cwd=cwd, text=True, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"{shlex.join(map(str, argv))}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def bring_sshd(home: Path) -> Path:
    """Debian's sshd, unpacked."""
    packages = home / "packages"
    packages.mkdir()
    run("apt-get", "download", *PACKAGES, cwd=packages)
    for package in packages.glob("*.deb"):
        run("dpkg", "-x", package, home / "root")
    return home / "root/usr/sbin/sshd"


def make_keys(home: Path) -> None:
    """A key for us, and one for the machines; the user that sshd wants for itself."""
    for name in ("key", "host_key"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / name)
    users = Path("/etc/passwd").read_text()
    if "\nsshd:" not in users:
        users += "sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n"
    (home / "passwd").write_text(users)


@contextlib.contextmanager
def machine(number: int, *, home: Path, sshd: Path, images: Path) -> Iterator[Other]:
    """A network namespace that answers at port 22."""
    name = f"bpf-m{number}"
    ours, theirs = f"198.51.100.{number * 4 + 1}", f"198.51.100.{number * 4 + 2}"
    cache = home / name
    cache.mkdir()
    if images.is_dir():
        run("cp", "-al", images, images.parent / "resolved", images.parent / "indexes", cache)
    config = home / f"{name}.conf"
    config.write_text(SSHD.format(address=theirs, home=home))
    run("ip", "netns", "add", name)
    try:
        run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "addr", "add", f"{ours}/30", "dev", name)
        run("ip", "link", "set", name, "up")
        for words in (f"addr add {theirs}/30 dev eth0", "link set eth0 up", "link set lo up"):
            run("ip", "-n", name, *words.split())
        script = (
            f"mount --bind {shlex.quote(str(home / 'passwd'))} /etc/passwd && mkdir -p /run/sshd && hostname {name}"
            f" && exec {shlex.quote(str(sshd))} -D -e -f {shlex.quote(str(config))}"
        )
        environment = os.environ | {"LD_LIBRARY_PATH": str(next((home / "root").rglob("libwrap.so.0")).parent)}
        argv = ["ip", "netns", "exec", name, "unshare", "--mount", "--uts", "sh", "-c", script]
        with (home / f"{name}.log").open("w") as log:
            server = subprocess.Popen(argv, stdout=log, stderr=log, env=environment)
        try:
            yield Other(name, theirs, cache)
        finally:
            server.kill()
            server.wait()
    finally:
        run("ip", "netns", "del", name)


def ssh(home: Path, other: Other, *command: str) -> str:
    """What a command on another machine prints; sshd may need a moment to listen."""
    argv = ["ssh", "-F", str(home / "ssh_config"), other.name, shlex.join(command)]
    deadline = time.monotonic() + 20
    while subprocess.run([*argv[:-1], "true"], check=False, capture_output=True).returncode == 255:
        if time.monotonic() > deadline:
            raise SystemExit(f"{other.name} does not answer: {(home / f'{other.name}.log').read_text()}")
        time.sleep(0.2)
    return run(*argv)


def environment_of(other: Other) -> dict[str, str]:
    """What Python needs there."""
    path = os.environ.get("PYTHONPATH", str(ROOT))
    return {"PYTEST_EBPF_CACHE": str(other.cache), "PYTHONPATH": path, "PATH": os.environ["PATH"]}


def gateway(other: Other, *, home: Path) -> str:
    """What execnet calls another machine."""
    words = [f"ssh={other.name}", f"ssh_config={home / 'ssh_config'}", f"python={sys.executable}", f"id={other.name}"]
    words += [f"chdir={home / 'project'}"]
    words += [f"env:{name}={value}" for name, value in environment_of(other).items()]
    return "//".join(words)


def pytest_run(project: Path, name: str, *options: str) -> Path:
    """A run in ``project``: its tests fail as they should. The files that it wrote."""
    files = project.parent / name
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={files}.xml"]
    done = subprocess.run(
        [*argv, f"--bpf-json={files}.json", *options], cwd=project, text=True, capture_output=True, check=False
    )
    if done.returncode != 1 or not files.with_suffix(".json").exists():
        raise SystemExit(f"pytest {shlex.join(options)}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return files


def matrix(files: Path) -> list[tuple[str, str, str]]:
    """Test, kernel, outcome."""
    document = json.loads(files.with_suffix(".json").read_text())
    return sorted((one["test"], one["kernel"], one["outcome"]) for one in document["results"])


def machines_of(files: Path) -> set[str]:
    """Where tests ran."""
    root = ElementTree.parse(files.with_suffix(".xml")).getroot()
    return {one.get("value", "") for one in root.iter("property") if one.get("name") == "machine"}


def main(kernels: Sequence[str]) -> None:
    """Compare."""
    images = Path(os.environ.get("PYTEST_EBPF_CACHE", Path.home() / ".cache/pytest-ebpf")) / "images"
    named = f"--bpf-kernels={','.join(kernels)}"
    with tempfile.TemporaryDirectory(prefix="bpf-machines-") as name, contextlib.ExitStack() as stack:
        home = Path(name)
        project = home / "project"
        project.mkdir()
        (project / "test_sample.py").write_text(TEST)
        (project / "pytest.ini").write_text("[pytest]\n")
        (project / "xdp_decap.bpf.o").write_bytes((ROOT / "sample_programs/built/xdp_decap.bpf.o").read_bytes())
        make_keys(home)
        sshd = bring_sshd(home)
        others = [stack.enter_context(machine(n, home=home, sshd=sshd, images=images)) for n in (1, 2)]
        (home / "ssh_config").write_text("".join(SSH.format(**vars(one), home=home) for one in others))
        command = str(Path(sys.executable).with_name("pytest-ebpf"))
        guests = [kernel for kernel in kernels if kernel != "host"]
        for other in others:
            given = [f"{key}={value}" for key, value in environment_of(other).items()]
            if guests:
                print(ssh(home, other, "env", *given, command, "kernels", "prepare", *guests))
            else:
                ssh(home, other, "true")
        one = pytest_run(project, "one", named)
        gateways = [f"--tx={gateway(other, home=home)}" for other in others]
        two = pytest_run(project, "two", named, "--dist=load", *gateways)
        if matrix(one) != matrix(two):
            raise SystemExit(f"one machine: {matrix(one)}\ntwo machines: {matrix(two)}")
        boots = [kernel["boots"] for kernel in json.loads(two.with_suffix(".json").read_text())["kernels"]]
        if any(len(seconds) > 1 for seconds in boots):
            raise SystemExit(f"a kernel was booted more than once: {boots}")
        if machines_of(two) != {other.name for other in others}:
            raise SystemExit(f"tests ran on {sorted(machines_of(two))} alone")
        print(f"two machines give the matrix of one: {len(matrix(two))} results, {', '.join(kernels)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("kernels", nargs="*", default=["oldest", "newest"])
    main(parser.parse_args().kernels)
