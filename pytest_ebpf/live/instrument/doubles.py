"""The doubles of a loaded object: where their values are, and how a test changes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from pytest_ebpf.agent.ops import Handle
from pytest_ebpf.errors import BpfUsageError, PlanError
from pytest_ebpf.frozen import replace
from pytest_ebpf.live.instrument.fakes import Fake
from pytest_ebpf.live.instrument.memory import Memory
from pytest_ebpf.live.session import Session
from pytest_ebpf.rewrite.doubles import INDEX, OVERRUN, Double, double_edit
from pytest_ebpf.rewrite.edit import Edit
from pytest_ebpf.rewrite.sites import CallSite
from pytest_ebpf.suggest import did_you_mean

__all__ = ["DoubleValue", "Doubles"]


class Doubles(Mapping[str, "DoubleValue"]):
    """``obj.doubles``: by the name of what they stand in for. ``functions``: names whose double is a function of
    another object, and the name of that. ``rebuild`` is set once there are copies to make anew."""

    def __init__(self, session: Session, fakes: Mapping[str, Fake], *, functions: Mapping[str, str]) -> None:
        self.functions = dict(functions)
        self.rebuild: Callable[[], None] = lambda: None
        self._fakes = dict(fakes)
        self._offsets: dict[str, int] = {}
        groups: dict[str, int] = {}
        size = 0
        for name, fake in fakes.items():
            self._offsets[name] = groups.setdefault(fake.group or name, size)
            size += fake.size if self._offsets[name] == size else 0
        self._memory = Memory(session, size=size, name="pe_doubles") if fakes else None
        for name, fake in fakes.items():
            self.memory.write(self._offsets[name], self.memory.packed(*fake.numbers))

    @property
    def memory(self) -> Memory:
        """Where their values are."""
        assert self._memory is not None
        return self._memory

    def double(self, name: str) -> Double | None:
        """What rewriting puts in the place of the calls of ``name``."""
        fake = self._fakes.get(name)
        return fake.placed(self._offsets[name]) if fake is not None else None

    def edit(self, site: CallSite) -> Edit | None:
        """What becomes of a call, None when it has no double."""
        double = self.double(site.function)
        return None if double is None else double_edit(site, double, target=self.handle)

    @property
    def handle(self) -> Handle:
        """The map with their values."""
        return self.memory.handle

    def fake(self, name: str) -> Fake:
        """What ``name`` returns instead."""
        return self._fakes[name]

    def change(self, name: str, fake: Fake) -> None:
        """Let ``name`` return something else, in a new copy where the instructions have to differ."""
        old = self._fakes[name]
        if fake.values or old.values or fake.seed is not None or old.seed is not None:
            raise BpfUsageError(f"{name}: only a double with one value can be changed", hint="Load the object again.")
        new = self._fakes[name] = replace(fake, group=old.group, divisor=old.divisor)
        self.memory.set_number(self._offsets[name], fake.retval)
        if not old.constant:
            return
        try:
            self.rebuild()
        except PlanError:  # the verifier has to know the number: an offset, a length
            self._fakes[name] = replace(new, constant=True)
            self.rebuild()

    def offset(self, name: str) -> int:
        """Where its numbers are in the memory."""
        return self._offsets[name]

    def too_many(self) -> tuple[str, int, int] | None:
        """A double whose sequence ended: its name, how many values it has, and how many calls came after the last one;
        they are counted anew."""
        for name, fake in self._fakes.items():
            if fake.values and fake.end == "error":
                over = self.memory.number(self._offsets[name] + OVERRUN)
                if over:
                    self.memory.set_number(self._offsets[name] + OVERRUN, 0)
                    return name, len(fake.values), over
        return None

    @property
    def can_end(self) -> bool:
        """Whether a run can take more values than a sequence has."""
        return any(fake.values and fake.end == "error" for fake in self._fakes.values())

    def __getitem__(self, name: str) -> DoubleValue:
        if name not in self._fakes:
            if name in self.functions:
                raise BpfUsageError(f"{name} is doubled by the function {self.functions[name]}, which has no value")
            raise KeyError(f"no double of {name!r}; {did_you_mean(name, self._fakes) or 'load with doubles={...}'}")
        return DoubleValue(self, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._fakes)

    def __len__(self) -> int:
        return len(self._fakes)

    def __repr__(self) -> str:
        return f"<doubles of {', '.join((*self._fakes, *self.functions)) or 'nothing'}>"


class DoubleValue:
    """One double of a loaded object."""

    def __init__(self, doubles: Doubles, name: str) -> None:
        self._doubles = doubles
        self.name = name

    @property
    def value(self) -> int:
        """What it returns (of a clock: its nanoseconds; of random numbers: the state). Setting it changes the next run,
        also of programs that are attached."""
        fake = self._doubles.fake(self.name)
        if fake.values:
            raise BpfUsageError(f"the double of {self.name} has a sequence of values", hint="See .values and .used.")
        number = self._doubles.memory.number(self._doubles.offset(self.name))
        return number - (1 << 64) if number >> 63 and fake.retval < 0 else number

    @value.setter
    def value(self, value: float) -> None:
        self._doubles.change(self.name, Fake(int(value)))

    @property
    def values(self) -> tuple[int, ...]:
        """Of a sequence: all its values."""
        return self._doubles.fake(self.name).values

    @property
    def used(self) -> int:
        """Of a sequence: how many of its values were used."""
        return self._doubles.memory.number(self._doubles.offset(self.name) + INDEX) if self.values else 0

    def __repr__(self) -> str:
        return f"<double of {self.name}: {list(self.values) if self.values else self.value}>"
