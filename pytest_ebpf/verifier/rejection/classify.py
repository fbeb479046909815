"""From a parsed log to the class of its rejection."""

from __future__ import annotations

import re

from pytest_ebpf.frozen import dataclass, replace
from pytest_ebpf.verifier.log.values import ParsedLog
from pytest_ebpf.verifier.rejection.classes import CLASSES
from pytest_ebpf.verifier.rejection.rule import Rule
from pytest_ebpf.verifier.rejection.rules import RULES, find_rule

__all__ = ["Rejection", "classify"]

_OF_PACKETS_TOO = ("outside-range", "index-negative", "index-unbounded")
_SLOT = re.compile(r"invalid read from stack(?: R\d+)? off (-\d+)\+(\d+) size")
_NEAR = 20_000  # characters before the end of the log in which a register's last state is looked for


@dataclass(frozen=True, slots=True)
class Rejection:
    """What a rejection is about.

    ``class_id`` is the stable class (``CLASSES``), ``rule_id`` the rule that found it ("" where none did), ``kind``
    who has to act on it (``KINDS``), ``headline`` one sentence, ``message`` the verifier's message, ``fields`` what
    the message names (``reg``, ``off``, ``size``, ...), ``advice`` what people do about it.
    """

    class_id: str
    kind: str
    headline: str
    message: str
    rule_id: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    advice: str = ""

    def field(self, name: str) -> str:
        """The field of that name in the message, "" when it has none."""
        return dict(self.fields).get(name, "")


def classify(log: ParsedLog) -> Rejection | None:
    """The class of a rejection; None for the log of an accepted program.

    Never raises: an unknown message is class ``unknown`` with its full text, a log without a message ``no-verdict``.
    """
    if not log.rejected:
        return None
    messages = log.messages or log.notes[-1:]
    found = find_rule(messages)
    if found is None:
        return _without_rule(log, messages)
    rule, match = _refined(log, rule=found[0]), found[1]
    fields = {name: text for name, text in match.groupdict().items() if text is not None}
    cls = CLASSES[rule.cls]
    return Rejection(
        class_id=cls.id,
        kind=rule.kind or cls.kind,
        headline=_fill(rule.headline, fields),
        message=log.error or "; ".join(messages),
        rule_id=rule.id,
        fields=tuple(fields.items()),
        advice=_advice(rule, fields),
    )


def _refined(log: ParsedLog, *, rule: Rule) -> Rule:
    """Since 7.1 the message about offsets into memory is used for packets too; where it is the only message, the
    register's last state in the trace shows what it points to."""
    if rule.id == "stack-unset" and (slot := _SLOT.search(" ".join(log.messages))):
        number = (int(slot[1]) + int(slot[2])) // 8 * 8
        held = re.search(rf"fp{number}(?:_\w+)?=(iter|dynptr)_", log.text[-_NEAR:])
        return _of_object(held[1]) if held else rule
    if rule.id not in _OF_PACKETS_TOO or not log.messages:
        return rule
    register = log.messages[0].partition(" ")[0]
    states = re.findall(rf"\b{re.escape(register)}(?:_\w+)?=(\w+)", log.text[-_NEAR:])
    packet = bool(states) and states[-1].startswith("pkt")
    return next(one for one in RULES if one.id == "packet-outside") if packet else rule


def _of_object(kind: str) -> Rule:
    """The rule for an ordinary read of stack bytes that hold an iterator or a dynptr."""
    name = "iterator" if kind == "iter" else "dynptr"
    rule = next(one for one in RULES if one.id == name)
    headline = f"stack bytes that hold the {name} are read: only its own functions may access them"
    return replace(
        rule, headline=headline, advice=f"Do not read or copy the {name}: pass its address to its functions."
    )


def _advice(rule: Rule, fields: dict[str, str]) -> str:
    """The rule's advice, if the message has all that it names; else that of the class."""
    named = re.findall(r"\{(\w+)\}", rule.advice)
    return _fill(rule.advice, fields) if rule.advice and all(map(fields.get, named)) else CLASSES[rule.cls].advice


def _fill(headline: str, fields: dict[str, str]) -> str:
    """``{name}`` replaced; of ``{func}`` and ``{func2}`` (two wordings of one rule) the one that is there."""
    last = re.search(r": \{(\w+)\}$", headline)
    if last is not None and not (fields.get(last[1]) or fields.get(last[1] + "2")):
        headline = headline[: last.start()]  # the message does not name it
    text = re.sub(r"\{(\w+)\}", lambda name: fields.get(name[1]) or fields.get(name[1] + "2", "this"), headline)
    return (
        text.replace("1 bytes at", "1 byte at").replace("are accessed", "is accessed")
        if fields.get("size") == "1"
        else text
    )


def _without_rule(log: ParsedLog, messages: tuple[str, ...]) -> Rejection:
    if not messages and log.diagnosis is None and log.stats.exhausted:
        rule = next(one for one in RULES if one.id == "too-many-insns")
        cls, headline = CLASSES[rule.cls], _fill(rule.headline, {"insns": str(log.stats.insns)})
        return Rejection(cls.id, rule.kind or cls.kind, headline, "", rule.id, advice=rule.advice or cls.advice)
    words = "; ".join(messages) or (log.diagnosis.headline if log.diagnosis else "")
    if words:
        cls, headline = CLASSES["unknown"], f"unknown message: {words}"
    elif log.text.strip():
        cls, headline = CLASSES["no-verdict"], "the log was cut off before the verdict"
    else:
        cls, headline = CLASSES["no-verdict"], "there is no log: the kernel rejected the program without a message"
    return Rejection(cls.id, cls.kind, headline, words, advice=cls.advice)
