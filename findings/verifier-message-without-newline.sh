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
exec python3 - <<'END'
import ctypes, errno, platform, struct, sys

libc = ctypes.CDLL(None, use_errno=True)
BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "s390x": 351}[platform.machine()]


def bpf(command, attributes):
    block = ctypes.create_string_buffer(attributes.ljust(160, b"\0"), 160)
    result = libc.syscall(BPF, command, block, 160)
    return result, "" if result >= 0 else errno.errorcode.get(ctypes.get_errno(), ctypes.get_errno()), block.raw


def insn(code, target=0, source=0, off=0, imm=0):
    return struct.pack("<BBhi", code, source << 4 | target, off, imm)


def load(code, kind=6, level=1, size=65536):
    """fd, errno, log, log_true_size of BPF_PROG_LOAD."""
    text, licence = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"GPL")
    log = ctypes.create_string_buffer(size) if size else None
    words = (ctypes.addressof(text), ctypes.addressof(licence), level, size, ctypes.addressof(log) if log else 0)
    fd, error, block = bpf(5, struct.pack("<IIQQIIQ", kind, len(code) // 8, *words))
    return fd, error, log.value.decode(errors="replace") if log else "", struct.unpack_from("<I", block, 140)[0]


RETURN_0 = insn(0xB7) + insn(0x95)
print("kernel:", platform.release())
if load(RETURN_0)[1] == "EPERM":
    sys.exit("this needs root (CAP_BPF, CAP_NET_ADMIN)")


array = bpf(0, struct.pack("<IIII", 2, 4, 8, 1))[0]
pair = insn(0x18, 2, 1, 0, array) + insn(0)
fd, error, text, _ = load(pair + insn(0xB7, 3) + insn(0x85, imm=12) + RETURN_0)
lines = text.splitlines()
print(f"{error}; the last line: {lines[-1]}")
sys.exit(not (error == "EINVAL" and lines[-1].startswith("expected prog array map for tail callprocessed ")))
END
