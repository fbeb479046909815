"""What hostile bytes may lead to: a value, an ObjectError, or a PlanError; soon, and nothing else.

Shared by tests/slow/obj/test_fuzz.py and benchmarks/fuzz.py. A case that ends in any other way raises: what it raised,
or TooSlowError.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from types import FrameType

from pytest_ebpf.agent.ops import BtfLoad, MapCreate, MapSet, ProgLoad, Try
from pytest_ebpf.btf.c_header import render_c
from pytest_ebpf.btf.codec import decode, describe, encode
from pytest_ebpf.btf.parse import Btf, parse_btf
from pytest_ebpf.btf.py_source import render_python
from pytest_ebpf.btf.write import rewrite_btf
from pytest_ebpf.errors import ObjectError, PlanError
from pytest_ebpf.obj.link import link_objects
from pytest_ebpf.obj.listing import list_function, render_listing
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.obj.parse import parse_object
from pytest_ebpf.obj.summary import summarise
from pytest_ebpf.plan.facts import Facts
from pytest_ebpf.plan.load_plan import Plan, plan_load
from support.mutate import mutate
from support.typed_objects import KINDS, typed_object

LIMIT_SECONDS = 1.0
_USED = 4096  # bytes of the largest type that is decoded and encoded


class TooSlowError(BaseException):
    """Out of time. No Exception: nothing in between may catch it."""


@contextmanager
def time_limit(seconds: float = LIMIT_SECONDS) -> Iterator[None]:
    """Raises TooSlowError in the block once it took that much processor time: a busy machine changes nothing."""

    def stop(signal_: int, frame: FrameType | None) -> None:
        raise TooSlowError(f"more than {seconds} s")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def object_case(data: bytes, *, seed: int, facts: Facts) -> str:
    """Mutation ``seed`` of object ``data``, asked everything and planned. "refused": an ObjectError; "unplanned": this
    kernel cannot (PlanError for all of it); "partly": some program cannot; "planned": all can."""
    with time_limit():
        return run_object(mutate(data, seed=seed), facts=facts)


def run_object(data: bytes, *, facts: Facts) -> str:
    try:
        obj = parse_object(data, name="fuzz.o")
        use_object(obj)
        plan = plan_load(obj, facts)
    except ObjectError:
        return "refused"
    except PlanError:
        return "unplanned"
    check_plan(plan)
    return "partly" if plan.problems else "planned"


def use_object(obj: ObjectFile) -> None:
    str(obj.problems)
    with suppress(ObjectError):
        summarise(obj)
    for function in (*obj.programs, *obj.text):
        render_listing(list_function(obj, function))
    for companion in _companions(obj.byteorder):
        with suppress(ObjectError):
            link_objects([obj, companion])
    if obj.btf:
        walk(obj.btf)
        rewrite_btf(obj.btf, dict(obj.datasecs))


@cache
def _companions(byteorder: str) -> tuple[ObjectFile, ...]:
    """Objects to link with."""
    data = typed_object(KINDS["union"], byteorder=byteorder)
    return (parse_object(data, name="companion.o"),)


def check_plan(plan: Plan) -> None:
    """Numbers that go into fields of the kernel's fit them, and what stands for something exists."""
    for op in plan.ops:
        inner = op.op if isinstance(op, Try) else op
        if isinstance(inner, MapCreate):
            numbers = (inner.type, inner.key_size, inner.value_size, inner.max_entries, inner.flags, inner.numa_node)
            assert all(0 <= number < 1 << 32 for number in numbers), inner
            assert 0 <= inner.map_extra < 1 << 64
        elif isinstance(inner, ProgLoad):
            assert inner.insns
            assert len(inner.insns) % 8 == 0
            slots = len(inner.insns) // 8
            assert all(patch.insn + 1 < slots for patch in inner.patches), "a patched load has two slots"
            assert len(inner.func_info) % 8 == len(inner.line_info) % 16 == 0
        elif isinstance(inner, BtfLoad):
            parse_btf(inner.data)
        elif isinstance(inner, MapSet) and isinstance(inner.value, bytes):
            assert len(inner.value) < 1 << 31
    for problem in plan.problems:
        assert str(problem.error)


def btf_case(data: bytes, *, seed: int) -> str:
    """Mutation ``seed`` of BTF, asked everything of every type."""
    with time_limit():
        try:
            walk(parse_btf(mutate(data, seed=seed)))
        except ObjectError:
            return "refused"
        return "parsed"


def target_case(data: bytes, *, seed: int, program: ObjectFile, facts: Callable[[Btf], Facts]) -> str:
    """Mutation ``seed`` of BTF as the kernel's types that ``program`` is relocated against."""
    with time_limit():
        try:
            plan = plan_load(program, facts(parse_btf(mutate(data, seed=seed))))
        except ObjectError:
            return "refused"
        check_plan(plan)
        return "partly" if plan.problems else "planned"


def walk(btf: Btf) -> None:
    """Every question that BTF answers, of every type."""
    asks = (btf.type, btf.name, btf.resolve, btf.size, partial(describe, btf), partial(_use, btf))
    for type_id in btf.ids():
        for ask in asks:
            with suppress(ObjectError):
                ask(type_id)
    for render in (render_c, render_python):
        with suppress(ObjectError):
            render(btf)
    with suppress(ObjectError):
        btf.find("value")
        btf.find_flavours("task_struct")


def _use(btf: Btf, type_id: int) -> None:
    size = btf.size(type_id)
    if size <= _USED:
        value = decode(btf, type_id, data=bytes(size))
        assert len(encode(btf, type_id, value=value)) == size
