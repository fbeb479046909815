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


many = b"".join(insn(0xB7, imm=number) for number in range(2000)) + RETURN_0
fd, error, text, size = load(many, size=1 << 20)
done = "loaded"
print(f"{error or done}: the log has {len(text)} bytes, log_true_size is {size}")
print("the log:", text.strip())
sys.exit(not (fd >= 0 and len(text) < 200 and size > 10_000))
END
