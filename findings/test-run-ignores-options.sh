#!/usr/bin/env bash
# BPF_PROG_TEST_RUN checks its options for some types of programs and ignores them for others.
#
# One would expect: an option that a type cannot honour is refused with EINVAL for every type, as bpf(2) does for bytes
# that must be zero.
# What is true: cpu= (test.cpu) is EINVAL for a tc program, but an XDP program runs with any number, also that of a CPU
# which the machine does not have, and where it ran nobody knows. A raw tracepoint program takes any bit in test.flags
# (only BPF_F_TEST_RUN_ON_CPU means something), which XDP and tc refuse. A test that sets them may test nothing.
# Seen on Linux 6.18.44; raw system calls from Python, no package. Needs root. Exits non-zero if the kernel does otherwise.
set -euo pipefail
PYTHONPATH=$(dirname "$0") exec python3 - <<'END'
import ctypes, struct, sys

from bpf_calls import bpf, load, RETURN_0

def run(fd, data=bytes(64), cpu=0, flags=0, repeat=1):
    sent = ctypes.create_string_buffer(data, len(data)) if data else None
    back = ctypes.create_string_buffer(512)
    where = (ctypes.addressof(sent), ctypes.addressof(back)) if sent else (0, 0)
    head = struct.pack("<IIIIQQIIIIQQII", fd, 0, len(data), 512 if data else 0, *where, repeat, 0, 0, 0, 0, 0, flags, cpu)
    return bpf(10, head)[1] or "runs"


xdp, tc, raw = (load(RETURN_0, kind=kind)[0] for kind in (6, 3, 17))
seen = {
    "xdp, cpu=100000": run(xdp, cpu=100_000),
    "tc, cpu=1": run(tc, cpu=1),
    "raw_tp, flags=0x80000000": run(raw, b"", flags=1 << 31, repeat=0),
    "xdp, flags=0x80000000": run(xdp, flags=1 << 31),
    "tc, flags=0x80000000": run(tc, flags=1 << 31),
}
for what, answer in seen.items():
    print(f"{what:26} {answer}")
sys.exit(list(seen.values()) != ["runs", "EINVAL", "runs", "EINVAL", "EINVAL"])
END
