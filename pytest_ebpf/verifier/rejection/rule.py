"""What a rule is: a message of the verifier, the class it belongs to, and what to say about it."""

from __future__ import annotations

from pytest_ebpf.frozen import dataclass

__all__ = ["Rule"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One message of the verifier in all its wordings.

    ``pattern`` is a regex for the start of a message line. ``headline`` is a plain sentence; ``{name}`` in it is the
    group of that name. ``kind`` and ``advice`` are those of the class where empty. ``second`` marks lines that follow
    another message and only count where they stand alone. ``wordings`` lists the variants of the message by kernel.
    """

    id: str
    cls: str
    pattern: str
    headline: str
    kind: str = ""
    advice: str = ""
    second: bool = False
    wordings: str = ""
