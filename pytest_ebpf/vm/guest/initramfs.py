"""The initramfs of a guest: the modules that virtme-ng found necessary, Python, and the agent.

Python is process 1 from the first moment, so no shell is started for each module, and nothing is read over 9p until the
agent is ready: that is what makes the state of a guest fit to be saved.
"""

from __future__ import annotations

import lzma
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from pytest_ebpf.errors import BootFailed
from pytest_ebpf.vm.guest.bundle import Agent
from pytest_ebpf.vm.guest.cpio import Member, directories, read_cpio, write_cpio
from pytest_ebpf.vm.guest.runtime import runtime_members

__all__ = ["AGENT_PATH", "Module", "assemble", "make_initramfs", "ordered_modules", "plain_module"]

Module = tuple[str, bytes]  # name of the file, and what is in it

_HOME = "pytest-ebpf"  # agent.protocol.setup looks there
AGENT_PATH = f"/{_HOME}/agent.pyc"
_LOADER = "modules/load_all.sh"
# virtme-ng's list is for every machine that it knows; ours has PCI, and shares over 9p where the kernel has it.
_NEEDLESS = ("virtio_mmio.ko",)
_VIRTIOFS = ("virtiofs.ko", "fuse.ko")
_PLACES = ("proc", "sys", "dev", "newroot", "tmp", "run", "var/tmp")
_DEVICES = (("dev/console", (5, 1)), ("dev/null", (1, 3)), ("dev/kmsg", (1, 11)))


def make_initramfs(composed: bytes, *, agent: Agent, virtiofs: bool = False) -> bytes:
    """The archive. ``composed`` is the initramfs of virtme-run, of which the modules are taken. BootFailed if it is
    none."""
    return assemble(ordered_modules(composed, virtiofs=virtiofs), agent=agent)


def assemble(found: Iterable[Module], *, agent: Agent) -> bytes:
    """The archive with the agent and modules, in the order of loading."""
    modules = [
        Member(f"{_HOME}/modules/{place:02}-{name}", stat.S_IFREG | 0o644, data)
        for place, (name, data) in enumerate(found)
    ]
    bundle = Member(AGENT_PATH.lstrip("/"), stat.S_IFREG | 0o644, agent.bundle.read_bytes())
    files = [*runtime_members(agent.runtime), *modules, bundle]
    places = [f"{place}/." for place in _PLACES]
    nodes = [Member(name, stat.S_IFCHR | 0o600, device=device) for name, device in _DEVICES]
    return write_cpio([*directories([*(member.name for member in files), *places]), *nodes, *files])


def ordered_modules(composed: bytes, *, virtiofs: bool = False) -> Iterator[Module]:
    """(file name, module) in the order of loading, uncompressed."""
    try:
        found = {member.name: member.data for member in read_cpio(composed)}
    except (ValueError, UnicodeDecodeError) as error:
        raise BootFailed(f"the initramfs of virtme-run is damaged: {error}") from error
    needless = _NEEDLESS if virtiofs else (*_NEEDLESS, *_VIRTIOFS)
    for path in re.findall(r"insmod '?(\S+?)'?$", found.get(_LOADER, b"").decode(), re.MULTILINE):
        name = PurePosixPath(path).name
        if not name.startswith(needless):
            yield re.sub(r"\.(xz|gz|zst)$", "", name), plain_module(found[path])


def plain_module(module: bytes) -> bytes:
    """Uncompressed: not every kernel unpacks modules itself."""
    if module.startswith(b"\xfd7zXZ\0"):
        return lzma.decompress(module)
    if module.startswith(b"\x1f\x8b"):
        import gzip

        return gzip.decompress(module)
    if module.startswith(b"\x28\xb5\x2f\xfd"):
        import zstandard

        return zstandard.ZstdDecompressor().decompressobj().decompress(module)
    return module
