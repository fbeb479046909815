"""The symbols of the kernel under test: /proc/kallsyms, whose lines are ``address type name [module]`` in no order."""

from __future__ import annotations

import re

from pytest_ebpf.agent.ops import Data, ReadFile
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.session import Session

__all__ = ["read_kallsyms", "symbol_address"]

_PATH = "/proc/kallsyms"


def read_kallsyms(session: Session) -> str:
    """The whole text, "" where the kernel does not have it. Addresses are 0 for a user who may not see them."""
    answer = session.attempt(ReadFile(_PATH), Data)
    return answer.data.decode(errors="replace") if isinstance(answer, Data) else ""


def symbol_address(session: Session, name: str, *, who: str) -> int:
    """The address of a function or variable. ``BpfUsageError``, which begins with ``who``, if it is not known."""
    found = re.search(rf"^([0-9a-f]+) \w {re.escape(name)}(?:\t|$)", read_kallsyms(session), re.MULTILINE)
    if found is None or not int(found[1], 16):
        what = "has no symbol" if found is None else "does not show this user the address of"
        raise BpfUsageError(f"{who}: this kernel {what} {name!r}", hint=f"{_PATH} lists its symbols.")
    return int(found[1], 16)
