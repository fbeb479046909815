"""How far a program came before it was refused: "both refused" says little when one of two loaders never asked the
kernel."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["KERNEL", "LOADER", "MAP", "VERIFIER", "stage_in_words"]

# LOADER: it did not ask the kernel (a relocation, an extern, an attach target); MAP: the kernel refused a map, so that
# no program was tried; KERNEL: BPF_PROG_LOAD failed before an instruction was looked at; VERIFIER: it walked some.
LOADER, MAP, KERNEL, VERIFIER = "loader", "map", "kernel", "verifier"

# What libbpf 1.1 to 1.8 print (src/libbpf.c: bpf_object__create_maps, bpf_object_load_prog). The first row that fits.
_WORDS: tuple[tuple[str, str], ...] = (
    (r"BPF program load failed", KERNEL),
    (r"map '[^']*': failed to create", MAP),
)


def stage_in_words(theirs: dict[str, Any]) -> str:
    """The stage of a program that libbpf did not load, from what ``libbpf_load`` printed about it."""
    if theirs["walked"] >= 0:
        return VERIFIER
    return next((stage for words, stage in _WORDS if re.search(words, theirs["warnings"])), LOADER)
