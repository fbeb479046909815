"""What broke, in one line that says what to do, and the order of the sections of a failure.

The order is the same for every kind of failure: what broke; why the verifier rejected a program; how packets, maps or
return values differ; the kernel's messages; the long logs; the line to repeat it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from pytest_ebpf.outcome import Outcome

__all__ = ["FIRST", "LAST", "advice_of", "order_sections", "render_headline"]

FIRST = "what broke"
LAST = "repeat"
_RANKS: tuple[tuple[str, int], ...] = (  # the beginning of a title -> its place
    (FIRST, 0),
    ("why ", 1),
    ("packet", 2),
    ("map", 2),
    ("value", 2),
    ("return", 2),
    ("program", 2),
    ("budget", 2),
    ("baseline", 2),
    ("kernel", 3),
    ("console", 4),
    ("verifier log", 5),
    (LAST, 9),
)
_OTHERS = 6  # what the test printed

_ADVICE: Mapping[str, str] = MappingProxyType(
    {
        Outcome.FAILED: "compare the assertion with what the program did",
        Outcome.REJECTED: "change the program as the explanation below says",
        Outcome.PACKET_DIFF: "look at the marked fields of the packet, then at the code that writes them",
        Outcome.MAP_DIFF: "look at the marked elements of the map, then at the code that stores them",
        Outcome.PANIC: "read the kernel's last words below; the next test got a fresh guest",
        Outcome.HANG: "read what the kernel was doing below, then look for a loop or a lock in the program",
        Outcome.SPLAT: "read the kernel's warning below; bpf_allow_splat allows one that is known",
        Outcome.LEAK: "close or detach what the test opened",
        Outcome.BUDGET: "make the program cheaper, or raise the budget on purpose",
        Outcome.BASELINE: "read the difference; if it is wanted, store it with --bpf-update=all",
        Outcome.MISSING_FEATURE: "mark the test with bpf_feature, or run it on a kernel that has the feature",
        Outcome.INFRASTRUCTURE: "mend the machine, not the program: run pytest-ebpf doctor",
        Outcome.FLAKY: "the retry passed; if it comes again, run pytest-ebpf doctor",
        Outcome.QUARANTINED: "it does not fail the run until its date; mend it before then",
    }
)


def advice_of(kind: str) -> str:
    """What to do about a failure of this kind, "" for an unknown one."""
    return _ADVICE.get(kind, "")


def render_headline(kind: str, *, message: str, advice: str = "") -> str:
    """``kind: the first line of the message -> what to do``, in one line. Behind a ":" comes the next line too."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    first = " ".join(lines[: 2 if lines and lines[0].endswith(":") else 1])
    what = " ".join((advice or advice_of(kind)).split())
    return f"{kind or Outcome.FAILED}: {first}" + (f" -> {what}" if what else "")


def order_sections(sections: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The sections in their fixed order; those of one rank stay as they were."""
    return sorted(sections, key=lambda section: _rank(section[0].lower()))


def _rank(title: str) -> int:
    return next((rank for beginning, rank in _RANKS if title.startswith(beginning)), _OTHERS)
