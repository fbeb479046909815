"""Our disassembler against the kernel's own: kernel/bpf/disasm.c, compiled where it is used, on random instructions.

    python benchmarks/disasm.py LINUX_SOURCE [--count N] [--seed N]

LINUX_SOURCE: an unpacked kernel source. Both print the same instructions without names; a difference is printed and
makes the exit status 1. What a kernel does not know yet it calls BUG_…: such lines do not count, their number is shown.
"""

from __future__ import annotations

import argparse
import random
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pytest_ebpf.features.helper_table import HELPERS
from pytest_ebpf.obj.disasm import InsnNames, insn_text
from pytest_ebpf.obj.insn import INSN_SIZE, LD_IMM64, unpack_insns

_SHOWN = 20
_MAIN = r"""
#include <stdarg.h>
#include <stdio.h>
#include <linux/bpf.h>
#include "disasm.h"

static void print(void *data, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
}

int main(void)
{
	const struct bpf_insn_cbs callbacks = { .cb_print = print };
	struct bpf_insn pair[2];

	while (fread(pair, sizeof(pair), 1, stdin) == 1) {
		print_bpf_insn(&callbacks, pair, 1);
		putchar('\n');
	}
	return 0;
}
"""


def main() -> None:
    """Compare and count."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    pairs = list(random_pairs(random.Random(arguments.seed), count=arguments.count))
    names = InsnNames(helpers=HELPERS)
    differences = unknown = 0
    for pair, theirs in zip(pairs, kernel_texts(arguments.source, pairs), strict=True):
        ours = insn_text(unpack_insns(pair), 0, names=names)
        newer = "gotox" in ours and "goto " in theirs  # Linux 6.19
        if newer or ("BUG_" in theirs and "BUG_" not in ours):
            unknown += 1
        elif ours != theirs and (differences := differences + 1) <= _SHOWN:
            print(f"{pair.hex()}: kernel {theirs!r}, ours {ours!r}")
    print(f"{len(pairs)} instructions, {differences} differences, {unknown} that this kernel does not know")
    sys.exit(bool(differences))


def random_pairs(rng: random.Random, *, count: int) -> Iterator[bytes]:
    """Two slots each: every opcode equally often, the other fields from few telling values and from anything."""
    for number in range(count):
        code = number % 256
        off = rng.choice((0, 0, 1, 2, -1, 8, 16, 32, rng.randrange(-(1 << 15), 1 << 15)))
        atomics = (0, 1, 0x40, 0x41, 0x50, 0x51, 0xA0, 0xA1, 0xE1, 0xF1, 0x100, 0x110)
        imm = rng.choice((*atomics, 16, 32, 64, -1, rng.randrange(250), rng.randrange(-(1 << 31), 1 << 31)))
        registers = rng.randrange(11) | rng.choice((0, 0, 1, 2, rng.randrange(11))) << 4
        second = struct.pack("<BBhi", 0, 0, 0, rng.randrange(-(1 << 31), 1 << 31) if code == LD_IMM64 else 0)
        yield struct.pack("<BBhi", code, registers, off, imm) + second
        assert len(second) == INSN_SIZE


def kernel_texts(source: Path, pairs: list[bytes]) -> list[str]:
    """What the kernel's function prints for each pair."""
    with tempfile.TemporaryDirectory(prefix="disasm-") as place:
        program = Path(place, "main")
        Path(place, "main.c").write_text(_MAIN)
        includes = ("kernel/bpf", "tools/include", "tools/include/uapi")
        command = ["gcc", "-w", "-o", str(program), f"{place}/main.c", str(source / "kernel/bpf/disasm.c")]
        command += [f"-I{source / folder}" for folder in includes]
        built = subprocess.run([*command, "-D__KERNEL__=0"], capture_output=True, text=True)
        if built.returncode:
            sys.exit(f"{' '.join(command)}:\n{built.stderr[:2000]}")
        done = subprocess.run([program], input=b"".join(pairs), capture_output=True, check=True)
    return done.stdout.decode().replace("\n\n", "\n").splitlines()


if __name__ == "__main__":
    main()
