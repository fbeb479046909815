"""Advice about accesses that may be out of bounds: of packets, map values, the stack, and lengths of helpers."""

from __future__ import annotations

import re

from pytest_ebpf.verifier.explain.fault import Fault, number
from pytest_ebpf.verifier.explain.register_text import bounds_of

__all__ = ["BOUNDS_ADVICE"]

_FRAME = 512  # bytes of stack of a function
_FAR = 0xFFFF  # the verifier keeps no proof for packet offsets that may be larger (MAX_PACKET_OFF)
_LENGTH = re.compile(r"\(1f\) r(\d+) -= r\d+")
_PROVEN = re.compile(r"R\d+\(id=(?P<id>\d+),off=-?\d+,r=(?P<r>\d+)\)")
_COMPARED = re.compile(r"\((?:3d|ad|2d|bd)\) if r\d+ (>=|<|>|<=) r\d+ goto")
_SPILLED = re.compile(r"\*\(u\d+ \*\)\(r10 -\d+\)$")
_INDEX = re.compile(r"\[([^][]*[A-Za-z_][^][]*)\]")
_AGAIN = "After a helper that changes the packet, load data and data_end again and check again."


def _packet(fault: Fault) -> str:
    ends = set(re.findall(r"\bR(\d+)(?:_\w+)?=pkt_end", fault.log))
    if any(found[1] in ends for found in _LENGTH.finditer(fault.log)):
        return (
            "A length was compared (data_end - data), which proves nothing to the verifier: the subtraction makes a "
            "number. "
            "Compare pointers instead: if (data + off + size > data_end) return, with the same pointer that is read."
        )
    proven = _PROVEN.search(fault.message)
    if proven is None:
        return ""
    held, needed = int(proven["r"]), number(fault, "off") + number(fault, "size")
    register = fault.register
    highest = bounds_of(register)[1] if register is not None else None
    if held == 0 and highest is not None and highest > _FAR:
        return (
            "Bound the offset first (if (off > MAX) return, or off &= MAX), add it, then compare the result with "
            f"data_end just before the access: it may be larger than {_FAR}, and then no comparison with data_end "
            f"proves anything. {_AGAIN}"
        )
    if held == 0:
        moved = ", after a value that is not constant was added to it" if proven["id"] != "0" else ""
        return (
            "Compare with data_end just before the access, this very pointer, also in every round of a loop: "
            f"if (p + {number(fault, 'size')} > data_end) return. No byte behind {fault.name} is proven{moved}; a "
            f"check of another pointer, or one before an addition, does not count. {_AGAIN}"
        )
    text = (
        "Compare with data_end for all that is read, as in if (p + size > data_end) return with the size of the "
        f"structure that is really there: the checks before prove {held} bytes, and this access needs {needed}. "
        + _AGAIN
    )
    compared = _COMPARED.findall(fault.log)
    if needed == held + 1 and compared and compared[-1] in (">=", "<"):
        text += (
            " Kernels before 5.16 (stable releases got a correction) prove one byte less for >= and < than for >: "
            "write it as if (p + 1 > data_end) return."
        )
    return text


def _memory(fault: Fault) -> str:
    room, off, size = (number(fault, name) for name in ("room", "off", "size"))
    if off < 0:
        return (
            "Make the index unsigned, or exclude negative values (and 0 before 1 is taken from it) right before the "
            f"access: the offset can be {off}."
        )
    if fault.callee:
        return (
            "Pass the address of memory that large (a whole structure: the kernel's may be larger than the program's), "
            f"bound its index so that the last element fits, or pass a smaller size: {fault.callee}() accesses {size} "
            f"bytes at {fault.subject}, of which {max(room - off, 0)} are left."
        )
    index = _INDEX.findall(fault.source)
    name = f" ({index[-1].strip()})" if index else ""
    if size > room:
        return (
            f"Declare the value as large as its users: the access takes {size} bytes, and the whole value has {room}."
        )
    return (
        f"Check the index{name} just before the access, as an unsigned number, with < and the number of elements (or "
        f"mask it): the offset can be {off}, and {room - size} is the last at which {size} bytes fit into {room}. Use "
        "the checked variable itself; the compiler may keep a copy that the verifier knows nothing about."
    )


def _index(fault: Fault) -> str:
    index = _INDEX.findall(fault.source)
    name = f" ({index[-1].strip()})" if index else ""
    return (
        f"Check the index{name} just before the access, as an unsigned number, against the number of "
        f"elements (if (i >= N) return, or i &= N - 1). {fault.state}Use the checked variable itself; the compiler may "
        "keep a copy that the verifier knows nothing about (barrier_var() or a volatile variable keeps them together)."
    )


def _length(fault: Fault) -> str:
    which = f"the length ({fault.expression})" if fault.expression else "the length"
    last = next((cause.insn.text for cause in reversed(fault.causes) if cause.kind == "update"), "")
    spilled = (
        " It was kept on the stack in between, where older kernels lose the bounds (of fewer than 8 bytes before 5.16):"
        " bound it again at the point of use."
    ) * (_SPILLED.search(last) is not None)
    masked = (
        " The source masks it, but the compiler dropped or moved the mask: an asm volatile barrier keeps it there."
    ) * ("&" in fault.expression)
    return (
        f"Bound {which} from both sides just before the call: keep it in an unsigned variable, "
        f"if (len > MAX) return, or len &= MAX - 1. {fault.state}A check of another copy does not count: where the "
        "compiler keeps two, barrier_var(len) before the check or the mask makes it one. What a helper returns may be "
        "negative."
        f"{spilled}{masked}"
    )


def _zero(fault: Fault) -> str:
    which = f" ({fault.expression})" if fault.expression else ""
    return (
        f"The bounds of the length{which} include 0: exclude it just before the call (if (len == 0 || len > MAX) "
        "return), or leave out the call for an empty range. A mask alone (len &= MAX - 1) allows 0."
    )


def _offset(fault: Fault) -> str:
    return (
        "Keep the offset in an unsigned variable and mask or compare it (off &= MAX - 1; if (off > MAX) return) right "
        f"before it is added to the pointer: the lower bound is missing. {fault.state}What a helper returns may be "
        "negative: check it first. Another compiler version may keep the bound where this one loses it."
    )


def _unset(fault: Fault) -> str:
    at = re.search(r"off (?P<off>-?\d+)\+(?P<byte>\d+) size (?P<size>\d+)", fault.message)
    if at is None:
        return ""
    newer = "Linux 6.4 and later accept it from privileged loaders."
    if "indirect" not in fault.message and "call" not in fault.insn:
        return (
            "Give the variable a value where it is declared (= {}), on every path and for every field, or clear it "
            f"with __builtin_memset(): the variable at fp{at['off']} ({at['size']} bytes) is read, and on this path "
            f"nothing was written there. {newer}"
        )
    if at["byte"] == "0":
        old = " Before 4.7 even a buffer that a helper only fills must have been written." if _is_old(fault) else ""
        return (
            "Initialise the whole variable first (__builtin_memset(&v, 0, sizeof(v)) or = {}): nothing was written to "
            f"the {at['size']} bytes at fp{at['off']} before their address was passed on.{old} {newer}"
        )
    return (
        "Clear the whole variable first (__builtin_memset(&v, 0, sizeof(v)), as = {} may leave padding out; "
        f"core::mem::zeroed() in Rust). Byte {at['byte']} of the {at['size']} passed was never written: if all fields "
        "are set, it is padding that the compiler added, which can also be a field of its own, or be packed away. "
        + newer
    )


def _is_old(fault: Fault) -> bool:
    """Kernels before 4.10 print the number of a helper alone."""
    return re.match(r"call \d+$", fault.insn) is not None


def _stack(fault: Fault) -> str:
    if number(fault, "off") >= -_FRAME:
        return ""
    return (
        "Move the large variables (buffers, structures) into a per-CPU array map with one entry and use a pointer to "
        f"its value, or make them smaller: those of this function need more than {_FRAME} bytes of stack."
    )


BOUNDS_ADVICE = {
    "packet-access": _packet,
    "map-value": _memory,
    "map-key": _memory,
    "memory-region": _memory,
    "index-unbounded": _index,
    "index-negative": _index,
    "size-unbounded": _length,
    "size-negative": _length,
    "size-zero": _zero,
    "offset-unbounded": _offset,
    "stack-unset": _unset,
    "stack-other": _stack,
    "stack-range": _stack,
}
