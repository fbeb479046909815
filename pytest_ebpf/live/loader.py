"""The loader a test holds: ``bpf.load``, ``bpf.rejects``, ``bpf.has``, ``bpf.cgroup``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias

from pytest_ebpf.agent.ops import Leak
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.errors import BpfUsageError, GuestLost, HarnessError, PlanError
from pytest_ebpf.features import probe_feature
from pytest_ebpf.features.base import Answer
from pytest_ebpf.frozen import replace
from pytest_ebpf.live.attach.link import Link
from pytest_ebpf.live.bpf_object import BpfObject
from pytest_ebpf.live.eventually import eventually
from pytest_ebpf.live.facts_cache import facts_for
from pytest_ebpf.live.hints import advise
from pytest_ebpf.live.instrument import instrumenting
from pytest_ebpf.live.load import load_plan
from pytest_ebpf.live.load_cache import LoadCache, uncollected
from pytest_ebpf.live.load_request import Asked, options_of
from pytest_ebpf.live.maps.map import Map
from pytest_ebpf.live.object_file import find_object
from pytest_ebpf.live.pin_reuse import PinTakenError, reuse_pinned
from pytest_ebpf.live.program import Program
from pytest_ebpf.live.run_counts import counting_runs
from pytest_ebpf.live.session import Session, Target
from pytest_ebpf.live.typed.map_types import AskedTypes
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.obj.read import read_bytes
from pytest_ebpf.plan.options import LoadOptions
from pytest_ebpf.plan.program_overrides import check_lost
from pytest_ebpf.verifier.program_rejected import ProgramRejected

if TYPE_CHECKING:
    from pytest_ebpf.live.attach.query import Attached
    from pytest_ebpf.live.instrument.doubling import Doubling
    from pytest_ebpf.live.instrument.fakes import Fake
    from pytest_ebpf.live.kernel_objects import Inventory
    from pytest_ebpf.live.machine.cgroup import Cgroup
    from pytest_ebpf.live.machine.machine import BpfVm
    from pytest_ebpf.live.net.sockets import Process, Socket
    from pytest_ebpf.live.object_spec import ObjectSpec
    from pytest_ebpf.live.rejects import Rejects
    from pytest_ebpf.verifier.log.expect import Wanted

__all__ = ["Bpf", "Source"]

Source: TypeAlias = "str | os.PathLike[str] | Sequence[str | os.PathLike[str]]"
_PIN_ATTEMPTS = 5


class Bpf:
    """Loads objects into one kernel, for as long as its scope lasts.

    ``directories``: where a relative path is looked for, first match wins. ``cache`` keeps parsed objects and plans for
    the process. ``on_load`` hears of everything that was loaded, ``on_reject`` of what was refused and the name of its
    object. ``machine``: what ``bpf.machine`` is.
    """

    def __init__(
        self,
        target: Target,
        *,
        name: str = "",
        directories: Sequence[Path] = (),
        cache: LoadCache | None = None,
        on_load: Callable[[BpfObject], None] = lambda loaded: None,
        on_reject: Callable[[ProgramRejected, str], None] = lambda error, name: None,
        machine: BpfVm | None = None,
    ) -> None:
        self.session = Session(target, name=name, advise=advise)
        self._directories = tuple(directories)
        self._cache = cache or LoadCache()
        self._on_load = [on_load]
        self._on_reject = on_reject
        self._machine = machine

    @property
    def machine(self) -> BpfVm:
        """The machine around the kernel, of ``open_kernel``. ``BpfUsageError`` in a test, whose fixture is bpf_vm."""
        if self._machine is None:
            raise BpfUsageError("this loader has no machine", hint="In a test, take the fixture bpf_vm.")
        return self._machine

    def load(
        self,
        path: Source,
        *,
        globals: Mapping[str, object] | None = None,
        maps: Mapping[str, object] | None = None,
        programs: Mapping[str, object] | None = None,
        kconfig: Mapping[str, object] | None = None,
        struct_ops: Mapping[str, object] | None = None,
        btf: str | os.PathLike[str] | bytes | Btf | None = None,
        pin_path: str | os.PathLike[str] = "",
        only: Iterable[str] | str | None = None,
        log_level: int | None = None,
        license: str = "",
        perf_pages: int = 0,
        types: str | os.PathLike[str] | Btf | None = None,
        doubles: Mapping[str, object] | None = None,
    ) -> BpfObject:
        """Load every program that is not switched off (``SEC("?...")``) of an object file, or of several that are
        linked first. By name: ``globals``: values of variables, constants too; ``kconfig``; ``maps``: max_entries, a
        dict of fields (and ``contents``, ``pin``, ``freeze``, ``exclusive``, ``inner``; ``key``, ``value``: names of
        their types), or a ``Map`` to use; ``programs``: another section ("fentry/do_exit"), False to leave it out, or
        a dict of ``type``, ``attach_type``, ``target``, ``autoload``, ``sleepable``, ``frags``, ``interface``,
        ``extends``, ``traces``; ``struct_ops``: False, True or members; ``doubles``: docs/doubles.md. ``only``: names.
        ``btf``: types for CO-RE, a file or bytes. ``types``: a C header or object with more types. ``pin_path``:
        where maps are pinned. ``license``: instead of the object's. ``perf_pages``: of a perf buffer, a power of two.
        ``log_level``: 4 statistics, 2 the trace."""
        words = globals or {}, maps or {}, programs or {}, kconfig or {}, struct_ops or {}, btf
        asked = Asked(
            *words,
            pin_path=os.fspath(pin_path),
            only=only,
            log_level=log_level,
            license=license,
            perf_pages=perf_pages,
            types=types,
            doubles=doubles or {},
        )
        with uncollected():
            return self._load(self._object(path), asked)

    def fake(self, retval: int = 0, *, values: Sequence[int] = (), end: str = "error") -> Fake:
        """A double for ``load(doubles=...)`` that returns ``retval``, which ``obj.doubles[name].value`` changes between
        runs; or ``values``, one for each call, after the last of which the run is an "error" or they "repeat"."""
        return instrumenting().fake(retval, values=values, end=end)  # type: ignore[no-any-return]  # of a module, so untyped

    def frozen_clock(self, now: int = 0) -> dict[str, Fake]:
        """Doubles of all helpers that tell the time, which stands at ``now`` nanoseconds until a test moves it:
        ``doubles={**bpf.frozen_clock(5)}``. Those that the object does not call are left out."""
        return instrumenting().frozen_clock(now)  # type: ignore[no-any-return]  # of a module, so untyped

    def seeded_random(self, seed: int = 0) -> dict[str, Fake]:
        """A double of bpf_get_prandom_u32() whose numbers follow from ``seed``."""
        return instrumenting().seeded_random(seed)  # type: ignore[no-any-return]  # of a module, so untyped

    def open(self, path: Source, *, license: str = "") -> ObjectSpec:
        """What an object file (or several, linked) would load, to be changed before ``.load()`` loads it. No kernel is
        asked before. ``license`` in place of the object's. ``ObjectError`` says what is wrong with the file."""
        from pytest_ebpf.live.object_spec import ObjectSpec

        return ObjectSpec(self._object(path), load=self._load, license=license)

    def after_load(self, hear: Callable[[BpfObject], None]) -> None:
        """Call ``hear`` with every object that is loaded from now on."""
        self._on_load.append(hear)

    def rejects(
        self,
        *patterns: str | Wanted,
        errno: str | int | None = None,
        reason: str | None = None,
        absent: str | Sequence[str] = (),
    ) -> Rejects:
        """Expect a rejection inside the ``with`` block.

        ``patterns``: texts that the verifier log holds, in this order, with ``{{regex}}`` holes; ``absent("…")`` must
        not come between two of them, ``next_line("…")`` has to follow at once. ``absent``: what must be nowhere.
        ``errno``: "EACCES". ``reason``: the class of the rejection, the same on every kernel ("null-deref").
        """
        from pytest_ebpf.live.rejects import Rejects

        return Rejects(patterns, errno=errno, reason=reason, absent=absent)

    def feature(self, name: str) -> Answer:
        """What a probe of this kernel says about a feature: "ringbuf", "fentry", "helper:bpf_loop",
        "fentry:vfs_read", "tracepoint:sched:sched_switch", ..."""
        return probe_feature(self.session.target, name=name)

    def has(self, name: str) -> bool:
        """Whether this kernel has a feature. ``PlanError`` when the probe cannot tell."""
        answer = self.feature(name)
        if answer.supported is None:
            raise PlanError(f"feature {name!r}: {answer.message}", feature=name)
        return answer.supported

    def has_field(self, path: str) -> bool:
        """Whether a struct of this kernel has a field: ``has_field("task_struct.mm")``. A pointer is followed."""
        return self.has(f"field:{path}")

    def cgroup(self, name: str = "", *, controllers: Iterable[str] = ()) -> Cgroup:
        """A new control group (cgroup2), removed with the test: ``.run(argv)`` runs a command in it."""
        from pytest_ebpf.live.machine.cgroup import make_cgroup

        return make_cgroup(self.session, name=name, controllers=controllers)

    def socket(
        self,
        kind: str,
        *,
        family: str = "",
        protocol: int = 0,
        netns: object = None,
        cgroup: Cgroup | str | None = None,
        reuse_port: bool = False,
    ) -> Socket:
        """A socket where the kernel under test is, closed with the test: ``.bind()``, ``.listen()``, ``.connect(to)``,
        ``.accept()``, ``.send(data)``, ``.recv()``.

        ``kind``: "tcp", "udp", "raw", "packet", or of unix sockets "stream", "dgram", "seqpacket". ``family``: "ipv4"
        (default), "ipv6", "unix". ``netns``: a namespace other than the agent's. ``cgroup``: the group it belongs to.
        ``reuse_port``: SO_REUSEPORT.
        """
        opened: Socket = _sockets().open_socket(
            self.session,
            kind,
            family=family,
            protocol=protocol,
            netns=netns,
            cgroup=cgroup,
            reuse_port=reuse_port,
        )
        return opened

    def process(self, pid: int = 0) -> Process:
        """A descriptor of a process (Linux 5.3), the key of a task storage map; 0: the one that makes the system calls
        of this test (``bpf.socket``, ``prog.attach``)."""
        opened: Process = _sockets().open_process(self.session, pid)
        return opened

    def pinned_link(self, path: str) -> Link:
        """A link that is pinned (by ``link.pin()``, or by somebody else): ``update``, ``unpin`` or ``detach`` it.

        ``KernelCallError`` when nothing is pinned there, ``BpfUsageError`` when it is no link.
        """
        found = self._open_pin(path, kind="link")
        assert isinstance(found, Link)
        return found

    def pinned_map(self, path: str) -> Map:
        """A pinned map, of this or another process. ``KernelCallError`` when nothing is pinned there,
        ``BpfUsageError`` when it is not a map."""
        found = self._open_pin(path, kind="map")
        assert isinstance(found, Map)
        return found

    def pinned_program(self, path: str, *, section: str = "") -> Program:
        """A pinned program, of this or another process: ``run`` it, ``attach`` it, store it in a map. The kernel
        reports its type but not how it is attached: ``section`` ("tcx/ingress") names that where its type has several
        ways. ``KernelCallError`` when nothing is pinned there, ``BpfUsageError`` when it is not a program."""
        found = self._open_pin(path, kind="prog", section=section)
        assert isinstance(found, Program)
        return found

    def _open_pin(self, path: str, *, kind: str, section: str = "") -> Link | Map | Program:
        from pytest_ebpf.live.pins import open_pin

        return open_pin(self.session, path, kind=kind, section=section)

    def attached(self, **place: object) -> tuple[Attached, ...]:
        """The programs attached at a place, by any process, in the order in which they run. The place is one of

        - ``interface``, with ``direction`` for one of the two: XDP, TCX, clsact filters, netkit (and ``netns``)
        - ``cgroup``; ``effective=True``: what runs for its members, that of the groups above included
        - ``netns``: sk_lookup programs and the flow dissector
        - ``map``: programs on a sockmap or sockhash; ``device``: on an infrared receiver
        """
        from pytest_ebpf.live.attach.query import find_attached

        return find_attached(self.session, place)

    @property
    def loaded(self) -> Inventory:
        """The kernel's objects, of any process: ``.programs()``, ``.maps()``, ``.links()``, ``.btfs()``, or by id."""
        from pytest_ebpf.live.kernel_objects import Inventory

        return Inventory(self.session)

    def eventually(self, condition: Callable[[], Any], *, timeout: float = 2.0) -> Any:
        """Ask until ``condition()`` is true, and return its value: ``bpf.eventually(lambda: obj.maps["n"][0] == 3)``.

        ``timeout``: seconds on hardware of usual speed. After them an ``AssertionError`` shows the condition and what
        its sides were last.
        """
        return eventually(condition, seconds=timeout * self.session.target.time_scale, shown=timeout)

    def count_runs(self) -> AbstractContextManager[None]:
        """Have the kernel count and time every run of every program meanwhile: see ``prog.run_stats``.

        ``PlanError`` before Linux 5.8, which has the sysctl ``kernel.bpf_stats_enabled`` only.
        """
        return counting_runs(self.session)

    def find(self, path: str | os.PathLike[str]) -> Path:
        """Where a relative path leads: next to the test, then ``bpf_object_dirs``, then the working directory. On a
        big-endian kernel, to ``x.bpfeb.o`` where that is beside ``x.bpf.o`` or ``x.o``."""
        return find_object(path, self._directories, byteorder=self.session.target.described.byteorder)

    def close(self) -> tuple[Leak, ...]:
        """Detach and unload everything; what outlives it comes back."""
        return self.session.close()

    def _object(self, path: Source) -> ObjectFile:
        """Parsed, and linked when there are several, at most once."""
        if isinstance(path, str | Path | os.PathLike):
            file = self.find(path)
            return self._cache.object(read_bytes(file), name=str(file))
        if not isinstance(path, Sequence) or not all(isinstance(each, str | os.PathLike) for each in path):
            raise BpfUsageError(f"expected an object file path or a list of paths, got {path!r}")
        if not path:
            raise BpfUsageError("no object file to load")
        files = [self.find(each) for each in path]
        return self._cache.linked([(read_bytes(file), str(file)) for file in files])

    def _types(self, source: str | os.PathLike[str] | Btf | None) -> Btf | None:
        if not isinstance(source, str | os.PathLike):
            return source
        return self._cache.types(self.find(source))

    def _load(self, obj: ObjectFile, asked: Asked) -> BpfObject:
        """A map that somebody pins in the same instant is looked at again, and then used."""
        options = options_of(asked, obj=obj, session=self.session)
        check_lost(obj, options)
        for _ in range(_PIN_ATTEMPTS):
            try:
                loaded = self._load_once(obj, options=options, asked=asked)
                break
            except PinTakenError as error:
                taken = error
        else:
            raise HarnessError(f"the pin {taken} came and went {_PIN_ATTEMPTS} times while the object was loaded")
        for hear in self._on_load:
            hear(loaded)
        return loaded

    def _load_once(self, obj: ObjectFile, *, options: LoadOptions, asked: Asked) -> BpfObject:
        types = AskedTypes(given=self._types(asked.types), maps=asked.map_types)
        doubling = self._doubling(obj, asked.doubles) if asked.doubles else None
        obj = obj if doubling is None else doubling.obj
        facts = facts_for(self.session, obj, knowledge=self._cache.knowledge, btf=asked.btf)
        options = reuse_pinned(self.session, obj, options=options, facts=facts)
        plan = self._cache.plan(obj, facts, options=options)
        for problem in plan.problems:
            if problem.name in options.only:
                raise problem.error
        try:
            return load_plan(
                self.session,
                plan,
                types=types,
                without_btf=lambda: self._cache.plan(obj, facts, options=replace(options, btf=False)),
                doubling=doubling,
                ops=self._cache.signed_ops,
            )
        except ProgramRejected as error:
            if doubling is not None:  # its log is about instructions that nobody wrote
                raise doubling.refused(error.program, error.log.error or error.errno_name) from None
            self._on_reject(error, obj.name)
            raise

    def _doubling(self, obj: ObjectFile, given: object) -> Doubling:
        doubling: Doubling = instrumenting().double_object(
            self.session,
            obj,
            given=given,
            other=self._object,
            join=lambda one, other: self._cache.joined((one, other)),
        )
        return doubling

    def __enter__(self) -> Bpf:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, GuestLost):  # nothing is left to close
            self.close()

    async def __aenter__(self) -> Bpf:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def __repr__(self) -> str:
        return f"<Bpf on {self.session.target.name}>"


def _sockets() -> ModuleType:
    from pytest_ebpf.live.net import sockets

    return sockets
