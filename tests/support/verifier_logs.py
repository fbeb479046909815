"""The real logs of the test data: 1,189 of six kernels, at log levels 1, 2, 4 and 2|4.

``verifier-logs/asm-5.10`` ... hold the same programs on several kernels, ``c-*`` and ``cbase-*`` those of errs.bpf.c
(cbase: without what old kernels lack); ``logs/`` has logs of 7.3 beside hand-picked ones of the others.
"""

from __future__ import annotations

from functools import cache

from support.paths import TESTS

DATA = TESTS / "data"
FOLDERS = (DATA / "verifier-logs", DATA / "logs")


@cache
def all_logs() -> dict[str, str]:
    """Text by name: ``asm-6.12/map_value_null.l1``. Bytes that are no UTF-8 are kept as surrogates."""
    found = {}
    for folder in FOLDERS:
        for path in sorted(folder.glob("*/*.log")):
            text = path.read_bytes().decode(errors="surrogateescape")
            found[f"{path.parent.name}/{path.stem}"] = text
    return found


def program_of(name: str) -> str:
    """``cbase-6.1/endless.l6`` -> ``c/endless``: what is the same program on several kernels."""
    folder, file = name.split("/")
    return f"{folder.partition('-')[0].replace('cbase', 'c')}/{file.partition('.')[0]}"


def kernel_of(name: str) -> str:
    """``cbase-6.1/endless.l6`` -> ``6.1``."""
    return name.split("/")[0].partition("-")[2]
