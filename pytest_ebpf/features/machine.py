"""What differs between processors and shows in tests: the JIT, the order of bytes, the size of a page, the registers.

Nothing is tried: the kernel described itself (``Described``). A kernel without one skips the test; the reason is what
the kernel said. The registers are those of ``struct pt_regs`` as a program was compiled to read them
(``-D__TARGET_ARCH_x86``), so a kprobe's object is for one processor unless it reads no argument.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from pytest_ebpf.agent.ops import Described, Op, Result
from pytest_ebpf.features.base import Answer, Feature
from pytest_ebpf.plan.facts import Facts

__all__ = ["MACHINE_FEATURES"]

_SINCE, _COMMIT = "3.15", "bd4cf0ed331a"  # the instruction set itself
# JITs for it: 622582786c9e, e54bcde3d69d, 2353ecc6f91f, 054623105728, 156d0e290e96
_JITS = (("x86_64", "3.16"), ("aarch64", "3.18"), ("riscv64", "5.1"), ("s390x", "4.1"), ("ppc64le", "4.8"))
_MACHINES = tuple(machine for machine, _ in _JITS)  # of ``uname -m``
_BIG = ("s390x",)


def _jit(described: Described) -> tuple[bool, str]:
    words = "translates programs" if described.jit else "interprets programs (net.core.bpf_jit_enable is 0, or missing)"
    return bool(described.jit), f"this {described.machine} kernel {words}"


def _order(described: Described, *, wanted: str) -> tuple[bool, str]:
    return described.byteorder == wanted, f"{described.machine} is {described.byteorder}-endian"


def _page(described: Described) -> tuple[bool, str]:
    return described.page_size == 4096, f"a page of this kernel has {described.page_size} bytes"


def _registers(described: Described, *, wanted: str) -> tuple[bool, str]:
    return described.machine == wanted, f"the registers are those of {described.machine}"


def _feature(name: str, ask: Callable[[Described], tuple[bool, str]], *, machines: Sequence[str]) -> Feature:
    """``machines``: those that have it; on others a test is skipped with what the kernel said."""
    releases = tuple((machine, _SINCE) for machine in machines)
    return Feature(name, _SINCE, _ops, partial(_read, name=name, ask=ask), _COMMIT, machines=releases, group="machine")


def _ops(facts: Facts) -> list[Op]:
    return []


def _read(
    results: Sequence[Result], facts: Facts, *, name: str, ask: Callable[[Described], tuple[bool, str]]
) -> Answer:
    works, words = ask(facts.described)
    since = dict(_JITS)["x86_64"] if name == "jit" else _SINCE
    return Answer(works, f"{name}: {words}", since, "off" if name == "jit" and not works else "")


MACHINE_FEATURES: tuple[Feature, ...] = (
    Feature(
        "jit",
        "3.16",
        _ops,
        partial(_read, name="jit", ask=_jit),
        source="622582786c9e",
        config=("BPF_JIT",),
        machines=_JITS,
        group="machine",
    ),
    _feature("little_endian", partial(_order, wanted="little"), machines=[one for one in _MACHINES if one not in _BIG]),
    _feature("big_endian", partial(_order, wanted="big"), machines=_BIG),
    _feature("page_4k", _page, machines=("x86_64", "s390x")),  # the others have kernels with larger ones
    *(_feature(f"pt_regs_{one}", partial(_registers, wanted=one), machines=(one,)) for one in _MACHINES),
)
