"""Machines as virtme-ng composes them, kept: the QEMU command and the initramfs of a kernel."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

from pytest_ebpf.errors import BootFailed
from pytest_ebpf.files import fresh_folder
from pytest_ebpf.frozen import replace
from pytest_ebpf.vm.guest.bundle import Agent
from pytest_ebpf.vm.guest.command import AGENT_PORT, Composition, Recipe, composed_command, virtme_argv
from pytest_ebpf.vm.guest.config import Image
from pytest_ebpf.vm.guest.initramfs import make_initramfs
from pytest_ebpf.vm.guest.tools import Tools
from pytest_ebpf.vm.guest.virtiofs import lacks_9p
from pytest_ebpf.vm.images.cache import Store
from pytest_ebpf.vm.images.expiry import drop_stale, mark_used

__all__ = ["compose", "discard"]

_COMMAND = "command.json"
_TIMEOUT = 120.0
_NOWHERE = "file,id=ret,path=/dev/null"  # in place of a file for the exit status of a script
_SBIN = "/usr/sbin:/sbin"


def compose(image: Image, *, tools: Tools, agent: Agent, cache: Path, stock: bool = False) -> Composition:
    """The machine for ``image``, from the cache when kernel, modules, programs and agent are those of the last time.

    ``stock``: as virtme-ng would run it, with the kernel as packaged and its own process 1, which starts the agent.

    BootFailed with the message of virtme-run when it fails.
    """
    recipe = Recipe(
        virtme_run=tools.virtme_run,
        qemu=tools.qemu,
        busybox=tools.busybox,
        kernel=Path("root/vmlinux"),
        modules=image.modules_root is not None,
        initramfs=Path("initramfs"),
        script=f"exec {shlex.join(agent.argv)} --port {AGENT_PORT}" if stock else "",
    )
    home = cache / "machines" / _key(image, recipe, agent=agent)
    kept = _kept(home)
    if kept is not None:
        mark_used(home)
        return kept
    home.parent.mkdir(parents=True, exist_ok=True)
    with Store(cache).lock(f"machine-{home.name}"):
        if (kept := _kept(home)) is None:
            discard(home)
            kept = _build(image, recipe, agent=agent, home=home)
    drop_stale(home.parent)
    return kept


def discard(home: Path) -> None:
    """Forget a machine: it is composed again when it is needed."""
    shutil.rmtree(home, ignore_errors=True)


def _kept(home: Path) -> Composition | None:
    """What was composed before; None if there is none or its files are not as they were."""
    try:
        record = json.loads((home / _COMMAND).read_text())
        argv = tuple(str(word) for word in record["argv"])
        whole = bool(argv) and record["initramfs"] == _size(home / "initramfs") and (home / "root/vmlinux").exists()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Composition(home, argv) if whole else None


def _size(file: Path) -> list[int]:
    status = file.stat()
    return [status.st_size, int(status.st_mtime)]  # archives keep whole seconds


def _key(image: Image, recipe: Recipe, *, agent: Agent) -> str:
    """Everything that the outcome depends on; files by size and date."""
    import importlib.metadata

    files = [image.vmlinux, Path(recipe.qemu), Path(recipe.busybox)]
    if image.modules_root is not None:
        files.append(image.modules_root / "lib/modules" / image.release / "modules.dep")
    version = importlib.metadata.version("virtme-ng")
    facts = [version, virtme_argv(recipe), image.release, [_stamp(file) for file in files]]
    facts += [agent.python, agent.bundle.name, agent.runtime.files]
    return f"{image.release}-{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]}"


def _stamp(file: Path) -> tuple[str, int, int]:
    try:
        status = file.stat()
    except OSError as error:
        raise BootFailed(f"cannot boot without {file}: {error.strerror}") from error
    return str(file), status.st_size, status.st_mtime_ns


def _build(image: Image, recipe: Recipe, *, agent: Agent, home: Path) -> Composition:
    """Compose in a scratch directory, then move it into place."""
    with fresh_folder(home.parent / f"new-{home.name}") as folder:  # the lock of this machine is ours
        scratch = folder / "machine"
        _lay_out(image, scratch / "root", kernel=image.bzimage if recipe.script else None)
        theirs = scratch / recipe.initramfs
        here = replace(recipe, kernel=scratch / recipe.kernel, initramfs=theirs)
        argv = composed_command(_run(virtme_argv(here), scratch=folder), qemu=recipe.qemu)
        if not recipe.script:
            theirs.write_bytes(make_initramfs(theirs.read_bytes(), agent=agent, virtiofs=lacks_9p(image)))
        argv = [word.replace(str(scratch), str(home)) for word in argv]
        argv = [_NOWHERE if word.startswith("file,id=ret,") else word for word in argv]
        argv += ["-initrd", str(home / recipe.initramfs)]
        (scratch / _COMMAND).write_text(json.dumps({"argv": argv, "initramfs": _size(theirs)}))
        scratch.rename(home)
    return Composition(home, tuple(argv))


def _lay_out(image: Image, root: Path, *, kernel: Path | None) -> None:
    """virtme-run looks for modules in ``lib/modules`` of a directory above the kernel: make that true by links."""
    root.mkdir(parents=True)
    (root / "vmlinux").symlink_to((kernel or image.vmlinux).absolute())
    if image.modules_root is not None:
        (root / "lib").symlink_to((image.modules_root / "lib").absolute())


def _run(argv: list[str], *, scratch: Path) -> str:
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), _SBIN))
    environment = os.environ | {"PATH": path, "TMPDIR": str(scratch)}
    try:
        result = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT,
            env=environment,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BootFailed(f"virtme-run did not run: {error}") from error
    if result.returncode != 0:
        last = (result.stderr.strip().splitlines() or [f"exit status {result.returncode}"])[-1]
        raise BootFailed(f"virtme-run could not compose a machine: {last}", hint=f"it was: {' '.join(argv)}")
    return result.stdout
