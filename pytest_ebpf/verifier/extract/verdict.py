"""What became of a program: the verdict about a log that was found in a text, with its explanation."""

from __future__ import annotations

import re

from pytest_ebpf.frozen import dataclass, replace
from pytest_ebpf.verifier.explain.explain import Explanation
from pytest_ebpf.verifier.extract.extract import Found
from pytest_ebpf.verifier.log.lines import Kind
from pytest_ebpf.verifier.log.read import parse_stats
from pytest_ebpf.verifier.rejection.classes import CLASSES
from pytest_ebpf.verifier.rejection.classify import Rejection
from pytest_ebpf.verifier.rejection.errnos import ERRNOS, errno_name
from pytest_ebpf.verifier.rejection.loader_rules import find_loader_rule
from pytest_ebpf.verifier.verifier_log import VerifierLog, parse_log

__all__ = ["NO_LOG", "Verdict", "judge"]

NO_LOG = "no verifier log is in this text"
_WALK = (Kind.INSN, Kind.PRUNED, Kind.SUBPROG)
_EXIT = re.compile(r"\d+: \(95\) exit")
_LOADS = re.compile(r"(?i)\b(?:e?bpf|bpf_\w+|xdp|verif\w+|load\w*|program)\b")
_WARNING = re.compile(r"cut here|WARNING: CPU|Call Trace|RIP: ")
_INVARIANTS = "REG INVARIANTS VIOLATION"
_HARMLESS = (
    "the verifier lost track of a register's bounds (a bug in itself) and went on: this alone refuses no program",
    "This message is harmless as a rule: the kernel (6.8 and later) drops what it knew of the register and goes on, "
    "unless the loader sets BPF_F_TEST_REG_INVARIANTS. If the load failed, look for another message. Newer stable "
    "releases have corrections; report it with the object.",
)
_WENT_ON = re.compile(r"prog '[^']+': attached|successfully (?:loaded|attached)|(?:loaded|attached) successfully")
_PANIC = re.compile(r"(?:callee is `|call\w* |`)(?P<symbol>[\w$.]*panick?ing[\w$.]*)")
_WITH_PLUS = "Lines were omitted: print the error with %+v for the whole log. "


@dataclass(frozen=True, slots=True)
class Verdict:
    """``verdict`` is ``accepted``, ``rejected`` or ``unknown``: no kernel refused or accepted anything in the text.
    ``rejection`` says what is wrong, ``explanation`` how it came about where there is a log, ``errno`` is the name of
    the loader's error number, "" for none. ``headline`` and ``advice`` are there for ``unknown`` too."""

    verdict: str
    program: str
    log: VerifierLog
    rejection: Rejection | None = None
    explanation: Explanation | None = None
    headline: str = ""
    advice: str = ""
    errno: str = ""


def judge(found: Found) -> Verdict:
    """The verdict about one finding of ``extract_logs``. Never raises."""
    if found.accepted:
        return Verdict("accepted", found.program, VerifierLog(found.text, stats=parse_stats(found.text)))
    if not found.text:
        return _without_log(found)
    refused = bool(found.refused) or found.failed or found.verdict == "failure"
    log = parse_log(found.text, refused=refused)
    explanation = log.explanation if log.rejected and found.verdict != "success" else None
    if explanation is None:
        if refused:
            return _accepted_log(found, log)
        if found.verdict != "success" and not _WENT_ON.search(found.words) and not _is_finished(log):
            return _unfinished(found, log)
        return Verdict("accepted", found.program, log)
    rejection = _with_words(explanation.rejection, found)
    explanation = replace(explanation, rejection=rejection)
    warned = rejection.class_id == "verifier-bug" and not refused and _warns(rejection.message, found.words)
    if warned and _INVARIANTS in rejection.message:
        rejection = replace(rejection, headline=_HARMLESS[0], advice=_HARMLESS[1])
        explanation = replace(explanation, rejection=rejection)
    return _of(rejection, found, log=log, verdict="unknown" if warned else "rejected", explanation=explanation)


def _warns(message: str, words: str) -> bool:
    """Whether a bug that the verifier reports need not have stopped the program."""
    return _INVARIANTS in message or _WARNING.search(words) is not None


def _of(
    rejection: Rejection,
    found: Found,
    *,
    log: VerifierLog,
    verdict: str = "rejected",
    explanation: Explanation | None = None,
) -> Verdict:
    return Verdict(
        verdict,
        found.program,
        log,
        rejection if rejection.class_id else None,
        explanation,
        rejection.headline,
        rejection.advice,
        errno_name(found.refused),
    )


def _with_words(rejection: Rejection, found: Found) -> Rejection:
    """The rejection with what the loader's words add to it."""
    panic = _PANIC.search(found.words)
    if rejection.rule_id in ("no-exit", "bad-call") and panic is not None:
        name = _rust_name(panic["symbol"])
        return replace(
            rejection,
            headline=f"the program calls Rust's panic ({name}), which never returns",
            advice=f"A Rust panic ({name}) was left in the program: an index, slice, division or unwrap() that the "
            "compiler could not prove safe. Use get(), checked arithmetic and early returns; build in release mode.",
        )
    if found.omitted:
        return replace(rejection, advice=_WITH_PLUS + rejection.advice)
    return rejection


def _rust_name(symbol: str) -> str:
    """``_ZN4core9panicking18panic_bounds_check17h3f2b...E`` -> ``core::panicking::panic_bounds_check``."""
    parts, at = [], symbol.find("_ZN") + 3
    while symbol.startswith("_ZN") and (size := re.match(r"\d+", symbol[at:])):
        at += len(size[0])
        parts.append(symbol[at : at + int(size[0])])
        at += int(size[0])
    return "::".join(part for part in parts if not re.fullmatch(r"h[0-9a-f]{16}", part)) or symbol


def _is_finished(log: VerifierLog) -> bool:
    """Whether a log without a message may be one of an accepted program. Its trace ends with ``exit`` or ``safe``; at
    level 1, which prints no list of functions, it has no trace (since 5.2, when the limit became 1,000,000)."""
    trace = log.trace
    last = next((at for at in range(len(trace.kinds) - 1, -1, -1) if trace.kinds[at] in _WALK), None)
    if last is None:
        return True
    if trace.kinds[last] == Kind.INSN and _EXIT.match(trace.lines[last]) is None:
        return False
    first = next(iter(trace.instructions), None)
    one_path = log.stats.limit == 1_000_000 and not trace.subprograms and first is not None and first.index == 0
    return not one_path or trace.count(Kind.PRUNED) > 0


def _unfinished(found: Found, log: VerifierLog) -> Verdict:
    cls = CLASSES["no-verdict"]
    headline = "the log has figures but neither the end of an accepted program nor a message: lines are missing"
    advice = "Show the whole log, with the lines between the last instruction and the figures."
    return _of(Rejection(cls.id, cls.kind, headline, "", advice=advice), found, log=log, verdict="unknown")


def _accepted_log(found: Found, log: VerifierLog) -> Verdict:
    """The log has no error, but the loader reports one."""
    name = errno_name(found.refused)
    cls = CLASSES["no-verdict"]
    row = ERRNOS.get(name)
    headline = f"refused after verification: {found.refused or 'the loader names no reason'}"
    advice = "The verifier took the program; what came after it did not: " + (row.advice if row else cls.advice)
    return _of(Rejection(cls.id, cls.kind, headline, "", advice=advice), found, log=log)


def _without_log(found: Found) -> Verdict:
    """What the loader printed, without a log."""
    log = parse_log("")
    row = find_loader_rule(found.words)
    if row is not None:
        rule, fields = row
        text = {"headline": rule.headline, "advice": rule.advice}
        filled = {
            key: re.sub(r"\{(\w+)\}", lambda name: fields.get(name[1], "this"), value) for key, value in text.items()
        }
        rejection = Rejection(
            rule.cls, rule.kind, filled["headline"], "", rule.id, tuple(fields.items()), filled["advice"]
        )
        found = replace(found, program=found.program or _attached(found.words))
        return _of(rejection, found, log=log, verdict=rule.verdict)
    name = errno_name(found.refused)
    cls = CLASSES["no-verdict"]
    if found.refused and _LOADS.search(found.words) and (known := ERRNOS.get(name)):
        cls = CLASSES[known.cls]
        return _of(Rejection(cls.id, cls.kind, known.headline, "", advice=known.advice), found, log=log)
    if (found.refused or found.failed) and _LOADS.search(found.words):
        headline = f"the load failed without a log: {found.refused or 'the loader names no reason'}"
        return _of(Rejection(cls.id, cls.kind, headline, "", advice=cls.advice), found, log=log)
    return Verdict("unknown", found.program, log, headline=NO_LOG)


def _attached(words: str) -> str:
    named = re.search(r"prog '([^']+)'", words)
    return named[1] if named else ""
