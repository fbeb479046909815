#!/usr/bin/env bash
# The reason of a rejection can stand in the middle of a line.
#
# One would expect: each message of the verifier is a line of its own, and the line before "processed N insns" is the
# reason. Tools that take the last line but one, or lines that begin with a known text, rely on that.
# What is true: some messages have no newline (kernel/bpf/verifier.c), so that the statistics are glued to them. Here a
# map of the wrong type is passed to bpf_tail_call(); the log has the line
# "expected prog array map for tail callprocessed 3 insns (limit 1000000) ...".
# Seen on Linux 6.18.44; raw system calls from Python, no package. Needs root. Exits non-zero if the kernel does otherwise.
set -euo pipefail
PYTHONPATH=$(dirname "$0") exec python3 - <<'END'
import struct, sys

from bpf_calls import bpf, insn, load, RETURN_0

array = bpf(0, struct.pack("<IIII", 2, 4, 8, 1))[0]
pair = insn(0x18, 2, 1, 0, array) + insn(0)
fd, error, text, _ = load(pair + insn(0xB7, 3) + insn(0x85, imm=12) + RETURN_0)
lines = text.splitlines()
print(f"{error}; the last line: {lines[-1]}")
sys.exit(not (error == "EINVAL" and lines[-1].startswith("expected prog array map for tail callprocessed ")))
END
