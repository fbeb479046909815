"""``extern ... __kconfig`` variables: what the kernel was configured with, as a read-only map.

Semantics are libbpf's (src/libbpf.c: set_kcfg_value_*). The values come from the text of the kernel's configuration;
a test can give any of them through ``globals=`` and so try both sides of an ``if``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from pytest_ebpf.agent.ops import Described
from pytest_ebpf.btf.codec import encode
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import Array, Enum, Int, Kind
from pytest_ebpf.errors import ObjectError, PlanError
from pytest_ebpf.frozen import dataclass, field
from pytest_ebpf.obj.object import Extern, ObjectFile
from pytest_ebpf.plan.facts import Facts
from pytest_ebpf.plan.sanitise import SectionLayout

__all__ = ["KCONFIG", "Kconfig", "config_value", "kernel_version", "plan_kconfig"]

KCONFIG = ".kconfig"
_TRISTATE = {"n": 0, "y": 1, "m": 2}  # enum libbpf_tristate
_SYSCALL_PREFIX = {"x86_64": "x64", "aarch64": "arm64", "s390x": "s390x", "riscv64": "riscv", "powerpc64": "powerpc"}


@dataclass(frozen=True, slots=True)
class Kconfig:
    """The contents of the map and where each variable lies; ``missing``: variable -> why there is no value."""

    contents: bytes = field(repr=False)
    layout: SectionLayout
    btf_id: int
    missing: Mapping[str, str]


def plan_kconfig(obj: ObjectFile, facts: Facts, *, values: Mapping[str, Any]) -> Kconfig | None:
    """The .kconfig map of an object, None when it has no such externs. ``values`` win over the configuration.

    A strong variable that the configuration lacks fails the programs that use it, not the object.
    """
    externs = [extern for extern in obj.externs if extern.kind == "kconfig"]
    if not externs or obj.btf is None:
        return None
    data = bytearray()
    places: dict[str, tuple[int, int]] = {}
    missing: dict[str, str] = {}
    for extern in externs:
        align = extern.align or 1
        data += bytes(-len(data) % align)
        places[extern.name] = (len(data), extern.size)
        try:
            data += _value(obj, extern, facts=facts, values=values)
        except PlanError as error:
            missing[extern.name] = str(error)
            data += bytes(extern.size)
    found = obj.btf.datasecs(KCONFIG)
    return Kconfig(bytes(data), SectionLayout(len(data), places), found[0] if found else 0, missing)


def _value(obj: ObjectFile, extern: Extern, *, facts: Facts, values: Mapping[str, Any]) -> bytes:
    btf = obj.btf
    assert btf is not None
    if extern.name in values:
        return _encoded(obj, extern, value=values[extern.name])
    virtual = _virtual(extern.name, facts)
    if virtual is not None:
        return _number(btf, extern, number=virtual)
    text = config_value(facts.kconfig or "", extern.name)
    if text is None:
        if extern.is_weak:
            return bytes(extern.size)
        raise PlanError(
            f"{extern.name} is not in this kernel's configuration" if facts.kconfig else
            f"{extern.name} is unknown: this kernel does not show its configuration",
            hint=f"declare it __weak, or give it a value: globals={{{extern.name!r}: ...}}",
        )  # fmt: skip
    return _from_config(btf, extern, text=text)


def _encoded(obj: ObjectFile, extern: Extern, *, value: Any) -> bytes:
    assert obj.btf is not None
    if isinstance(value, bytes) and len(value) == extern.size:
        return value
    if value in ("y", "n", "m") and isinstance(value, str):
        return _from_config(obj.btf, extern, text=value)
    try:
        return encode(obj.btf, extern.type_id, value=value).ljust(extern.size, b"\0")
    except (ValueError, TypeError, OverflowError) as error:
        raise ObjectError(f"{extern.name} cannot be {value!r}: {error}", path=obj.name) from None


def _virtual(name: str, facts: Facts) -> int | None:
    """The variables that are not in a configuration file."""
    if name == "LINUX_KERNEL_VERSION":
        return kernel_version(facts.described, signature=facts.signature or "")
    if name == "LINUX_HAS_BPF_COOKIE":
        return int(facts.attach_cookie)
    if name == "LINUX_HAS_SYSCALL_WRAPPER":
        prefix = _SYSCALL_PREFIX.get(facts.described.machine)
        if prefix is None:
            return 0
        if facts.btf is None:  # wrappers came with 4.17; without types and symbols, assume that there are some
            return int(f" __{prefix}_sys_bpf\n" in facts.kallsyms if facts.kallsyms else True)
        return int(bool(facts.btf.find(f"__{prefix}_sys_bpf", Kind.FUNC)))
    return None


def kernel_version(described: Described, *, signature: str = "") -> int:
    """KERNEL_VERSION(a, b, c) of the upstream release. uname on Debian reports 5.10.0 for all of 5.10, and Ubuntu does
    the same; Debian's version string has the real one, as has Ubuntu's ``signature`` ("Ubuntu 6.8.0-45.45-generic
    6.8.12")."""
    found = re.fullmatch(r"Ubuntu \S+ (\d+)\.(\d+)\.(\d+)", signature.strip())
    found = found or re.search(r"Debian (\d+)\.(\d+)\.(\d+)", described.version)
    found = found or re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", described.release)
    if found is None:
        return 0
    major, minor, patch = (int(part or 0) for part in found.groups())
    return major << 16 | minor << 8 | min(patch, 255)


def config_value(text: str, name: str) -> str | None:
    """The value of ``name`` in the configuration: "y", "m", a number or a quoted string; None when it is not set."""
    found = re.search(rf"^{re.escape(name)}=(.*)$", text, re.MULTILINE)
    return found[1].strip() if found else None


def _from_config(btf: Btf, extern: Extern, *, text: str) -> bytes:
    resolved = btf.type(btf.resolve(extern.type_id))
    if text.startswith('"'):
        element = btf.type(btf.resolve(resolved.type)) if isinstance(resolved, Array) else None
        if not (isinstance(element, Int) and element.size == 1):
            raise _mismatch(extern, text)
        return text.strip('"').encode()[: max(extern.size - 1, 0)].ljust(extern.size, b"\0")
    if text in _TRISTATE:
        if isinstance(resolved, Enum) or (isinstance(resolved, Int) and resolved.is_bool and text != "m"):
            return _number(btf, extern, number=_TRISTATE[text])
        if isinstance(resolved, Int) and resolved.size == 1 and not resolved.is_bool:
            return text.encode()
        raise _mismatch(extern, text)
    if not isinstance(resolved, Int) or resolved.is_bool:
        raise _mismatch(extern, text)
    try:
        return _number(btf, extern, number=int(text, 0))
    except ValueError:
        raise _mismatch(extern, text) from None


def _number(btf: Btf, extern: Extern, *, number: int) -> bytes:
    try:
        return number.to_bytes(extern.size, _order(btf), signed=number < 0)
    except OverflowError:
        raise _mismatch(extern, str(number)) from None


def _mismatch(extern: Extern, text: str) -> PlanError:
    return PlanError(f"{extern.name} is {text} in this kernel, which its C type cannot hold")


def _order(btf: Btf) -> Literal["little", "big"]:
    return "little" if btf.byteorder == "little" else "big"
