"""Feature probes: can this kernel do X? Asked by trying it, never by version.

A name is one of ``names()``, or has a prefix: ``map:ringbuf``, ``prog:xdp``, ``helper:bpf_loop`` (or just
``bpf_loop``; ``helper:bpf_loop@xdp`` asks for one program type), ``kfunc:bpf_task_acquire``, ``config:CONFIG_BPF_LSM``.
``probe_ops`` gives a batch, ``read_probe`` reads its answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from pytest_ebpf.agent.ops import Op, Result
from pytest_ebpf.btf.types import Kind
from pytest_ebpf.errors import UsageError
from pytest_ebpf.plan.facts import Facts, add_kconfig, kconfig_ops
from pytest_ebpf.plan.feature_attach import ATTACH_FEATURES
from pytest_ebpf.plan.feature_base import Answer, Feature
from pytest_ebpf.plan.feature_maps import MAP_FEATURES
from pytest_ebpf.plan.feature_progs import HELPER_FEATURES, PROG_FEATURES, helper_feature
from pytest_ebpf.plan.helper_table import HELPERS
from pytest_ebpf.plan.kconfig import config_value

__all__ = ["FEATURES", "feature", "names", "probe_ops", "read_probe"]

# A bare name that several tables know means the first of them: "kprobe" is attaching one, not the program type.
FEATURES: dict[str, Feature] = {
    **{row.name: row for row in HELPER_FEATURES},
    **{row.name: row for row in MAP_FEATURES},
    **{row.name: row for row in PROG_FEATURES},
    **{row.name: row for row in ATTACH_FEATURES},
}
_TABLES = {
    "map": {row.name: row for row in MAP_FEATURES},
    "prog": {row.name: row for row in PROG_FEATURES},
}


def names() -> list[str]:
    """The bare names, sorted; helpers, which are many, left out."""
    return sorted(name for name in FEATURES if name not in HELPERS)


def feature(name: str) -> Feature:
    """The row of a name. UsageError with the nearest names for one that no table knows."""
    prefix, colon, rest = name.partition(":")
    if not colon:
        found = FEATURES.get(name)
    elif prefix == "kfunc":
        found = _kfunc(rest)
    elif prefix == "config":
        found = _config(rest)
    elif prefix == "helper":
        helper, _, prog = rest.partition("@")
        found = helper_feature(helper, prog)
    else:
        found = _TABLES.get(prefix, {}).get(rest)
    if found is None:
        raise UsageError(f"no feature {name!r} is known", hint=_nearest(name))
    return found


def probe_ops(name: str, facts: Facts) -> list[Op]:
    """The batch that tries it out; may be empty, where the facts know already. What it makes belongs to the scope."""
    return feature(name).ops(facts)


def read_probe(name: str, results: Sequence[Result], *, facts: Facts) -> Answer:
    """What the answers to ``probe_ops`` mean."""
    return feature(name).read(results, facts)


def _nearest(name: str) -> str:
    close = get_close_matches(name.rpartition(":")[2], FEATURES, n=3)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return "names: " + ", ".join(names()) + "; or helper:NAME, kfunc:NAME, config:NAME"


def _kfunc(name: str) -> Feature:
    def read(results: Sequence[Result], facts: Facts) -> Answer:
        if facts.btf is None:
            return Answer(False, f"kfunc {name}: this kernel has no BTF, and without it no kfuncs")
        if facts.btf.find(name, Kind.FUNC):
            return Answer(True, f"kfunc {name} is in the kernel's BTF")
        return Answer(False, f"kfunc {name} is not in the kernel's BTF")

    return Feature(f"kfunc:{name}", "", lambda facts: [], read)


def _config(name: str) -> Feature:
    option = name if name.startswith("CONFIG_") else f"CONFIG_{name}"

    def ops(facts: Facts) -> list[Op]:
        return [] if facts.kconfig else kconfig_ops(facts.described)

    def read(results: Sequence[Result], facts: Facts) -> Answer:
        text = facts.kconfig or add_kconfig(facts, results).kconfig
        if not text:
            return Answer(None, f"{option}: this kernel does not show its configuration")
        value = config_value(text, option)
        if value is None:
            return Answer(False, f"{option} is not set")
        return Answer(True, f"{option}={value}")

    return Feature(f"config:{name}", "", ops, read)
