"""Texts with the logs of thousands of programs, a few of them rejected."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random

from pytest_ebpf.verifier.verifier_log import parse_log
from support.verifier_logs import all_logs

__all__ = ["WRAPS", "Wrap", "large_text", "libbpf", "plain"]

Wrap = Callable[..., str]


@cache
def _accepted() -> list[str]:
    logs = [text for name, text in all_logs().items() if name.endswith(".l6") and 1500 < len(text) < 9000]
    return [text for text in logs if not parse_log(text).rejected]


@cache
def _rejected() -> list[str]:
    return [
        text
        for name, text in all_logs().items()
        if name.endswith(".l1") and len(text) < 20_000 and parse_log(text).error and "processed " in text
    ]


def plain(name: str, log: str, *, refused: bool) -> str:
    return log


def libbpf(name: str, log: str, *, refused: bool) -> str:
    before = f"libbpf: prog '{name}': BPF program load failed: Permission denied\n" if refused else ""
    after = f"libbpf: prog '{name}': failed to load: -13\n" if refused else ""
    return f"{before}libbpf: prog '{name}': -- BEGIN PROG LOAD LOG --\n{log}-- END PROG LOAD LOG --\n{after}"


def veristat(name: str, log: str, *, refused: bool) -> str:
    verdict = "failure" if refused else "success"
    return f"PROCESSING x.bpf.o/{name}, DURATION US: 12, VERDICT: {verdict}, VERIFIER LOG:\n{log}\n"


def journal(name: str, log: str, *, refused: bool) -> str:
    lines = libbpf(name, log, refused=refused).splitlines()
    return "".join(f"Nov 21 11:16:{at % 60:02} host agent[123]: {line}\n" for at, line in enumerate(lines))


WRAPS: dict[str, Wrap] = {wrap.__name__: wrap for wrap in (plain, libbpf, veristat, journal)}


def large_text(wrap: Wrap, *, programs: int, rejected: int) -> tuple[str, list[str]]:
    """The text, and the names of the rejected programs in order. The same for the same numbers."""
    chosen = Random(programs)
    bad = set(chosen.sample(range(programs), rejected))
    parts: list[str] = []
    names: list[str] = []
    for number in range(programs):
        refused = number in bad
        name = f"{'bad' if refused else 'good'}_{number}"
        parts.append(wrap(name, chosen.choice(_rejected() if refused else _accepted()), refused=refused))
        names += [name] if refused else []
    return "".join(parts), names
