"""How a state came about: from the instruction at fault back to where the value was made, and the branches since.

This is what 7.3's own report calls the causal path, read from the trace of any kernel.
"""

from __future__ import annotations

from pytest_ebpf.frozen import dataclass
from pytest_ebpf.verifier.explain.error_path import Path
from pytest_ebpf.verifier.explain.register_text import describe, type_words
from pytest_ebpf.verifier.log.trace import Instruction

__all__ = ["Cause", "branches_since", "origin_of"]

_MOST = 16  # steps kept; of a loop's rounds each instruction once
_HOPS = 5000  # steps looked at
_BRANCHES = 32  # of a long path the last ones; half of what 7.3 prints at most


@dataclass(frozen=True, slots=True)
class Cause:
    """A step that matters: its position in the path, the instruction, and what it did. ``kind`` is ``update`` (a value
    was made or changed), ``branch`` (a way was taken) or ``acquire``."""

    position: int
    insn: Instruction
    kind: str
    what: str


def origin_of(path: Path, register: int, *, before: int) -> list[Cause]:
    """The steps that made the value of a register, oldest first, as seen just before a step of the path."""
    found: dict[int, Cause] = {}  # by instruction: of the rounds of a loop the last one counts
    position = before
    for _ in range(_HOPS):
        writer = None if register == 10 or len(found) == _MOST else _writer(path, register, before=position)
        if writer is None:
            break
        index = path.index(writer)
        if index not in found:
            step = path[writer]
            found[index] = Cause(writer, step.insn, "update", _what(path, writer, register=register))
        follow = _follow(path, writer, register=register)
        if follow is None:
            break
        register, position = follow
    return sorted(found.values(), key=lambda cause: cause.position)


def _writer(path: Path, register: int, *, before: int) -> int | None:
    """The last step before ``before`` that wrote the register of the same frame (or passed it in by a call)."""
    depth = path.depth(before) if before < len(path) else (path.depth(len(path) - 1) if len(path) else 0)
    starts = (f"r{register} ", f"w{register} ", "call ") if register <= 5 else (f"r{register} ", f"w{register} ")
    for at in range(before - 1, -1, -1):
        level = path.depth(at)
        if level < depth:  # the call that led here
            return at if 1 <= register <= 5 else None
        if level == depth and path.text(at).startswith(starts):
            return at
        if level == depth + 1 and register == 0 and path.text(at).startswith("exit"):
            return at  # the end of a function called, which gave R0 its value
        if level == depth and register == 0 and "r0 = " in path.text(at)[:40]:
            return at
    return None


def _follow(path: Path, at: int, *, register: int) -> tuple[int, int] | None:
    """What to look for next: (register, position before which), None where the value begins."""
    step = path[at]
    operands = step.operands
    if step.insn.text == "exit":
        return 0, at
    if operands.call:
        passed = operands.call.startswith("pc") and at + 1 < len(path) and path.depth(at + 1) > path.depth(at)
        return (register, at) if passed and register else None
    if operands.moved_from >= 0:
        return operands.moved_from, at
    if operands.keeps:
        return register, at
    if operands.slot is not None and operands.slot[0] == 10:
        return _stored(path, operands.slot[1], before=at)
    return None


def _stored(path: Path, offset: int, *, before: int) -> tuple[int, int] | None:
    """The register last saved at that place of the stack, in the same frame."""
    depth = path.depth(before)
    for at in range(before - 1, -1, -1):
        if path.depth(at) != depth:
            if path.depth(at) < depth:
                return None
            continue
        operands = path[at].operands
        if operands.stores and operands.slot == (10, offset):
            return (int(operands.stores[1:]), at) if operands.stores[0] in "rw" else None
    return None


def _what(path: Path, at: int, *, register: int) -> str:
    step = path[at]
    operands = step.operands
    name = f"R{register}"
    after = step.after(name)
    state = f": {describe(after)}" if after is not None and after.text else ""
    if step.insn.text == "exit":
        return "the called function returns R0"
    if operands.call:
        return _after_call(path, at, name=name) + state
    if operands.moved_from >= 0:
        return f"{name} = R{operands.moved_from}{state}"
    if operands.keeps:
        return f"{name} changed{state}"
    if operands.slot is not None:
        return f"{name} loaded from {_base(path, at, register=operands.slot[0])}{operands.slot[1]:+d}{state}"
    return f"{name} set{state}"


def _base(path: Path, at: int, *, register: int) -> str:
    """What a load reads from: "the context", or the register where nothing more is known."""
    if register == 10:
        return "the stack"
    own = path[at].after(f"R{register}") if path[at].operands.writes != register else None
    known = own or path.known(f"R{register}", before=at)
    return f"{type_words(known)} " if known is not None and known.type else f"R{register}"


def _after_call(path: Path, at: int, *, name: str) -> str:
    callee = path[at].operands.call
    entered = at + 1 < len(path) and path.depth(at + 1) > path.depth(at)
    if name == "R0":
        return (
            "R0 is the return value of the function"
            if callee.startswith("pc")
            else f"R0 is the return value of {callee}"
        )
    if entered:
        return (
            f"{name} is passed as an argument" if callee.startswith("pc") else f"{name} is an argument of the callback"
        )
    return f"the call destroyed {name}, as any call does R1-R5"


def branches_since(path: Path, start: int, *, before: int) -> list[Cause]:
    """The conditional jumps from one step to another and which way was taken; of many the last."""
    found: list[Cause] = []
    for at in range(min(before, len(path) - 1) - 1, start - 1, -1):
        if not path.text(at).startswith(("if ", "may_goto")):
            continue
        step = path[at]
        jump = step.operands.jump
        following = path.index(at + 1)
        if jump and following == step.insn.index + 1 + jump:
            found.append(Cause(at, step.insn, "branch", "the condition was true: jump taken"))
        elif following == step.insn.index + 1:
            found.append(Cause(at, step.insn, "branch", "the condition was false: no jump"))
        if len(found) == _BRANCHES:
            break
    return found[::-1]
