"""Hand-assembled programs: what the contract suite loads, without a compiler."""

from __future__ import annotations

import struct

from pytest_ebpf.agent.ops import FdPatch, Obj, ProgLoad

XDP, SOCKET_FILTER, SCHED_CLS, PERF_EVENT, CGROUP_SKB, RAW_TRACEPOINT, SYSCALL = 6, 1, 3, 7, 8, 17, 31
KPROBE = 2
R0, R1, R2, R3, R4, R5, R6, R7, R10 = 0, 1, 2, 3, 4, 5, 6, 7, 10
XDP_DROP, XDP_PASS = 1, 2


def insn(code: int, dst: int = 0, src: int = 0, *, off: int = 0, imm: int = 0) -> bytes:
    return struct.pack("=BBhi", code, dst | src << 4, off, imm)


def mov(dst: int, imm: int) -> bytes:
    return insn(0xB7, dst, imm=imm)


def copy(dst: int, src: int) -> bytes:
    return insn(0xBF, dst, src)


def add(dst: int, imm: int) -> bytes:
    return insn(0x07, dst, imm=imm)


def load32(dst: int, src: int, *, off: int) -> bytes:
    return insn(0x61, dst, src, off=off)


def load64(dst: int, src: int, *, off: int) -> bytes:
    return insn(0x79, dst, src, off=off)


def store32(dst: int, imm: int, *, off: int) -> bytes:
    return insn(0x62, dst, off=off, imm=imm)


def store64(dst: int, imm: int, *, off: int) -> bytes:
    return insn(0x7A, dst, off=off, imm=imm)


def store_reg32(dst: int, src: int, *, off: int) -> bytes:
    return insn(0x63, dst, src, off=off)


def atomic_add64(dst: int, src: int, *, off: int) -> bytes:
    return insn(0xDB, dst, src, off=off)


def map_fd(dst: int) -> bytes:
    """ld_imm64 of a map; the fd is patched into the first slot."""
    return insn(0x18, dst, 1) + insn(0)


def map_index(dst: int, index: int) -> bytes:
    """ld_imm64 of entry ``index`` of fd_array."""
    return insn(0x18, dst, 5, imm=index) + insn(0)


def call(helper: int) -> bytes:
    return insn(0x85, imm=helper)


def jump_eq(dst: int, imm: int, *, off: int) -> bytes:
    return insn(0x15, dst, off=off, imm=imm)


def exit_() -> bytes:
    return insn(0x95)


def returning(value: int) -> bytes:
    return mov(R0, value) + exit_()


def program(insns: bytes, type: int = XDP, *, maps: tuple[Obj, ...] = (), **more: object) -> ProgLoad:
    """A ProgLoad; ``maps`` are patched into the ld_imm64 slots in order."""
    slots = [i for i in range(len(insns) // 8) if insns[i * 8] == 0x18 and insns[i * 8 + 1] >> 4 == 1]
    patches = tuple(FdPatch(slot, target) for slot, target in zip(slots, maps, strict=True))
    return ProgLoad(type=type, insns=insns, license="GPL", patches=patches, name="prog", **more)  # type: ignore[arg-type]


def counting(value: int = XDP_PASS) -> bytes:
    """Adds 1 to slot 0 of an array of u64 (or its per-CPU kin), then returns ``value``."""
    return (
        store32(R10, 0, off=-4)
        + copy(R2, R10)
        + add(R2, -4)
        + map_fd(R1)
        + call(1)  # map_lookup_elem
        + jump_eq(R0, 0, off=2)
        + mov(R1, 1)
        + atomic_add64(R0, R1, off=0)
        + returning(value)
    )


def emitting(value: int, *, size: int = 8) -> bytes:
    """ringbuf_output of ``size`` bytes whose first u64 is ``value``."""
    body = b"".join(store64(R10, value if at == 0 else 0, off=at - size) for at in range(0, size, 8))
    return (
        body
        + map_fd(R1)
        + copy(R2, R10)
        + add(R2, -size)
        + mov(R3, size)
        + mov(R4, 0)
        + call(130)
        + returning(XDP_PASS)
    )


def discarding() -> bytes:
    """ringbuf_reserve of 8 bytes, then ringbuf_discard."""
    return (
        map_fd(R1) + mov(R2, 8) + mov(R3, 0) + call(131) + jump_eq(R0, 0, off=3)
        + copy(R1, R0) + mov(R2, 0) + call(133) + returning(XDP_PASS)
    )  # fmt: skip


def perf_emitting(value: int) -> bytes:
    """perf_event_output of one u64 on the current CPU."""
    return (
        store64(R10, value, off=-8)
        + map_fd(R2)
        + insn(0x18, R3, 0, imm=-1)  # BPF_F_CURRENT_CPU: the low 32 bits, not sign-extended
        + insn(0)
        + copy(R4, R10)
        + add(R4, -8)
        + mov(R5, 8)
        + call(25)
        + returning(XDP_PASS)
    )


def printing(text: bytes) -> bytes:
    """trace_printk of at most 8 characters."""
    (value,) = struct.unpack("=q", text.ljust(8, b"\0"))
    low, high = struct.unpack("=ii", struct.pack("=q", value))
    return (
        insn(0x18, R1, 0, imm=low) + insn(0, imm=high) + insn(0x7B, R10, R1, off=-8)
        + copy(R1, R10) + add(R1, -8) + mov(R2, 8) + call(6) + returning(XDP_PASS)
    )  # fmt: skip
