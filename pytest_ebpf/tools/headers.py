"""The types of a C header as an object file, by clang of this machine."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from pytest_ebpf.errors import BpfUsageError

__all__ = ["compile_header"]

_NAMES = ("clang", *(f"clang-{version}" for version in range(26, 10, -1)))
_FLAGS = ("-target", "bpf", "-g", "-fno-eliminate-unused-debug-types", "-c", "-x", "c", "-o")
_PATIENCE = 60.0
# What vmlinux.h would give to a header that relies on the file that includes it.
_PRELUDE = """#include <linux/types.h>
#include <stdbool.h>
typedef __u8 u8; typedef __u16 u16; typedef __u32 u32; typedef __u64 u64;
typedef __s8 s8; typedef __s16 s16; typedef __s32 s32; typedef __s64 s64;
"""


def compile_header(path: Path) -> tuple[bytes, tuple[Path, ...]]:
    """An object with the types of a header in its DWARF, and the files that the header includes. It may use ``u32`` and
    the like without including them. ``BpfUsageError`` when there is no clang, or it refuses the header."""
    clang = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if clang is None:
        raise BpfUsageError(
            f"types={str(path)!r}: reading a C header needs clang, which is not installed",
            hint="Give an object that holds the types: clang -g -target bpf -fno-eliminate-unused-debug-types -c.",
        )
    with tempfile.TemporaryDirectory() as directory:
        source, out, rule = (Path(directory, f"types.{end}") for end in ("c", "o", "d"))
        errors = ""
        for prelude in ("", _PRELUDE):
            source.write_text(f'{prelude}#include "{path.resolve()}"\n')
            wrong = _run((clang, "-MD", "-MF", str(rule), *_FLAGS, str(out), *_includes(), str(source)))
            if not wrong:
                return out.read_bytes(), tuple(found for found in _read_rule(rule.read_text()) if found != source)
            errors = errors or wrong
    raise BpfUsageError(f"types={str(path)!r}: clang refuses it: {errors}")


def _read_rule(text: str) -> list[Path]:
    """The files that a rule of a makefile names behind its colon; a blank in a name is written with a backslash."""
    names = re.findall(r"(?:\\[^\n]|[^\s\\])+", text.partition(": ")[2])
    return [Path(re.sub(r"\\(.)", r"\1", name).replace("$$", "$")) for name in names]


def _includes() -> list[str]:
    """Where Debian keeps the headers that depend on the machine."""
    return [f"-I{found}" for found in sorted(Path("/usr/include").glob("*-linux-gnu")) if (found / "asm").is_dir()]


def _run(argv: tuple[str, ...]) -> str:
    """The first error, "" when there is none."""
    try:
        result = subprocess.run(argv, capture_output=True, check=False, timeout=_PATIENCE)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if not result.returncode:
        return ""
    text = result.stderr.decode(errors="replace")
    return next((line for line in text.splitlines() if "error:" in line), text.strip() or "it failed")
