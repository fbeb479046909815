"""The facts loop: what an object needs to be known of a kernel beyond the facts that are known, and what was learned.

while ops := needs(obj, facts):
    facts = learn(facts, ops, results=session.run(ops))
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence

from pytest_ebpf.agent.ops import Data, Described, ListDir, Op, ReadFile, Result, Try
from pytest_ebpf.btf.parse import Btf, parse_btf
from pytest_ebpf.errors import ObjectError
from pytest_ebpf.frozen import replace
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.plan.data_probes import data_probes, read_data_probes
from pytest_ebpf.plan.facts import Facts, is_untyped
from pytest_ebpf.plan.modules import lacks_types

__all__ = ["kconfig_ops", "learn", "module_ops", "needs"]

_KALLSYMS, _SIGNATURE = "/proc/kallsyms", "/proc/version_signature"
_MODULES = "/sys/kernel/btf"


def needs(obj: ObjectFile, facts: Facts, *, lacks: Callable[[ObjectFile, Facts], bool] = lacks_types) -> list[Op]:
    """The ops whose answers ``learn`` has to add before ``obj`` can be planned, [] when all is known. ``lacks``:
    whether the object names what vmlinux does not have, so that modules are searched."""
    ops = _files(obj, facts)
    if ops or not (facts.listed is not None or lacks(obj, facts)):
        return ops
    return module_ops(facts)


def learn(facts: Facts, ops: Sequence[Op], *, results: Sequence[Result]) -> Facts:
    """``facts`` and what the answers to ``ops`` (of ``needs``, ``kconfig_ops`` or ``module_ops``) add to them."""
    texts: dict[str, str] = {}
    modules, listed = facts.modules, facts.listed
    for op, result in zip(ops, results, strict=False):  # fewer answers than questions: what came counts
        asked = op.op if isinstance(op, Try) else op
        if isinstance(asked, ListDir):
            listed = _names(result)
            modules = _still_loaded(modules, listed)
        elif isinstance(asked, ReadFile) and asked.path.startswith(_MODULES + "/"):
            name = asked.path.rpartition("/")[2]
            types = _module_types(result, base=facts.btf)
            if types is not None:
                modules = {**(modules or {}), name: types}
            elif listed is not None:
                listed = tuple(other for other in listed if other != name)
        elif isinstance(asked, ReadFile):
            key = {_KALLSYMS: "kallsyms", _SIGNATURE: "signature"}.get(asked.path, "kconfig")
            texts[key] = texts.get(key) or _text(result)
    probed = dict(read_data_probes(ops, results))
    return replace(
        facts,
        kconfig=texts.get("kconfig", facts.kconfig),
        kallsyms=texts.get("kallsyms", facts.kallsyms),
        signature=texts.get("signature", facts.signature),
        modules=modules,
        listed=listed,
        data={**facts.data, **probed} if probed else facts.data,
    )


def kconfig_ops(described: Described) -> list[Op]:
    """Reads of the places where a kernel's configuration may be, the kernel's own copy first."""
    places = ("/proc/config.gz", f"/boot/config-{described.release}", f"/lib/modules/{described.release}/config")
    return [Try(ReadFile(place)) for place in places]


def module_ops(facts: Facts) -> list[Op]:
    """A listing of the modules that are loaded now, then reads of the types of those that are not known."""
    if facts.listed is None:
        return [Try(ListDir(_MODULES))]
    known = facts.modules or {}
    return [Try(ReadFile(f"{_MODULES}/{name}")) for name in facts.listed if name not in known]


def _files(obj: ObjectFile, facts: Facts) -> list[Op]:
    """Reads of large files that ``obj`` needs, and loads of probes; usually none."""
    ops: list[Op] = []
    kinds = {extern.kind for extern in obj.externs}
    if "kconfig" in kinds and facts.kconfig is None:
        ops += kconfig_ops(facts.described)
    names = {extern.name for extern in obj.externs}
    wants_symbols = "LINUX_HAS_SYSCALL_WRAPPER" in names and facts.btf is None
    if (wants_symbols or any(is_untyped(extern, obj) for extern in obj.externs)) and facts.kallsyms is None:
        ops.append(Try(ReadFile(_KALLSYMS)))
    if "LINUX_KERNEL_VERSION" in names and facts.signature is None:
        ops.append(Try(ReadFile(_SIGNATURE)))
    known, order = frozenset(facts.data), facts.described.byteorder
    return ops + data_probes(obj, known=known, byteorder=order, start=len(ops))


def _names(result: Result) -> tuple[str, ...]:
    names = result.data.decode(errors="replace").split("\0") if isinstance(result, Data) else []
    return tuple(name for name in names if name and name != "vmlinux")


def _still_loaded(modules: Mapping[str, Btf] | None, listed: Sequence[str]) -> Mapping[str, Btf]:
    """The types of modules that were not unloaded meanwhile."""
    if modules is not None and set(modules) <= set(listed):
        return modules
    return {name: types for name, types in (modules or {}).items() if name in listed}


def _module_types(result: Result, *, base: Btf | None) -> Btf | None:
    """None for a module that was unloaded meanwhile, or whose types were made for another vmlinux: the kernel would not
    accept those either."""
    if not isinstance(result, Data) or base is None:
        return None
    try:
        return parse_btf(result.data, base=base)
    except ObjectError:
        return None


def _text(result: Result) -> str:
    if not isinstance(result, Data):
        return ""
    data = result.data
    if data[:2] == b"\x1f\x8b":
        data = zlib.decompress(data, wbits=31)
    return data.decode(errors="replace")
