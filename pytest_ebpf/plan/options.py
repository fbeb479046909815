"""The changes to an object that a test asks for, as values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_ebpf.frozen import dataclass, field
from pytest_ebpf.plan.attach import Device, ExtTarget
from pytest_ebpf.plan.map_definitions import MapOverride

__all__ = ["LoadOptions", "ProgramOverride"]

_EXTRA_STATS = 4


@dataclass(frozen=True, slots=True)
class ProgramOverride:
    """Changes to one program; None leaves as it is.

    ``section``: the section to use instead of its own ("fentry/do_unlinkat"). ``type``, ``attach_type``: numbers of
    enum bpf_prog_type, bpf_attach_type. ``target``: what it is attached to ("do_unlinkat", "nf_conntrack:nf_ct_put").
    ``program``: the loaded program that it extends (type EXT) or traces. ``device``: the interface that an XDP program
    is bound to.
    """

    section: str = ""
    type: int | None = None
    attach_type: int | None = None
    target: str | None = None
    autoload: bool | None = None
    sleepable: bool | None = None
    frags: bool | None = None
    program: ExtTarget | None = None
    device: Device | None = None


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """The options of a load.

    ``globals``: variable -> value. ``maps``: map -> max_entries, fields, or a map to use instead (``MapOverride``).
    ``programs``: program -> changes. ``kconfig``: values of .kconfig externs. ``only``: names of the programs to load;
    empty: all but those whose section begins with "?". ``log_level``: of the verifier. ``targets``: program -> the
    program it extends. ``btf`` off loads the object without its types. ``pin_path``: the directory of maps pinned by
    name. ``struct_ops``: table -> whether it is loaded, or values of its members. ``license``: instead of the object's,
    "" for that. ``site``: the line of test code, for leak reports.
    """

    globals: Mapping[str, Any] = field(default_factory=dict)
    maps: Mapping[str, MapOverride] = field(default_factory=dict)
    only: tuple[str, ...] = ()
    log_level: int = _EXTRA_STATS
    targets: Mapping[str, ExtTarget] = field(default_factory=dict)
    btf: bool = True
    site: str = ""
    programs: Mapping[str, ProgramOverride] = field(default_factory=dict)
    kconfig: Mapping[str, Any] = field(default_factory=dict)
    pin_path: str = "/sys/fs/bpf"
    license: str = ""
    struct_ops: Mapping[str, bool | Mapping[str, Any]] = field(default_factory=dict)
