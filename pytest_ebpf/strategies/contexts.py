"""Contexts of test runs."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from hypothesis import strategies as hypothesis_strategies
from hypothesis.strategies import SearchStrategy

from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.program import Program
from pytest_ebpf.live.run.accepted import accepted_fields
from pytest_ebpf.live.run.contexts import Field
from pytest_ebpf.live.run.rules import RUN_RULES
from pytest_ebpf.strategies.types import from_btf

__all__ = ["ctx"]

# Numbers that a kernel takes, where it does not take any: interfaces that exist (lo), families, hooks.
_SOME: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        **{"ifindex": (0, 1), "ingress_ifindex": (0, 1), "rx_queue_index": (0,), "flags": (0, 1, 2, 4)},
        **{"gso_size": (0, 1, 1400), "gso_segs": (0, 1, 2, 65535), "hook": (0, 1, 2, 3, 4), "pf": (2, 10)},
        **{"family": (2, 10), "protocol": (6, 17)},
    }
)


def ctx(prog: Program) -> SearchStrategy[Any]:
    """Contexts for ``prog.run(packet, ctx=…)``: some of the fields that its type has and that this kernel lets a test
    run set, found by trying once. Raw tracepoints: a list of u64; SYSCALL programs: what their parameter is."""
    rule = RUN_RULES.get(prog.type_number)
    if rule is None or not rule.context:
        raise BpfUsageError(f"{prog.name}: a {prog.type} program has no context that a test run takes")
    if rule.context == "args":
        return hypothesis_strategies.lists(hypothesis_strategies.integers(0, (1 << 64) - 1), max_size=12)
    if rule.context == "bytes":
        shape = prog.context_shape
        if shape is None:
            return hypothesis_strategies.binary(max_size=64)
        return from_btf(shape)
    fields = accepted_fields(prog.session, prog.type_number)
    always = ("family", "protocol") if rule.context == "bpf_sk_lookup" else ()
    base = {field.name: _numbers(field) for field in fields if field.name in always}
    optional = {field.name: _numbers(field) for field in fields if field.name not in base}
    return hypothesis_strategies.fixed_dictionaries(base, optional=optional)


def _numbers(field: Field) -> SearchStrategy[Any]:
    some = _SOME.get(field.name)
    if some is not None:
        return hypothesis_strategies.sampled_from(some)
    one = hypothesis_strategies.integers(0, (1 << 8 * field.size) - 1)
    return one if field.count == 1 else hypothesis_strategies.lists(one, min_size=field.count, max_size=field.count)
