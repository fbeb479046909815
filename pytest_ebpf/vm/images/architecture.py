"""The processors that guests can have: what Debian, the kernel and the linker call each of them.

A spec names one behind a colon: ``6.12:arm64``. Sources: Debian's kernel flavours (debian/config of its linux package),
``uname -m``, and the triplets of Debian's multiarch tuples.
"""

from __future__ import annotations

from types import MappingProxyType

from pytest_ebpf.errors import ImageError
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.suggest import close_names, suggestion

__all__ = ["ARCHITECTURES", "MACHINES", "NATIVE", "Architecture", "find_architecture"]

NATIVE = "amd64"  # of the machines that pytest-ebpf boots guests on


@dataclass(frozen=True, slots=True)
class Architecture:
    """``name`` is Debian's, ``machine`` that of ``uname -m``, ``flavour`` that of Debian's kernels, ``triplet`` that of
    the directory of libraries, ``elf`` the number of the machine in ELF files."""

    name: str
    machine: str
    flavour: str
    triplet: str
    elf: int
    byteorder: str = "little"


ARCHITECTURES: MappingProxyType[str, Architecture] = MappingProxyType(
    {
        one.name: one
        for one in (
            Architecture(NATIVE, "x86_64", "amd64", "x86_64-linux-gnu", 62),
            Architecture("arm64", "aarch64", "arm64", "aarch64-linux-gnu", 183),
            Architecture("riscv64", "riscv64", "riscv64", "riscv64-linux-gnu", 243),
            Architecture("s390x", "s390x", "s390x", "s390x-linux-gnu", 22, "big"),
            Architecture("ppc64el", "ppc64le", "powerpc64le", "powerpc64le-linux-gnu", 21),
        )
    }
)
# Every name that people have for them -> that of ``uname -m``.
MACHINES: MappingProxyType[str, str] = MappingProxyType(
    {name: one.machine for one in ARCHITECTURES.values() for name in (one.name, one.machine, one.flavour)}
    | {"x86-64": "x86_64", "powerpc64el": "ppc64le"}
)


def find_architecture(text: str) -> Architecture:
    """The architecture of a name; ImageError names the nearest ones and lists those there are."""
    machine = MACHINES.get(text)
    for one in ARCHITECTURES.values():
        if one.machine == machine:
            return one
    near = suggestion(close_names(text, MACHINES))
    known = f"known: {', '.join(ARCHITECTURES)}"
    raise ImageError(f"unknown architecture {text!r}", hint=f"{near} ({known})" if near else known)
