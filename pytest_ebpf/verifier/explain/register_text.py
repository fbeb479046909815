"""The content of a register as English text."""

from __future__ import annotations

from pytest_ebpf.verifier.log.state import Register

__all__ = ["bounds_of", "describe", "type_words"]

# The kernel's name for a type (kernel/bpf/log.c: reg_type_str) -> ours. "_or_null" and prefixes are handled apart.
_TYPES = {
    "ctx": "the context",
    "map_ptr": "a map",
    "map_value": "a map value",
    "map_key": "a map key",
    "pkt": "packet data",
    "pkt_meta": "packet metadata",
    "pkt_end": "the end of the packet",
    "flow_keys": "flow keys",
    "sock": "a socket",
    "sock_common": "a socket",
    "tcp_sock": "a TCP socket",
    "xdp_sock": "an XDP socket",
    "mem": "memory of known size",
    "alloc_mem": "a reserved record",
    "ringbuf_mem": "a reserved record",
    "rdonly_mem": "read-only memory",
    "buf": "a buffer",
    "rdonly_buf": "a read-only buffer",
    "rdwr_buf": "a buffer",
    "func": "a function",
    "arena": "arena memory",
    "dynptr_ptr": "a dynptr",
}
_PREFIXES = {
    "trusted_": "trusted",
    "rcu_": "under RCU",
    "untrusted_": "untrusted",
    "percpu_": "per CPU",
    "user_": "of user space",
    "rdonly_": "read-only",
}


def describe(register: Register) -> str:
    """``map_value_or_null(map=counts,ks=4,vs=8)`` -> "a map value or NULL (map counts, 8 bytes)"."""
    if register.type == "scalar":
        return _number(register)
    if register.type == "fp":
        return f"the stack, offset {register.attribute('off')}".replace("+", "")
    if register.type in ("bytes", ""):
        return f"bytes {register.text}" if register.text else "not written on this path"
    details = ", ".join(_details(register))
    return type_words(register) + (f" ({details})" if details else "")


def type_words(register: Register) -> str:
    """The type alone: "a map value or NULL"."""
    name = register.type
    if name in ("scalar", "fp"):
        return "a number" if name == "scalar" else "the stack"
    base = name.removesuffix("_or_null")
    null = " or NULL" if base != name else ""
    if base in _TYPES:
        return _TYPES[base] + null
    notes = []
    for prefix, words in _PREFIXES.items():
        if base.startswith(prefix):
            base = base.removeprefix(prefix)
            notes.append(words)
    if base.startswith("ptr_or_null_"):
        base, null = base.removeprefix("ptr_or_null_"), " or NULL"
    elif base.startswith("ptr_"):
        base = base.removeprefix("ptr_")
    else:
        return _TYPES.get(base, base) + (f", {', '.join(notes)}" if notes else "") + null
    return f"a pointer to {base}" + (f", {', '.join(notes)}" if notes else "") + null


def _details(register: Register) -> list[str]:
    given = dict(register.attributes)
    found = []
    if "map" in given:
        found.append(f"map {given['map']}")
    for key in ("vs", "sz", "mem_size"):
        if key in given and (
            register.type.startswith(("map_value", "mem", "alloc", "ringbuf", "rdonly")) or key != "vs"
        ):
            found.append(f"{_plain(given[key])} bytes")
    offset = given.get("off", given.get("imm", "0"))
    low, high = _range(given)
    if low is not None or high is not None:
        found.append(f"offset {_between(low, high, base=offset)}")
    elif offset not in ("0", ""):
        found.append(f"offset {_plain(offset)}")
    if "r" in given:
        found.append(f"{given['r']} bytes proven")
    return found


def _plain(text: str) -> str:
    value = _int(text)
    return text if value is None else str(value)


def _int(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return int(text, 0)
    except ValueError:
        return None


def _number(register: Register) -> str:
    if register.constant is not None:
        return f"the number {register.constant}"
    if lost := register.attribute("lost"):
        return f"a number; it was {lost}"
    low, high = _range(dict(register.attributes))
    if low is None and high is None:
        return "a number without known bounds"
    return f"a number, {_between(low, high)}"


def bounds_of(register: Register) -> tuple[int | None, int | None]:
    """The lowest and the highest value (of a pointer: what was added to it); None for a bound that is not known."""
    if register.constant is not None:
        return register.constant, register.constant
    return _range(dict(register.attributes))


def _range(given: dict[str, str]) -> tuple[int | None, int | None]:
    """The tightest bounds among the signed and the unsigned ones; old kernels call them ``umax_value``."""
    bounds = {name.removesuffix("_value"): _int(value) for name, value in given.items()}
    signed = _signed(bounds.get("smin")), _signed(bounds.get("smax"))
    unsigned = bounds.get("umin"), bounds.get("umax")
    if signed[0] is not None and signed[0] < 0:
        return signed
    if unsigned[1] is not None and unsigned[1] < 2**63:
        return unsigned[0] or 0, unsigned[1]
    if signed == (None, None) and unsigned == (None, None):
        return None, None
    return (signed[0] if signed[0] is not None else unsigned[0]), signed[1]


def _signed(value: int | None) -> int | None:
    """Big negative numbers are printed as if unsigned: 0xffffffff80000000."""
    return value - 2**64 if value is not None and value >= 2**63 else value


def _between(low: int | None, high: int | None, *, base: str = "0") -> str:
    start = _int(base) or 0
    if low is None:
        return f"at most {_show((high or 0) + start)}"
    if high is None:
        return f"at least {_show(low + start)}"
    return f"{_show(low + start)} to {_show(high + start)}"


def _show(value: int) -> str:
    return hex(value) if abs(value) > 0xFFFF else str(value)
