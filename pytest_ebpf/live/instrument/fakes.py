"""Doubles as a test writes them: ``doubles={"bpf_ktime_get_ns": 5, "bpf_get_prandom_u32": [1, 2]}``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.rewrite.doubles import FIRST, Cell, Constant, Double, Random, Sequence as Values

__all__ = ["Fake", "Function", "as_double", "check_doubles", "fake", "frozen_clock", "seeded_random"]

_CLOCKS = ("bpf_ktime_get_ns", "bpf_ktime_get_boot_ns", "bpf_ktime_get_coarse_ns", "bpf_ktime_get_tai_ns")
_JIFFY = 4_000_000  # nanoseconds, of a kernel with CONFIG_HZ=250
_RANDOM = ("bpf_get_prandom_u32",)
_ENDS = ("error", "repeat")
_HINT = 'A double is a number, a list of numbers, "object.bpf.o:function", or bpf.fake(retval=...).'


@dataclass(frozen=True, slots=True)
class Fake:
    """What a call returns instead: ``retval``, which the test can change between runs; or ``values``, one for each
    call, whose ``end`` is an "error" of the run or a "repeat"; or random numbers from ``seed``. ``constant``: the
    verifier knows it. ``optional``: no error when the object does not call it. ``divisor``: of ``retval``. ``group``:
    doubles of one group share their value."""

    retval: int = 0
    values: tuple[int, ...] = ()
    end: str = "error"
    seed: int | None = None
    constant: bool = False
    optional: bool = False
    divisor: int = 1
    group: str = ""

    @property
    def size(self) -> int:
        """The bytes that it takes in the map."""
        return FIRST + 8 * len(self.values) if self.values else 8

    @property
    def numbers(self) -> tuple[int, ...]:
        """What is there before the first run, as u64."""
        return (0, 0, *self.values) if self.values else (self.retval if self.seed is None else self.seed,)

    def placed(self, offset: int) -> Double:
        """The double whose bytes are at ``offset``."""
        if self.seed is not None:
            return Random(offset)
        if self.values:
            return Values(offset, len(self.values), self.end == "repeat")
        if self.constant:
            return Constant(self.retval // self.divisor)
        return Cell(offset, self.divisor)


@dataclass(frozen=True, slots=True)
class Function:
    """A function of another object: ``path`` and its name."""

    path: str
    name: str


def fake(retval: int = 0, *, values: Sequence[int] = (), end: str = "error") -> Fake:
    """As ``Bpf.fake``."""
    if end not in _ENDS:
        raise BpfUsageError(f"end={end!r}: a sequence ends with {' or '.join(map(repr, _ENDS))}")
    return Fake(_number(retval, "retval"), tuple(_number(value, "values") for value in values), end)


def frozen_clock(now: int) -> dict[str, Fake]:
    """As ``Bpf.frozen_clock``."""
    clock = Fake(_number(now, "now"), optional=True, group="clock")
    jiffies = Fake(_number(now, "now"), optional=True, group="clock", divisor=_JIFFY)
    return {**dict.fromkeys(_CLOCKS, clock), "bpf_jiffies64": jiffies}


def seeded_random(seed: int) -> dict[str, Fake]:
    """As ``Bpf.seeded_random``."""
    return dict.fromkeys(_RANDOM, Fake(seed=_number(seed, "seed"), optional=True))


def as_double(name: str, given: object) -> Fake | Function:
    """``BpfUsageError`` for what is no double."""
    if isinstance(given, Fake):
        return given
    if isinstance(given, str):
        path, colon, function = given.rpartition(":")
        if not colon or not path or not function:
            raise BpfUsageError(f"doubles={{{name!r}: {given!r}}} names no function of an object", hint=_HINT)
        return Function(path, function)
    if isinstance(given, Sequence) and not isinstance(given, bytes):
        if not given:
            raise BpfUsageError(f"doubles={{{name!r}: []}} has no value for the first call", hint=_HINT)
        return fake(values=given)
    if given is None:
        return Fake(0, constant=True)
    if isinstance(given, int | float):
        return Fake(_number(given, name), constant=True)
    raise BpfUsageError(f"doubles={{{name!r}: {given!r}}} is no double", hint=_HINT)


def _number(value: object, what: str) -> int:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int) and -(1 << 63) <= value < 1 << 64:
        return int(value)
    raise BpfUsageError(f"{what}: {value!r} is not a number of 64 bits", hint=_HINT)


def check_doubles(given: object) -> dict[str, Fake | Function]:
    """What ``doubles=`` got, by name."""
    if not isinstance(given, Mapping):
        raise BpfUsageError(f"doubles={given!r} is no dict", hint='Write doubles={"bpf_ktime_get_ns": 5}.')
    return {str(name): as_double(str(name), value) for name, value in given.items()}
