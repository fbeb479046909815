"""Programs to attach, on sessions that answer from a script."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pytest_ebpf.agent.ops import (
    ProgLoad,
    ProgLoaded,
    ReadFile,
)
from pytest_ebpf.live.program import Program
from pytest_ebpf.live.session import Session
from pytest_ebpf.obj.object import ObjectFile, ProgramDef
from pytest_ebpf.obj.sections import parse_section
from support.attach_session import Make, read_file


@pytest.fixture
def make(session_on: Callable[..., Session]) -> Make:
    def make(section: str, answers: dict[Any, Any] | None = None) -> tuple[Program, Session]:
        session = session_on({ReadFile: read_file, **(answers or {})})
        definition = ProgramDef("p", section, parse_section(section), insns=b"")
        obj = ObjectFile("o", "little", "GPL", (definition,))
        (loaded,) = session.run([ProgLoad(1, b"", "GPL")])
        assert isinstance(loaded, ProgLoaded)
        return Program(session, definition=definition, loaded=loaded, obj=obj), session

    return make
