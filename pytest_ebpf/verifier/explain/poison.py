"""Instructions that a loader replaced by invalid ones on purpose, and what they were.

A CO-RE relocation that this kernel cannot satisfy, an unresolved weak kfunc and a map that was not created are not
errors by themselves: the code may be guarded and never run. So the loader replaces them by a call of a helper that
does not exist; dead code is removed by the verifier, and a call that is reached gets ``invalid func unknown#N``.
The numbers are libbpf's (src/libbpf.c, src/relo_core.c), so that a log means the same with any loader.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pytest_ebpf.verifier.log.values import ParsedLog

__all__ = ["poison_note"]

_CALLED = re.compile(r"invalid func unknown#(\d+)|invalid kernel function call not eliminated")
_NO_HELPER = 1_000_000  # helper ids are small numbers (212 in Linux 6.18); what loaders write is far above


def poison_note(log: ParsedLog, notes: Mapping[int, str]) -> str:
    """What the rejected instruction stood for: the plan's note for it ("" when the error is not about a poison).

    ``notes`` maps instruction indices of the loaded program to texts. A log without a trace (level 4) does not show
    the instruction; then the note is given only if all poisons of the program have the same note.
    """
    if not any(_is_poison(message) for message in log.messages):
        return ""
    if log.error_insn is not None:
        return notes.get(log.error_insn, "")
    texts = set(notes.values())
    return texts.pop() if len(texts) == 1 else ""


def _is_poison(message: str) -> bool:
    found = _CALLED.match(message)
    return found is not None and (found[1] is None or int(found[1]) >= _NO_HELPER)
