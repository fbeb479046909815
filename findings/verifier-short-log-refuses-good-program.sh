#!/usr/bin/env bash
# A log buffer that is too small makes a correct program fail to load.
#
# One would expect: the log of BPF_PROG_LOAD is output for people. If it does not fit, it is cut, and the verdict stays.
# What is true: the call fails with ENOSPC although the verifier accepted the program; nothing is loaded. Without any
# buffer the same program at the same level loads, and log_true_size says how much room its log needs (Linux 6.4 and
# later). A loader that logs must never take ENOSPC for a verdict.
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


short = load(RETURN_0, size=32)
room = load(RETURN_0, size=4096)
none = load(RETURN_0, size=0)
print("32 bytes of log:  ", short[1] or "loaded", "- needs", short[3])
print("4096 bytes of log:", room[1] or "loaded", "-", room[2].strip()[:60])
print("no log at level 1:", none[1] or "loaded", "- would need", none[3])
sys.exit(not (short[1] == "ENOSPC" and room[0] >= 0 and none[0] >= 0 and none[3] > 32))
END
