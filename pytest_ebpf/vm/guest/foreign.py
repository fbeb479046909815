"""Guests of another architecture: the agent for their Python, their initramfs, their machine."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pytest_ebpf.errors import BootFailed
from pytest_ebpf.frozen import replace
from pytest_ebpf.vm.guest.bundle import Agent, make_agent
from pytest_ebpf.vm.guest.command import Composition
from pytest_ebpf.vm.guest.config import Image, architecture_of, rooted_of
from pytest_ebpf.vm.guest.initramfs import Module, assemble, plain_module
from pytest_ebpf.vm.guest.platforms import PLATFORMS, machine_argv
from pytest_ebpf.vm.guest.runtime import Runtime
from pytest_ebpf.vm.images.architecture import ARCHITECTURES, NATIVE
from pytest_ebpf.vm.images.cache import Store
from pytest_ebpf.vm.images.expiry import drop_stale, mark_used
from pytest_ebpf.vm.images.rootfs import Rooted

__all__ = ["compose_foreign", "make_foreign_agent", "needed_modules"]

# What reaches the root and the agent's port; each is a module or built in.
_MODULES = ("virtio_pci", "virtio_console", "virtio_rng", "9pnet_virtio", "9p")


def make_foreign_agent(rooted: Rooted, architecture: str, *, cache: Path) -> Agent:
    """The agent for the Python of a root. Its twin, which runs here, makes the byte code and says what it maps; the
    root has the same files, but for the name of the processor in their paths."""
    twin = rooted.twin
    libraries = f"{twin}/usr/lib/{ARCHITECTURES[NATIVE].triplet}"
    starter = (f"{twin}/usr/lib64/ld-linux-x86-64.so.2", "--library-path", libraries)
    here = make_agent(cache, python=f"{twin}{rooted.python}", starter=starter)
    runtime = _moved(here.runtime, rooted, triplet=ARCHITECTURES[architecture].triplet)
    return replace(here, python=rooted.python, runtime=runtime)


def _moved(runtime: Runtime, rooted: Rooted, *, triplet: str) -> Runtime:
    """The files of another root that do what those of the twin do."""
    old, native = str(rooted.twin), ARCHITECTURES[NATIVE].triplet

    def there(path: str) -> str:
        return "/" + path.removeprefix(old).lstrip("/").replace(native, triplet)

    interpreter = _interpreter(rooted.root / rooted.python.lstrip("/"))
    mapped = [path for path, _, _ in runtime.files if _is_code(path)]
    # The suites of the two may differ, and then the last number of a library; the name of its link is the same.
    called = {path: [path, *(link for link, target in runtime.links.items() if target == path)] for path in mapped}
    names = [_first_there([there(name) for name in called[path]], root=rooted.root) for path in mapped]
    loader = _real(interpreter, root=rooted.root)
    links = dict(_links([*names, loader], root=rooted.root)) | {interpreter: loader}
    files = tuple(_stamped(name, root=rooted.root) for name in [*names, loader])
    startup = {there(path): code for path, code in runtime.startup.items()}
    return Runtime(files, links, startup, root=str(rooted.root))


def _is_code(path: str) -> bool:
    """Not the linker, which is another for each architecture, nor data that the C library maps."""
    name = PurePosixPath(path).name
    return name.startswith("python") or (".so" in name and not name.startswith("ld-linux"))


def _first_there(names: list[str], *, root: Path) -> str:
    """Where the first of the names leads that the root has. BootFailed if it has none."""
    for name in names:
        if (root / name.lstrip("/")).is_file():
            return _real(name, root=root)
    raise BootFailed(
        f"{root} lacks {names[0]}", hint="run: pytest-ebpf kernels prune --all, and fetch the kernel again"
    )


def _interpreter(program: Path) -> str:
    """The dynamic linker that an ELF program asks for (PT_INTERP)."""
    from elftools.elf.elffile import ELFFile
    from elftools.elf.segments import InterpSegment

    with program.open("rb") as stream:
        for segment in ELFFile(stream).iter_segments():
            if isinstance(segment, InterpSegment):
                return str(segment.get_interp_name())
    raise BootFailed(
        f"{program} asks for no dynamic linker", hint="run: pytest-ebpf kernels prune --all, and fetch again"
    )


def _real(path: str, *, root: Path) -> str:
    """Where a path of the root leads, as a path of the root."""
    return "/" + str((root / path.lstrip("/")).resolve().relative_to(root.resolve()))


def _links(names: list[str], *, root: Path) -> Iterator[tuple[str, str]]:
    """The names under which the linker looks for libraries."""
    for folder in sorted({str(PurePosixPath(name).parent) for name in names}):
        for entry in sorted((root / folder.lstrip("/")).iterdir()):
            if entry.is_symlink() and (target := _real(f"{folder}/{entry.name}", root=root)) in names:
                yield f"{folder}/{entry.name}", target


def _stamped(name: str, *, root: Path) -> tuple[str, int, int]:
    try:
        status = (root / name.lstrip("/")).stat()
    except OSError as error:
        raise BootFailed(f"{root} lacks {name}: {error.strerror}", hint="fetch the kernel again") from error
    return name, status.st_size, status.st_mtime_ns


def compose_foreign(image: Image, *, qemu: str, agent: Agent, cache: Path) -> Composition:
    """The machine for ``image``, from the cache when kernel, root, QEMU and agent are those of the last time."""
    platform, root = PLATFORMS[architecture_of(image)], str(rooted_of(image).root)
    facts = [machine_argv(platform, qemu=qemu, kernel=str(image.vmlinux), initramfs="", root=root)]
    stamps = [[str(one), one.stat().st_size, one.stat().st_mtime_ns] for one in (image.vmlinux, Path(qemu))]
    text = json.dumps([facts, stamps, _MODULES, agent.bundle.name, agent.runtime.files])
    home = cache / "machines" / f"{image.release}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    initramfs = home / "initramfs"
    argv = machine_argv(platform, qemu=qemu, kernel=str(image.vmlinux), initramfs=str(initramfs), root=root)
    with Store(cache).lock(f"machine-{home.name}"):
        if initramfs.is_file():
            mark_used(home)
        else:
            _write_initramfs(home, agent=agent, modules=needed_modules(image))
            drop_stale(home.parent)
    return Composition(home, tuple(argv))


def _write_initramfs(home: Path, *, agent: Agent, modules: list[Module]) -> None:
    shutil.rmtree(home, ignore_errors=True)
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent, prefix="new-") as name:
        scratch = Path(name) / "machine"
        scratch.mkdir()
        (scratch / "initramfs").write_bytes(assemble(modules, agent=agent))
        scratch.rename(home)


def needed_modules(image: Image) -> list[Module]:
    """(file name, module) of what reaches the root, each behind what it depends on (modules.dep, written by depmod)."""
    if image.modules_root is None:
        return []
    folder = image.modules_root / "lib/modules" / image.release
    depends: dict[str, list[str]] = {}
    for line in (folder / "modules.dep").read_text().splitlines():
        path, _, behind = line.partition(":")
        depends[path] = behind.split()
    by_name = {_module_name(path): path for path in depends}
    order: dict[str, None] = {}
    for name in _MODULES:
        if (found := by_name.get(name)) is not None:
            order |= dict.fromkeys([*reversed(depends[found]), found])
    return [
        (re.sub(r"\.(xz|gz|zst)$", "", Path(path).name), plain_module((folder / path).read_bytes())) for path in order
    ]


def _module_name(path: str) -> str:
    return PurePosixPath(path).name.partition(".")[0].replace("-", "_")
