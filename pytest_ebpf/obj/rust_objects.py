"""Which objects rustc made. No single mark is in all of them."""

from __future__ import annotations

import re

from pytest_ebpf.obj.elf import Elf

__all__ = ["is_rust"]

# rustc's two ways to write the name of a function: v0, and the older one with a hash at its end
_MANGLED = re.compile(r"_R[A-Z].+|_ZN.+17h[0-9a-f]{16}E")
# names of source files; and "<" in the names of types, as bpf-linker writes it
_IN_STRINGS = (b".rs\0", b"_3C_")


def is_rust(elf: Elf) -> bool:
    """Whether an object was made by rustc: its name is in .comment, a function has a mangled name, or BTF names a Rust
    source file or generic type."""
    comment, btf = elf.section(".comment"), elf.section(".BTF")
    if comment is not None and b"rustc" in comment.data:
        return True
    if btf is not None and any(mark in btf.data for mark in _IN_STRINGS):
        return True
    return any(_MANGLED.fullmatch(symbol.name) for symbol in elf.symbols)
