"""An object that is loaded into a kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, TypeVar, Unpack, cast

from pytest_ebpf.agent.ops import Close, Handle, Try
from pytest_ebpf.btf.value_type import TypeTable
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.attach.link import Link
from pytest_ebpf.live.handles import close_after
from pytest_ebpf.live.instrument import instrumenting
from pytest_ebpf.live.maps.globals import Globals
from pytest_ebpf.live.maps.map import Map
from pytest_ebpf.live.program import Program
from pytest_ebpf.live.session import Session
from pytest_ebpf.live.struct_ops import StructOps
from pytest_ebpf.live.typed.object_types import ObjectTypes
from pytest_ebpf.obj.object import ObjectFile, Problem
from pytest_ebpf.suggest import close_names

if TYPE_CHECKING:
    from pytest_ebpf.live.attach.arguments import AttachOptions
    from pytest_ebpf.live.instrument.calls import Calls
    from pytest_ebpf.live.instrument.doubles import Doubles
    from pytest_ebpf.live.instrument.failing import ActiveFault
    from pytest_ebpf.live.instrument.state import Instruments

__all__ = ["Attachments", "BpfObject", "Named", "OnFirstUse"]

T = TypeVar("T")


class OnFirstUse(Mapping[str, T]):
    """Values by name, each made when it is first asked for: most tests use few of an object's maps, and the types of
    some (Rust's untyped maps) are read from DWARF."""

    def __init__(self, makers: Mapping[str, Callable[[], T]]) -> None:
        self._makers = makers
        self._made: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._makers

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


class Named(Mapping[str, T]):
    """Things by name. A name that is not there raises ``KeyError`` with the nearest one, or the reason why it was not
    loaded."""

    def __init__(self, things: Mapping[str, T], *, what: str, why_not: Mapping[str, str] | None = None) -> None:
        self._things = things
        self._what = what
        self._why_not = dict(why_not or {})

    def __getitem__(self, name: str) -> T:
        if name in self._things:
            return self._things[name]
        if name in self._why_not:
            raise KeyError(f"{self._what} {name!r} was not loaded: {self._why_not[name]}")
        close = close_names(name, self._things, most=1)
        near = f"did you mean {close[0]!r}?" if close else f"it has: {', '.join(self._things) or 'none'}"
        raise KeyError(f"the object has no {self._what} {name!r}; {near}")

    def __contains__(self, name: object) -> bool:
        return name in self._things

    def __iter__(self) -> Iterator[str]:
        return iter(self._things)

    def __len__(self) -> int:
        return len(self._things)

    def __repr__(self) -> str:
        return f"<{self._what}s: {', '.join(self._things) or 'none'}>"


class BpfObject(Mapping[str, Program]):
    """A loaded object, as ``bpf.load`` returns it: a mapping from names to programs, with ``obj.maps["m"]``,
    ``obj.globals["g"]`` and ``obj.attach()``. As a context manager it is unloaded at the end of the block; otherwise
    with the test."""

    def __init__(
        self,
        session: Session,
        *,
        name: str,
        programs: Named[Program],
        maps: Named[Map],
        globals: Globals,
        struct_ops: Named[StructOps] | None = None,
        handles: tuple[Handle, ...],
        problems: tuple[Problem, ...] = (),
        types: ObjectTypes | None = None,
        file: ObjectFile | None = None,
    ) -> None:
        self._session = session
        self.name = name
        self.programs = programs
        self.maps = maps
        self.globals = globals
        self.struct_ops: Named[StructOps] = struct_ops if struct_ops is not None else Named({}, what="struct_ops")
        self.problems = problems
        self.links: list[Link] = []
        self._handles = handles
        self._types = types if types is not None else ObjectTypes(None)
        self._file = file
        self._instruments: Instruments | None = None

    @property
    def closed(self) -> bool:
        """Whether it was unloaded with ``close``."""
        return not self._handles

    @property
    def session(self) -> Session:
        """The scope that it was loaded in."""
        return self._session

    @property
    def path(self) -> str:
        """The object file, "" when it came from none."""
        return self._file.name if self._file is not None else ""

    @property
    def doubles(self) -> Doubles:
        """What stands in for calls, by name: ``obj.doubles["bpf_ktime_get_ns"].value += 1e9``."""
        return self.instruments.doubles

    def double(self, doubles: Doubles) -> None:
        """Take over the doubles that its programs were loaded with."""
        self._instruments = self._instrumented(doubles)
        self._instruments.watch()

    def calls(self, name: str | None = None) -> Calls:
        """The calls of a helper, kfunc or function in the last run, None: of all. Recording begins with the first use,
        in copies of the programs, so take it before the run: ``calls = obj.calls("bpf_redirect")``. In a test whose own
        code has ``.calls(``, it begins with the load."""
        return self.instruments.calls(name)

    def record_calls(self) -> None:
        """Begin to record, if some program calls something."""
        self.instruments.recorder()

    def faults(
        self,
        name: str,
        *,
        errno: str | int = "",
        after: int = 0,
        times: int | None = None,
        key: object = None,
        program: str = "",
    ) -> AbstractContextManager[ActiveFault]:
        """Inside the ``with`` block, calls of ``name`` fail: with NULL where it returns a pointer, else with ``errno``
        ("E2BIG"; the usual one of the helper unless given). ``after`` calls pass first, and ``times`` fail (all that
        come, unless given). ``key``: only calls about this element of a map. ``program``: only those of one program.
        The value of the block counts them: ``fault.failed``.

        ``BpfUsageError``: nothing calls it, or it cannot fail. ``PlanError``: the verifier knows that it cannot fail.
        """
        plan = instrumenting().FaultPlan(name, errno, after, times, key, program)
        return self.instruments.failing(plan)

    @property
    def instruments(self) -> Instruments:
        """The instrumented copies of its programs."""
        if self._instruments is None:
            self._instruments = self._instrumented(None)
        return self._instruments

    def _instrumented(self, doubles: Doubles | None) -> Instruments:
        if self._file is None:
            raise BpfUsageError(f"{self.name} was not loaded from an object file: its programs cannot be rewritten")
        made: Instruments = instrumenting().Instruments(
            self._session, obj=self._file, programs=self.programs, maps=lambda: self.maps, doubles=doubles
        )
        return made

    @property
    def types(self) -> TypeTable:
        """The types of the object file by name: ``obj.types["event"].size``, ``.fields``, ``.unpack``, ``.pack``."""
        return TypeTable(self._types.btf, name=self.name, more=lambda: self._types.wide)

    @property
    def aya_logs(self) -> Map:
        """The messages of aya-log-ebpf (``info!(&ctx, …)``): ``obj.aya_logs.events()`` and ``.expect({"message": …})``
        give ``events.aya_log.AyaRecord``. ``BpfUsageError`` when the object writes none."""
        if "AYA_LOGS" not in self.maps:
            raise BpfUsageError(
                f"{self.name} has no map AYA_LOGS, so none of its programs writes to aya-log",
                hint="Is aya-log-ebpf used, and is one of its macros reached? Else read maps[...].events().",
            )
        return self.maps["AYA_LOGS"]

    def __getitem__(self, name: str) -> Program:
        return self.programs[name]

    def __contains__(self, name: object) -> bool:
        return name in self.programs

    def __iter__(self) -> Iterator[str]:
        return iter(self.programs)

    def __len__(self) -> int:
        return len(self.programs)

    def __bool__(self) -> bool:
        return True  # an object of maps alone is loaded, too

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    def attach(self, **options: Unpack[AttachOptions]) -> Attachments:
        """Attach every program by what its section name states; ``options`` adds what it leaves open
        (``interface="lo"``, ``cgroup=group``) and goes to the programs that take it. Returns the
        attachments, which have the object's programs, maps and globals too.

        Programs that are never attached (SYSCALL, for one) are skipped. ``BpfUsageError`` names what is missing.
        """
        from pytest_ebpf.live.attach.table import attacher_for

        used: set[str] = set()
        links: list[Link] = []
        for program in self.programs.values():
            row = attacher_for(program)
            if row is None:
                continue
            takes = {name: value for name, value in options.items() if name in (*row.needs, *row.takes)}
            used |= set(takes)
            links.append(program.attach(**cast("AttachOptions", takes)))
            self.links.append(links[-1])
        for table in self.struct_ops.values():
            links.append(table.attach())
            self.links.append(links[-1])
        unused = [name for name in options if name not in used]
        if unused:
            raise BpfUsageError(f"no program of {self.name} takes {unused[0]}= to attach")
        if not links:
            raise BpfUsageError(f"{self.name} has no program that can be attached", hint="Run them with prog.run(...).")
        return Attachments(self, links)

    def close(self) -> None:
        """Detach and unload now instead of at the end of the test. Twice is harmless."""
        while self.links:
            self.links.pop().detach()
        handles, self._handles = self._handles, ()
        if handles:
            self._session.run([Try(Close(handle)) for handle in reversed(handles)])

    def __enter__(self) -> BpfObject:
        return self

    def __exit__(self, *exc: object) -> None:
        close_after(exc, self.close)

    async def __aenter__(self) -> BpfObject:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.__exit__(*exc)

    def __repr__(self) -> str:
        return f"<BpfObject {self.name}: {', '.join(self.programs)}>"


class Attachments(Mapping[str, Program]):
    """What ``obj.attach()`` attached: ``links``. Programs, ``maps`` and ``globals`` are those of the object. As a
    context manager it is detached at the end of the block, and the object stays loaded; otherwise with the test."""

    def __init__(self, obj: BpfObject, links: Sequence[Link]) -> None:
        self.object = obj
        self.links = tuple(links)

    @property
    def name(self) -> str:
        """The name of the object file."""
        return self.object.name

    @property
    def programs(self) -> Named[Program]:
        """The programs of the object by name, also those that are not attached."""
        return self.object.programs

    @property
    def maps(self) -> Named[Map]:
        """The maps of the object by name."""
        return self.object.maps

    @property
    def globals(self) -> Globals:
        """The global variables of the object by name."""
        return self.object.globals

    @property
    def struct_ops(self) -> Named[StructOps]:
        """The struct_ops tables of the object by name."""
        return self.object.struct_ops

    @property
    def types(self) -> TypeTable:
        """The types of the object file by name."""
        return self.object.types

    @property
    def aya_logs(self) -> Map:
        """The messages of aya-log-ebpf: see ``BpfObject.aya_logs``."""
        return self.object.aya_logs

    def __getitem__(self, name: str) -> Program:
        return self.object[name]

    def __contains__(self, name: object) -> bool:
        return name in self.object

    def __iter__(self) -> Iterator[str]:
        return iter(self.object)

    def __len__(self) -> int:
        return len(self.object)

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    def detach(self) -> None:
        """Detach all of it now, the newest first. The object stays loaded. Twice is harmless."""
        for link in reversed(self.links):
            link.detach()

    def close(self) -> None:
        """As ``detach``."""
        self.detach()

    def __enter__(self) -> Attachments:
        return self

    def __exit__(self, *exc: object) -> None:
        close_after(exc, self.detach)

    async def __aenter__(self) -> Attachments:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.__exit__(*exc)

    def __repr__(self) -> str:
        return f"<Attachments of {self.name}: {len(self.links)} links>"
