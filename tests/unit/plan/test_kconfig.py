from __future__ import annotations

import pytest

from pytest_ebpf.btf import types as t
from pytest_ebpf.errors import ObjectError
from pytest_ebpf.obj.object import Extern
from pytest_ebpf.plan.kconfig import config_value, kernel_version, plan_kconfig
from support.plan_facts import an_object, described, facts, types

CONFIG = 'CONFIG_HZ=250\nCONFIG_BPF=y\nCONFIG_MOD=m\n# CONFIG_OFF is not set\nCONFIG_NAME="a b"\nCONFIG_HEX=0x10\n'
BTF = types(
    t.Int("int", 4, 32, signed=True),
    t.Int("_Bool", 1, 8, is_bool=True),
    t.Int("char", 1, 8, signed=True),
    t.Array(3, 1, 8),
    t.Enum("libbpf_tristate", 4, (("TRI_NO", 0), ("TRI_YES", 1), ("TRI_MODULE", 2))),
    t.DataSec(".kconfig", 0),
)
SIZES = {1: 4, 2: 1, 3: 1, 4: 8, 5: 4}


def value(name: str, type_id: int, **changes: object) -> bytes:
    """The bytes of one variable, or the reason why it has none."""
    own = {key: changes.pop(key) for key in ("is_weak", "values") if key in changes}
    size = SIZES[type_id]
    extern = Extern(name, "kconfig", type_id, size=size, align=min(size, 4), is_weak=bool(own.get("is_weak")))
    changes.setdefault("kconfig", CONFIG)
    found = plan_kconfig(an_object(btf=BTF, externs=(extern,)), facts(**changes), values=own.get("values", {}))  # type: ignore[arg-type]
    assert found is not None
    if found.missing:
        return found.missing[name].encode()
    return found.contents


@pytest.mark.parametrize(
    ("name", "type_id", "expected"),
    [
        ("CONFIG_HZ", 1, b"\xfa\0\0\0"),
        ("CONFIG_HEX", 1, b"\x10\0\0\0"),
        ("CONFIG_BPF", 2, b"\1"),
        ("CONFIG_BPF", 3, b"y"),
        ("CONFIG_BPF", 5, b"\1\0\0\0"),
        ("CONFIG_MOD", 5, b"\2\0\0\0"),
        ("CONFIG_MOD", 3, b"m"),
        ("CONFIG_NAME", 4, b"a b\0\0\0\0\0"),
        ("LINUX_KERNEL_VERSION", 1, b"\x2c\x12\x06\0"),
        ("LINUX_HAS_BPF_COOKIE", 2, b"\1"),
        ("LINUX_HAS_SYSCALL_WRAPPER", 2, b"\1"),
    ],
)
def test_values_by_type(name: str, type_id: int, expected: bytes) -> None:
    assert value(name, type_id) == expected


@pytest.mark.parametrize(
    ("name", "type_id"), [("CONFIG_MOD", 2), ("CONFIG_HZ", 2), ("CONFIG_NAME", 1), ("CONFIG_HZ", 5)]
)
def test_a_type_that_cannot_hold_the_value(name: str, type_id: int) -> None:
    assert b"which its C type cannot hold" in value(name, type_id)


def test_a_missing_option_is_zero_when_weak_and_a_reason_when_strong() -> None:
    assert value("CONFIG_OFF", 2, is_weak=True) == b"\0"
    assert b"CONFIG_OFF is not in this kernel's configuration" in value("CONFIG_OFF", 2)
    assert b"this kernel does not show its configuration" in value("CONFIG_HZ", 1, kconfig="")


def test_a_test_decides_what_the_kernel_was_configured_with() -> None:
    assert value("CONFIG_OFF", 2, values={"CONFIG_OFF": True}) == b"\1"
    assert value("LINUX_KERNEL_VERSION", 1, values={"LINUX_KERNEL_VERSION": 1}) == b"\1\0\0\0"
    with pytest.raises(ObjectError, match="CONFIG_HZ cannot be 'fast'"):
        value("CONFIG_HZ", 1, values={"CONFIG_HZ": "fast"})


def test_the_wrapper_is_looked_up_in_the_kernels_types() -> None:
    without = types(t.FuncProto(0), t.Func("sys_bpf", 1))
    assert value("LINUX_HAS_SYSCALL_WRAPPER", 2, btf=without) == b"\0"
    assert value("LINUX_HAS_SYSCALL_WRAPPER", 2, btf=types(t.FuncProto(0), t.Func("__x64_sys_bpf", 1))) == b"\1"


def test_variables_are_aligned_one_after_the_other() -> None:
    externs = (
        Extern("CONFIG_BPF", "kconfig", 2, size=1, align=1),
        Extern("CONFIG_HZ", "kconfig", 1, size=4, align=4),
    )
    found = plan_kconfig(an_object(btf=BTF, externs=externs), facts(kconfig=CONFIG), values={})
    assert found is not None
    assert found.layout.variables == {"CONFIG_BPF": (0, 1), "CONFIG_HZ": (4, 4)}
    assert found.contents == b"\1\0\0\0\xfa\0\0\0"
    assert found.btf_id == 6


def test_an_object_without_such_externs_has_no_map() -> None:
    assert plan_kconfig(an_object(btf=BTF), facts(), values={}) is None


@pytest.mark.parametrize(
    ("release", "version", "expected"),
    [
        ("6.18.44", "#1 SMP", (6, 18, 44)),
        ("6.1", "", (6, 1, 0)),
        ("4.14.300-x", "", (4, 14, 255)),  # the patch level has 8 bits
        ("5.10.0-30-cloud-amd64", "#1 SMP Debian 5.10.262-1 (2026-01-01)", (5, 10, 255)),
        ("weird", "", (0, 0, 0)),
    ],
)
def test_kernel_version(release: str, version: str, expected: tuple[int, int, int]) -> None:
    major, minor, patch = expected
    assert kernel_version(described(release=release, version=version)) == major << 16 | minor << 8 | patch


def test_config_value() -> None:
    assert config_value(CONFIG, "CONFIG_HZ") == "250"
    assert config_value(CONFIG, "CONFIG_OFF") is None
    assert config_value(CONFIG, "CONFIG_H") is None
