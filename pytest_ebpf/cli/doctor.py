"""``pytest-ebpf doctor``: what works on this machine, what is missing, and how to get it."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import click

from pytest_ebpf.errors import EbpfError
from pytest_ebpf.frozen import asdict, dataclass

__all__ = ["Finding", "commands_for", "doctor", "examine"]

State = Literal["ok", "missing", "note"]
_MARKS = {"ok": ("✓", "green"), "missing": ("✗", "red"), "note": ("·", "yellow")}
_COMMAND = re.compile(r"(?:\S+ -m )?pip install |pytest-ebpf \w+")
_ROOM_FOR_A_KERNEL = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. ``serves``: host, guests or both; ``way_out``: what to type, if anything."""

    name: str
    state: State
    detail: str
    serves: str
    way_out: str = ""


@click.command("doctor", help="Say what works on this machine, what is missing, and how to get it.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.option("--fix", is_flag=True, help="Print only the commands that provide what is missing, to read and to run.")
def doctor(as_json: bool, fix: bool) -> None:
    """Exit status 0 when tests can run somewhere: on the running kernel or in guests."""
    findings = examine()
    usable = {kind for kind in ("host", "guests") if _works(findings, kind)}
    if fix:
        click.echo("".join(f"{command}\n" for command in commands_for(findings, as_root=os.geteuid() == 0)), nl=False)
    elif as_json:
        click.echo(json.dumps({"usable": sorted(usable), "findings": [asdict(one) for one in findings]}, indent=2))
    else:
        _print(findings, usable=usable)
    sys.exit(0 if usable else 1)


def commands_for(findings: Sequence[Finding], *, as_root: bool) -> list[str]:
    """The shell commands among the ways out: one for all packages, then the others, each once."""
    packages: dict[str, None] = {}
    others: dict[str, None] = {}
    ways = [finding.way_out.removeprefix("run: ").partition(", ")[0] for finding in findings if finding.state != "ok"]
    for command in (part.strip() for way in ways for part in way.split(" && ")):
        if command.startswith("apt-get install "):
            packages |= dict.fromkeys(word for word in command.split()[2:] if not word.startswith("-"))
        elif _COMMAND.match(command):
            others[command] = None
    sudo = "" if as_root else "sudo "
    install = [f"{sudo}apt-get update", f"{sudo}apt-get install -y {' '.join(packages)}"] if packages else []
    return [*install, *others]


def _works(findings: Sequence[Finding], kind: str) -> bool:
    """Whether nothing that ``kind`` needs is missing."""
    return not any(one.state == "missing" and one.serves in (kind, "both") for one in findings)


def examine() -> list[Finding]:
    """Look at everything; an examination that itself breaks is a finding."""
    checks: tuple[Callable[[], list[Finding]], ...] = (
        _python, _host_kernel, _host_btf, _tools, _accelerator, _mirror, _keyrings, _images, _disk,
    )  # fmt: skip
    return [finding for check in checks for finding in _guarded(check)]


def _guarded(check: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return check()
    except EbpfError as error:
        return [Finding(check.__name__.strip("_"), "missing", error.message, "guests", error.hint)]


def _python() -> list[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    return [Finding("Python", "ok", f"{version} ({sys.executable})", "both")]


def _host_kernel() -> list[Finding]:
    from pytest_ebpf.kernels.host import open_host_kernel

    try:
        kernel = open_host_kernel()
    except EbpfError as error:
        return [Finding("bpf() on this kernel", "missing", error.message, "host", error.hint)]
    from pytest_ebpf.kernels.local import LocalKernel

    direct = isinstance(kernel, LocalKernel)
    kernel.close()
    return [Finding("bpf() on this kernel", "ok", "in this process" if direct else "through sudo -n", "host")]


def _host_btf() -> list[Finding]:
    path = Path("/sys/kernel/btf/vmlinux")
    if path.exists():
        return [Finding("BTF of this kernel", "ok", f"{path} ({path.stat().st_size / 1e6:.1f} MB)", "host")]
    return [Finding("BTF of this kernel", "note", "none: CO-RE, fentry and kfuncs cannot work on host", "host")]


def _tools() -> list[Finding]:
    from pytest_ebpf.vm.guest.tools import find_tools, missing_tools

    missing = missing_tools()
    if missing:
        return [Finding(name, "missing", "not found", "guests", way_out) for name, way_out in missing.items()]
    tools = find_tools()
    return [Finding("QEMU and virtme-ng", "ok", f"{tools.qemu}, {tools.virtme_run}", "guests")]


def _accelerator() -> list[Finding]:
    from pytest_ebpf.vm.guest.accel import device_problem

    problem = device_problem()
    if problem:
        return [Finding("KVM", "note", f"{problem}: guests are emulated (5 to 10 times slower)", "guests")]
    return [Finding("KVM", "note", "/dev/kvm opens; the first guest boot shows whether it works", "guests")]


def _mirror() -> list[Finding]:
    from pytest_ebpf.vm.images.mirror import find_mirror

    find_mirror("")
    return [Finding("Debian mirror", "ok", "found in apt's configuration or the environment", "kernels fetch")]


def _keyrings() -> list[Finding]:
    if shutil.which("gpgv") is None:
        way_out = "apt-get install gpgv debian-archive-keyring"
        return [Finding("signatures", "note", "no gpgv: package indexes are not verified", "kernels fetch", way_out)]
    return [Finding("signatures", "ok", "gpgv is there", "kernels fetch")]


def _images() -> list[Finding]:
    from pytest_ebpf.vm.images.image import ImageConfig

    entries = ImageConfig().store.entries()
    names = ", ".join(sorted(entry.release for entry in entries))
    if names:
        return [Finding("kernels in the cache", "ok", names, "guests")]
    way_out = "run: pytest-ebpf kernels fetch 5.10 6.1 6.12 newest"
    return [Finding("kernels in the cache", "missing", "none yet", "guests", way_out)]


def _disk() -> list[Finding]:
    from pytest_ebpf.vm.images.cache import default_cache

    place = default_cache()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < _ROOM_FOR_A_KERNEL:
        way_out = "run: pytest-ebpf kernels prune, or set PYTEST_EBPF_CACHE to a larger disk"
        return [Finding("disk", "note", f"{free / 1e6:.0f} MB free in {place}", "kernels fetch", way_out)]
    return [Finding("disk", "ok", f"{free / 1e9:.0f} GB free in {place}", "kernels fetch")]


def _print(findings: Sequence[Finding], *, usable: set[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    for one in findings:
        mark, colour = _MARKS[one.state]
        detail = f"{one.detail}\n{one.way_out}" if one.way_out else one.detail
        table.add_row(f"[{colour}]{mark}[/]", one.name, detail)
    console = Console()
    console.print(table)
    words = {"host": "on this kernel (--bpf-kernels=host)", "guests": "in guests (--bpf-kernels=6.1)"}
    can = " and ".join(words[kind] for kind in ("host", "guests") if kind in usable)
    console.print(f"\nTests can run {can}." if can else "\nTests cannot run here yet: see ✗ above.")
