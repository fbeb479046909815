#!/usr/bin/env bash
# A log buffer that is too small makes a correct program fail to load.
#
# One would expect: the log of BPF_PROG_LOAD is output for people. If it does not fit, it is cut, and the verdict stays.
# What is true: the call fails with ENOSPC although the verifier accepted the program; nothing is loaded. Without any
# buffer the same program at the same level loads, and log_true_size says how much room its log needs (Linux 6.4 and
# later). A loader that logs must never take ENOSPC for a verdict.
# Seen on Linux 6.18.44; raw system calls from Python, no package. Needs root. Exits non-zero if the kernel does otherwise.
set -euo pipefail
PYTHONPATH=$(dirname "$0") exec python3 - <<'END'
import sys

from bpf_calls import load, RETURN_0

short = load(RETURN_0, size=32)
room = load(RETURN_0, size=4096)
none = load(RETURN_0, size=0)
print("32 bytes of log:  ", short[1] or "loaded", "- needs", short[3])
print("4096 bytes of log:", room[1] or "loaded", "-", room[2].strip()[:60])
print("no log at level 1:", none[1] or "loaded", "- would need", none[3])
sys.exit(not (short[1] == "ENOSPC" and room[0] >= 0 and none[0] >= 0 and none[3] > 32))
END
