"""What the kernel calls the thing behind a section's target: ``lsm/file_open`` is the function bpf_lsm_file_open."""

from __future__ import annotations

from typing import NamedTuple

from pytest_ebpf.btf.types import Kind
from pytest_ebpf.obj.sections import SectionSpec

__all__ = ["KernelTarget", "kernel_target"]

# Section prefix -> the kernel's prefix, the kind of BTF type, and words for it.
_TARGETS = {
    "tp_btf": ("btf_trace_", Kind.TYPEDEF, "raw tracepoint"),
    "lsm": ("bpf_lsm_", Kind.FUNC, "LSM hook"),
    "lsm_cgroup": ("bpf_lsm_", Kind.FUNC, "LSM hook"),
    "iter": ("bpf_iter_", Kind.FUNC, "iterator"),
}


class KernelTarget(NamedTuple):
    """``name`` in BTF, with ``prefix`` before what the section says (``short``). ``module``: "" for anywhere."""

    name: str
    kind: Kind
    what: str
    prefix: str
    short: str
    module: str


def kernel_target(spec: SectionSpec) -> KernelTarget:
    """The target of a program that is attached by BTF. ``module:function`` says which module has it."""
    prefix, kind, what = _TARGETS.get(spec.prefix.removesuffix(".s"), ("", Kind.FUNC, "kernel function"))
    module, _, short = spec.target.rpartition(":")
    return KernelTarget(prefix + short, kind, what, prefix, short, module)
