"""Facts of a kernel for tests of plans, and objects put together from values."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_ebpf.agent.ops import Described
from pytest_ebpf.btf.parse import Btf, parse_btf
from pytest_ebpf.btf.types import BtfType
from pytest_ebpf.btf.write import BtfBuilder
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.plan.btf_features import BTF_FEATURES
from pytest_ebpf.plan.facts import Facts

ALL_BTF = frozenset(feature.name for feature in BTF_FEATURES)


def described(**changes: object) -> Described:
    values: dict[str, object] = {
        "release": "6.18.44",
        "version": "#1 SMP",
        "machine": "x86_64",
        "cpus": 3,
        "page_size": 4096,
        "boot": "b",
        "byteorder": "little",
        "has_btf": True,
        "jit": 1,
        "euid": 0,
        "cap_bpf": True,
        "unprivileged_bpf_disabled": 2,
    }
    return Described(**{**values, **changes})  # type: ignore[arg-type]


def facts(*, btf: Btf | None = None, features: Iterable[str] = ALL_BTF, **changes: object) -> Facts:
    own = {
        key: changes.pop(key)
        for key in ("array_mmap", "attach_type", "callbacks", "data", "kconfig", "kallsyms")
        if key in changes
    }
    return Facts(described(**changes), btf=btf, btf_features=frozenset(features), **own)  # type: ignore[arg-type]


def types(*values: BtfType, byteorder: str = "little") -> Btf:
    """BTF of ``values``, with ids from 1 on."""
    builder = BtfBuilder(byteorder=byteorder)
    for value in values:
        builder.add(value)
    return parse_btf(builder.build())


def an_object(*, btf: Btf | None = None, **parts: object) -> ObjectFile:
    values: dict[str, object] = {"name": "demo.bpf.o", "byteorder": "little", "license": "GPL", "programs": ()}
    return ObjectFile(**{**values, "btf": btf, "btf_raw": btf.data if btf else b"", **parts})  # type: ignore[arg-type]
