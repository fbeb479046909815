"""Asking a kernel whether it can do something."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from pytest_ebpf.errors import PlanError
from pytest_ebpf.features.base import Answer
from pytest_ebpf.features.kfuncs import in_modules
from pytest_ebpf.features.table import TABLE, batch_ops, feature, read_batch
from pytest_ebpf.live.session import Session, Target
from pytest_ebpf.plan.learn import kconfig_ops, learn, module_ops

__all__ = ["Features", "kconfig_of", "probe_feature", "probe_features"]

_TIMEOUT = 120.0  # seconds for some 500 probes; emulation gets several times as long


class _Memory(Protocol):
    def get(self, name: str) -> Answer | None: ...
    def put(self, answers: Mapping[str, Answer]) -> None: ...


class Features:
    """What a kernel can do, asked by trying it. Each answer is asked for once; what is conclusive is kept in
    ``memory`` for the next process."""

    def __init__(self, target: Target, *, memory: _Memory | None = None) -> None:
        self.target = target
        self._memory = memory
        self._answers: dict[str, Answer] = {}

    def has(self, name: str) -> bool:
        """Whether this kernel has a feature. ``PlanError`` when the probe cannot tell, ``BpfUsageError`` for a name
        that no table knows."""
        answer = self.answer(name)
        if answer.supported is None:
            raise PlanError(f"feature {name!r}: {answer.message}", feature=name)
        return answer.supported

    def answer(self, name: str) -> Answer:
        """``supported`` (None: cannot tell), ``message`` of the probe, ``since`` the documented first release."""
        return self.answers([name])[name]

    def answers(self, names: Iterable[str]) -> dict[str, Answer]:
        """The answers to many, in the order asked, with one round trip for all that is not known yet."""
        wanted = list(dict.fromkeys(names))
        found = {name: answer for name in wanted if (answer := self._known(name)) is not None}
        asked = [name for name in wanted if name not in found]
        if asked:
            fresh = probe_features(self.target, asked)
            found.update(fresh)
            kept = {name: answer for name, answer in fresh.items() if answer.conclusive or answer.cause == "denied"}
            self._answers.update(kept)
            if self._memory is not None:
                self._memory.put(fresh)
        return {name: found[name] for name in wanted}

    def table(self) -> dict[str, Answer]:
        """Every documented feature: program and map types, flags, BTF kinds, instructions, attach kinds, helpers.
        kfuncs and configuration are asked for by name."""
        return self.answers(TABLE)

    def _known(self, name: str) -> Answer | None:
        if name in self._answers:
            return self._answers[name]
        return self._memory.get(name) if self._memory is not None else None

    def __repr__(self) -> str:
        return f"<Features of {self.target.name}>"


def probe_feature(target: Target, *, name: str) -> Answer:
    """What a probe says about a feature. What the probe makes is gone again when this returns.

    ``BpfUsageError`` for a name that no table knows.
    """
    return probe_features(target, [name])[name]


def probe_features(target: Target, names: Iterable[str]) -> dict[str, Answer]:
    """As ``probe_feature`` for many: one batch, one round trip (two more for kfuncs that no table knows: they may be
    those of a module)."""
    wanted = list(names)
    for name in wanted:
        feature(name)  # a wrong name is an error before anything is tried
    facts = target.facts()
    ops = batch_ops(wanted, facts)
    session = Session(target, name="feature probes") if ops else None
    try:
        answers = read_batch(wanted, session.run(ops, timeout=_TIMEOUT) if session else (), facts=facts)
    finally:
        if session:
            session.close()
    return {**answers, **_of_modules(target, [name for name, answer in answers.items() if _is_stray(name, answer)])}


def _is_stray(name: str, answer: Answer) -> bool:
    return name.startswith("kfunc:") and not answer.supported and answer.cause == "module" and not answer.since


def _of_modules(target: Target, names: list[str]) -> dict[str, Answer]:
    """Kfuncs looked for in every module that is loaded now."""
    if not names:
        return {}
    facts = target.facts()
    while ops := module_ops(facts):
        facts = learn(facts, ops, results=target.kernel.run(ops, timeout=_TIMEOUT))
    return {name: in_modules(name.removeprefix("kfunc:"), facts.modules or {}) for name in names}


def kconfig_of(target: Target) -> str:
    """The kernel's configuration, "" where it does not show it."""
    facts = target.facts()
    if facts.kconfig is None:
        ops = kconfig_ops(facts.described)
        facts = learn(facts, ops, results=target.kernel.run(ops))
    return facts.kconfig or ""
