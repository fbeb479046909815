#!/usr/bin/env bash
# log_true_size is not the size of the log.
#
# One would expect: after a successful load, log_true_size (Linux 6.4) is the length of the text in the buffer and its NUL.
# What is true: at level 1 the verifier throws away what it wrote about a path that turned out well, so the text of an
# accepted program is one line, but log_true_size is the most that was ever in the log. Here 100 bytes of text come with
# a "true size" of some 95,000. Whoever allocates that much in the second call, or reads that many bytes of the
# buffer, gets the rests of the trace behind the NUL. The text ends at the first NUL.
# Seen on Linux 6.18.44; raw system calls from Python, no package. Needs root. Exits non-zero if the kernel does otherwise.
set -euo pipefail
PYTHONPATH=$(dirname "$0") exec python3 - <<'END'
import sys

from bpf_calls import insn, load, RETURN_0

many = b"".join(insn(0xB7, imm=number) for number in range(2000)) + RETURN_0
fd, error, text, size = load(many, size=1 << 20)
done = "loaded"
print(f"{error or done}: the log has {len(text)} bytes, log_true_size is {size}")
print("the log:", text.strip())
sys.exit(not (fd >= 0 and len(text) < 200 and size > 10_000))
END
