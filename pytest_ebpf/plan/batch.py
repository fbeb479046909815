"""A batch of operations that grows; what is appended is referred to by its place."""

from __future__ import annotations

from dataclasses import replace

from pytest_ebpf.agent.ops import BtfByName, MapCreate, Obj, Op, ProgLoad, Ref, Try
from pytest_ebpf.plan.facts import Facts

__all__ = ["OpBatch"]


class OpBatch:
    """``site``: the line of test code that asks for all of it. Objects get no names where the kernel takes none."""

    def __init__(self, facts: Facts, *, site: str) -> None:
        self.ops: list[Op] = []
        self.site = site
        self._named = facts.names
        self._modules: dict[str, Ref] = {}

    def add(self, op: Op) -> Ref:
        """Append; the answer is for later operations to refer to what this one makes."""
        self.ops.append(op if self._named else _nameless(op))
        return Ref(len(self.ops) - 1)

    def module(self, name: str) -> Obj:
        """The BTF object of a kernel module, opened once."""
        found = self._modules.get(name)
        if found is None:
            found = self._modules[name] = self.add(BtfByName(name, site=self.site))
        return found


def _nameless(op: Op) -> Op:
    if isinstance(op, Try):
        return Try(_nameless(op.op))
    return replace(op, name="") if isinstance(op, MapCreate | ProgLoad) else op
