"""A trace without what differs for no reason: what remains is the same from run to run, and worth a review.

Left out: kernel addresses, ids of types and kernel functions, jump distances, liveness, line numbers. Numbered anew in
the order of their appearance: ids of values and references, and the registers that a compiler chooses freely (R6 to R9,
here ``s1`` to ``s4``, by function). Written one way: names and spelling of what is known of a register. Of each
instruction the state of what it wrote is kept, as the verifier had it on the first walk.
"""

from __future__ import annotations

import itertools
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence

from pytest_ebpf.frozen import dataclass, field
from pytest_ebpf.verifier.compare.cost import line_costs
from pytest_ebpf.verifier.log.lines import without_listings
from pytest_ebpf.verifier.log.state import Register, parse_state
from pytest_ebpf.verifier.log.trace import read_instruction
from pytest_ebpf.verifier.log.values import LineInfoLike

__all__ = ["NormalLine", "normal_lines", "normal_message"]

_FIRST = re.compile(r"^(\d+): \([0-9a-f]{2}\) .*$", re.MULTILINE)
# On a separate line up to 5.16 (all of it), and since when marks of precision came between.
_NEXT_STATE = re.compile(r"^\d+: *(?:frame\d+: ?)?(?=R\d|fp-)(.*)$", re.MULTILINE)
_FUNCTION = re.compile(r"^func#\d+ @(\d+)$", re.MULTILINE)
# Not -1 and its like: addresses of data begin with ffff8881, ffffc900 or (five levels of pages) any ffXX.
_ADDRESS = re.compile(r"\b(?:0x)?ff(?!ffffff)[0-9a-f]{14}\b")
_DISTANCE = re.compile(r"\bpc([+-])\d+")
_NUMBERED = re.compile(r"(call \w+)#-?\d+")
_SAVED = re.compile(r"\b([rw])([6-9])\b")
_WRITTEN = re.compile(r"[rw](\d+) (?:[-+*/%&|^]|s?<<|s?>>|s[/%])?= ")
_STORE = re.compile(r"\*\(u\d+ \*\)\(r10 (-\d+)\) = ")
# A stack slot of bytes, of which the last may be a number saved there (since 6.7; 7.1 marks dead ones with p).
_SLOT_BYTES = re.compile(r"([m0?rp]{4,8})(?:$|-?\d|0x|P|scalar)")
_IDS = ("id", "ref_obj_id", "ref_id", "dynptr_id", "parent_id")
_NAMES = {
    "smin_value": "smin", "smax_value": "smax", "umin_value": "umin", "umax_value": "umax",
}  # fmt: skip
_DERIVED = re.compile(r"[su]?(?:32_)?(?:min|max)(?:_value)?32|[su]32_(?:min|max)(?:_value)?")
_UNSTABLE = ("map", "imm", "ptr_id")


@dataclass(frozen=True, slots=True)
class NormalLine:
    """A source line in the trace. ``walked`` counts instructions over all walks; ``insns`` are its instructions and
    what they wrote. ``number``: its line number now, which is not compared. ``text`` is "" for
    instructions of no known line."""

    file: str
    text: str
    walked: int
    insns: tuple[str, ...] = ()
    number: int | None = field(default=None, compare=False)

    @property
    def place(self) -> str:
        """``file:12: text``, as far as known."""
        if not self.text:
            return "code of no known line"
        where = f"{self.file}:{self.number}" if self.number else self.file
        return f"{where}: {self.text}" if where else self.text


def normal_message(text: str) -> str:
    """A verifier message without addresses and numbers that the kernel gives at random."""
    return _NUMBERED.sub(r"\1", _ADDRESS.sub("ADDRESS", text)).strip()


def normal_lines(trace: str, line_info: Sequence[LineInfoLike]) -> tuple[NormalLine, ...]:
    """The source lines of a trace (log level 2; of a rejection, level 1), in the order of their code."""
    insns = _instructions(without_listings(trace))
    found: list[NormalLine] = []
    for cost in line_costs(trace, line_info):
        source = cost.source
        found.append(
            NormalLine(
                file=(source.file or "") if source else "",
                text=source.text if source else "",
                walked=cost.walked,
                insns=tuple(insns[index] for index in cost.insns if index in insns),
                number=source.line if source else None,
            )
        )
    return tuple(found)


def _instructions(trace: str) -> dict[int, str]:
    """Instruction index -> its text and what it wrote, as it was walked first."""
    found: dict[int, tuple[str, Register | None]] = {}
    for line, following in itertools.pairwise((*_FIRST.finditer(trace), None)):
        assert line is not None
        index = int(line[1])
        if index not in found:
            found[index] = _read(line[0], trace[line.end() : following.start() if following else len(trace)])
    ids: dict[tuple[str, str], int] = {}
    names = _saved_registers({index: text for index, (text, _) in found.items()}, trace=trace)
    written = {}
    for index, (text, register) in found.items():
        plain = _SAVED.sub(lambda saved, index=index: names[index][saved[0][1:]], text)  # type: ignore[misc]
        value = f"  ; {_value(register, ids)}" if register is not None else ""
        written[index] = plain + value
    return written


def _read(line: str, following: str) -> tuple[str, Register | None]:
    """The text of an instruction, and the state of what it wrote where the log has it."""
    insn = read_instruction(line, 0)
    text = _NUMBERED.sub(r"\1", _DISTANCE.sub(r"pc\1", _ADDRESS.sub("ADDRESS", insn.text)))
    name = _written(insn.text)
    if not name:
        return text, None
    comment = insn.comment
    if not comment and (state := _NEXT_STATE.search(following)):
        comment = state[1]
    return text, parse_state(comment).get(name)


def _written(text: str) -> str:
    """The register or stack slot that an instruction writes, "" for none."""
    if text.startswith("call "):
        return "R0"
    if found := _WRITTEN.match(text):
        return f"R{found[1]}"
    if found := _STORE.match(text):
        return f"fp-{(-int(found[1]) + 7) // 8 * 8}"
    return ""


def _saved_registers(texts: Mapping[int, str], *, trace: str) -> dict[int, dict[str, str]]:
    """Instruction index -> the names that R6 to R9 have in its function, by their first appearance in its code."""
    starts = sorted({0, *map(int, _FUNCTION.findall(trace))})
    functions: dict[int, dict[str, str]] = {}
    found: dict[int, dict[str, str]] = {}
    for index in sorted(texts):
        names = functions.setdefault(bisect_right(starts, index), {})
        for saved in _SAVED.finditer(texts[index]):
            names.setdefault(saved[2], f"s{len(names) + 1}")
        found[index] = names
    return found


def _value(register: Register, ids: dict[tuple[str, str], int]) -> str:
    """What is known of a register, in one spelling."""
    if register.constant is not None:
        return str(register.constant)
    kind = "scalar" if register.type == "invP" else register.type  # precise, in the words of Linux up to 5.17
    if slot := _SLOT_BYTES.match(register.text) if register.name.startswith("fp") else None:
        return (slot[1] + "m" * 8)[:8].replace("p", "?")
    if not register.attributes:
        return register.text if kind in ("", "bytes") else kind
    known: dict[str, str] = {}
    for name, value in register.attributes:
        name = _NAMES.get(name, name)
        if name in _UNSTABLE or _DERIVED.fullmatch(name) or (value == "0" and name in (*_IDS, "off")):
            continue
        known[name] = str(ids.setdefault((name, value), len(ids) + 1)) if name in _IDS else _number(name, value)
    known = _shortest(known)
    inside = ",".join(f"{name}={value}" if value else name for name, value in sorted(known.items()))
    return f"{kind}({inside})" if inside else kind


def _shortest(known: dict[str, str]) -> dict[str, str]:
    """Bounds that follow from the others are printed by some kernels only."""
    if known.get("umin") == "0":
        del known["umin"]
    if known.get("smin") == known.get("umin", "0"):
        known.pop("smin", None)
    if known.get("smax") == known.get("umax"):
        known.pop("smax", None)
    return known


def _number(name: str, text: str) -> str:
    """Decimal where the kernel prints hexadecimal, in masks too; signed what is a signed bound."""
    signed = name in ("smin", "smax")

    def decimal(found: re.Match[str]) -> str:
        number = int(found[0], 16)
        return str(number - (1 << 64) if signed and number >> 63 else number)

    return re.sub(r"0x[0-9a-f]+", decimal, text)
