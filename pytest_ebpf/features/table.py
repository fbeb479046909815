"""Feature probes: can this kernel do X? Asked by trying it, never by version.

A name is one of ``names()``, a SEC() prefix (``tp_btf``, ``freplace``), or has a group in front: ``map:ringbuf``,
``prog:xdp``, ``flag:mmapable``, ``btf:enum64``, ``isa:v4``, ``machine:jit``, ``attach:kprobe``, ``helper:bpf_loop``
(or just ``bpf_loop``; ``helper:bpf_loop@xdp`` asks for one program type), ``kfunc:bpf_task_acquire`` (``@xdp`` too),
``config:BPF_LSM``, ``fentry:vfs_read``, ``tracepoint:sched:sched_switch``, ``field:task_struct.mm`` (see
``features.places``). ``probe_ops`` gives a batch, ``read_probe`` reads its answers; ``batch_ops`` and ``read_batch`` do
it for many at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from pytest_ebpf.agent.ops import (
    BtfLoad,
    Close,
    LinkCreate,
    MapCreate,
    NetNs,
    Op,
    ProgLoad,
    RawTracepointOpen,
    Ref,
    Result,
    Try,
)
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.features.attach import ATTACH_FEATURES
from pytest_ebpf.features.base import Answer, Feature
from pytest_ebpf.features.btf import BTF_KINDS, VMLINUX_BTF
from pytest_ebpf.features.helper_table import HELPERS
from pytest_ebpf.features.history import KFUNCS
from pytest_ebpf.features.isa import ISA_FEATURES
from pytest_ebpf.features.kfuncs import kfunc_feature
from pytest_ebpf.features.links import LINK_FEATURES
from pytest_ebpf.features.machine import MACHINE_FEATURES
from pytest_ebpf.features.maps import FLAG_FEATURES, MAP_FEATURES
from pytest_ebpf.features.places import PLACE_GROUPS, place_feature
from pytest_ebpf.features.progs import HELPER_FEATURES, PROG_FEATURES, helper_feature
from pytest_ebpf.features.sections import section_features
from pytest_ebpf.frozen import fields, is_dataclass, replace
from pytest_ebpf.plan.facts import Facts
from pytest_ebpf.plan.kconfig import config_value
from pytest_ebpf.plan.learn import kconfig_ops, learn
from pytest_ebpf.suggest import close_names

__all__ = [
    "FEATURES",
    "TABLE",
    "batch_ops",
    "feature",
    "names",
    "probe_ops",
    "read_batch",
    "read_probe",
]

T = TypeVar("T")
_MAKERS = (BtfLoad, LinkCreate, MapCreate, NetNs, ProgLoad, RawTracepointOpen)
_TABLES: dict[str, dict[str, Feature]] = {
    "map": {row.name: row for row in MAP_FEATURES},
    "flag": {row.name: row for row in FLAG_FEATURES},
    "prog": {row.name: row for row in PROG_FEATURES},
    "btf": {row.name: row for row in BTF_KINDS},
    "isa": {row.name: row for row in ISA_FEATURES},
    "machine": {row.name: row for row in MACHINE_FEATURES},
    "attach": {row.name: row for row in (*ATTACH_FEATURES, *LINK_FEATURES)},
}
# A bare name that several tables know means the last of them: "kprobe" is attaching one, not the program type. Flags
# and BTF kinds have names ("link", "float") that mean nothing on their own.
FEATURES: dict[str, Feature] = {
    # SEC() prefixes come first: a prefix that another table has as a name keeps that table's meaning.
    **section_features({f"{group}:{name}": row for group, rows in _TABLES.items() for name, row in rows.items()}),
    **{row.name: row for row in HELPER_FEATURES},
    **_TABLES["isa"],
    **_TABLES["machine"],
    **_TABLES["map"],
    **_TABLES["prog"],
    **_TABLES["attach"],
    VMLINUX_BTF.name: VMLINUX_BTF,
}
# What a table of a kernel shows: every row under the name that means it, in the order of the groups.
TABLE: tuple[str, ...] = (
    *(f"{group}:{name}" for group, rows in _TABLES.items() for name in rows),
    *(f"helper:{row.name}" for row in HELPER_FEATURES),
)


def names() -> list[str]:
    """The bare names, sorted; helpers, which are many, left out."""
    return sorted(name for name in FEATURES if name not in HELPERS)


def feature(name: str) -> Feature:
    """The row of a name. BpfUsageError with the nearest names for one that no table knows."""
    prefix, colon, rest = name.partition(":")
    if not colon:
        found = FEATURES.get(name)
    elif prefix == "kfunc":
        found = kfunc_feature(rest)
    elif prefix == "config":
        found = _config(rest)
    elif prefix in PLACE_GROUPS:
        found = place_feature(prefix, rest)
    elif prefix == "helper":
        helper, _, prog = rest.partition("@")
        found = helper_feature(helper, prog)
    else:
        found = _TABLES.get(prefix, {}).get(rest)
    if found is None:
        raise BpfUsageError(f"no feature {name!r} is known", hint=_nearest(name))
    return found


def probe_ops(name: str, facts: Facts) -> list[Op]:
    """The batch that tries it out; may be empty, where the facts know already. What it makes belongs to the scope."""
    return feature(name).ops(facts)


def read_probe(name: str, results: Sequence[Result], *, facts: Facts) -> Answer:
    """What the answers to ``probe_ops`` mean."""
    return feature(name).read(results, facts)


def batch_ops(wanted: Iterable[str], facts: Facts) -> list[Op]:
    """The probes of many features as one batch, in which none can stop another; each closes what it made."""
    batch: list[Op] = []
    for name in wanted:
        start = len(batch)
        ops = [op if isinstance(op, Try) else Try(op) for op in probe_ops(name, facts)]
        batch += [_moved(op, start) for op in ops]
        made = [start + number for number, op in enumerate(ops) if isinstance(op.op, _MAKERS)]
        batch += [Try(Close(Ref(number))) for number in reversed(made)]
    return batch


def read_batch(wanted: Iterable[str], results: Sequence[Result], *, facts: Facts) -> dict[str, Answer]:
    """The answers of ``batch_ops``, by name. The same names and facts, in the same order."""
    answers: dict[str, Answer] = {}
    start = 0
    for name in wanted:
        ops = probe_ops(name, facts)
        answers[name] = read_probe(name, results[start : start + len(ops)], facts=facts)
        start += len(ops) + sum(isinstance(op.op if isinstance(op, Try) else op, _MAKERS) for op in ops)
    return answers


def _moved(value: T, by: int) -> T:
    """An op whose references are ``by`` places further on."""
    if isinstance(value, Ref):
        return Ref(value.index + by)  # type: ignore[return-value]  # T is Ref
    if isinstance(value, tuple):
        return tuple(_moved(item, by) for item in value)  # type: ignore[return-value]  # T is that tuple
    if not is_dataclass(value) or isinstance(value, type):
        return value
    changed: dict[str, Any] = {}
    for field in fields(value):
        old = getattr(value, field.name)
        if isinstance(old, tuple | Ref) or is_dataclass(old):
            changed[field.name] = _moved(old, by)
    return replace(value, **changed) if changed else value


def _nearest(name: str) -> str:
    prefix, _, rest = name.rpartition(":")
    bare = rest.partition("@")[0]
    if prefix == "kfunc":
        close = [f"kfunc:{found}" for found in close_names(bare, KFUNCS, most=3)]
    elif prefix in ("flag", "btf"):
        close = [f"{prefix}:{found}" for found in close_names(bare, _TABLES[prefix], most=3)]
    else:
        close = close_names(bare, FEATURES, most=3) or [
            f"{group}:{bare}" for group, rows in _TABLES.items() if bare in rows
        ]
    if close:
        return f"did you mean {' or '.join(close)}?"
    return (
        "names: "
        + ", ".join(names())
        + "; or helper:NAME, kfunc:NAME, config:NAME, fentry:FUNCTION, tracepoint:CATEGORY:NAME, field:STRUCT.FIELD"
    )


def _config(name: str) -> Feature | None:
    option = name if name.startswith("CONFIG_") else f"CONFIG_{name}"
    if not option.removeprefix("CONFIG_").replace("_", "a").isalnum():
        return None

    def ops(facts: Facts) -> list[Op]:
        return [] if facts.kconfig else kconfig_ops(facts.described)

    def read(results: Sequence[Result], facts: Facts) -> Answer:
        text = facts.kconfig or learn(facts, kconfig_ops(facts.described), results=results).kconfig
        if not text:
            return Answer(None, f"{option}: this kernel does not show its configuration")
        value = config_value(text, option)
        if value is None:
            return Answer(False, f"{option} is not set")
        return Answer(True, f"{option}={value}")

    return Feature(f"config:{name}", "", ops, read, group="config")
