"""Small programs, for properties of verifiers."""

from __future__ import annotations

from hypothesis import strategies as hypothesis_strategies
from hypothesis.strategies import DrawFn, SearchStrategy

__all__ = ["programs"]

_REGISTERS = (0, 1, 2, 3, 6, 7)
_NUMBERS = (0, 1, -1, 8, 64, 255, 0x7FFFFFFF, -0x80000000)
_WORDS = ("+=", "-=", "*=", "/=", "|=", "&=", "<<=", ">>=", "%=", "^=", "=", "s>>=")
_TESTS = ("==", "!=", ">", ">=", "<", "<=", "s>", "s>=", "s<", "s<=", "&")
_SIZES = ("u8", "u16", "u32", "u64")
_STACK = (-8, -16, -4, -1, -512, 0, -520)


def programs(*, size: int = 8) -> SearchStrategy[str]:
    """The text of a program for ``pytest_ebpf.asm``: up to ``size`` instructions on registers, the stack and the
    context, with jumps forward, and ``r0 = 0; exit`` at the end. Verifiers accept some of them."""
    return _drawn(size)


@hypothesis_strategies.composite
def _drawn(draw: DrawFn, size: int) -> str:
    count = draw(hypothesis_strategies.integers(0, size))
    lines = [draw(_insn(count - index)) for index in range(count)]
    return "\n".join([*lines, "r0 = 0", "exit"])


def _one_of(values: tuple[object, ...]) -> SearchStrategy[object]:
    return hypothesis_strategies.sampled_from(values)


@hypothesis_strategies.composite
def _insn(draw: DrawFn, left: int) -> str:
    """``left``: how many instructions there are up to the end, this one included."""
    kind = draw(hypothesis_strategies.integers(0, 6))
    dst, src = draw(_one_of(_REGISTERS)), draw(_one_of(_REGISTERS))
    if kind in (0, 1):
        letter = draw(_one_of(("r", "w")))
        right = f"{letter}{src}" if kind else str(draw(_one_of(_NUMBERS)))
        return f"{letter}{dst} {draw(_one_of(_WORDS))} {right}"
    if kind in (2, 3):
        letter, to = draw(_one_of(("r", "w"))), draw(hypothesis_strategies.integers(0, left - 1))
        right = f"{letter}{src}" if kind == 3 else str(draw(_one_of(_NUMBERS)))
        return f"if {letter}{dst} {draw(_one_of(_TESTS))} {right} goto pc+{to}"
    place = f"*({draw(_one_of(_SIZES))} *)"
    if kind == 4:
        return f"{place}(r10 {draw(_one_of(_STACK)):+d}) = r{src}"
    if kind == 5:
        return f"r{dst} = {place}(r10 {draw(_one_of(_STACK)):+d})"
    return f"r{dst} = {place}(r1 +{draw(_one_of((0, 4, 8, 16, 48)))})"
