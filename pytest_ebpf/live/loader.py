"""The loader a test holds: ``bpf.load``, ``bpf.rejects``, ``bpf.has``, ``bpf.cgroup``."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_ebpf.errors import PlanError, UsageError
from pytest_ebpf.live.cache import LoadCache, read_object
from pytest_ebpf.live.session import Session, Target

if TYPE_CHECKING:
    from pytest_ebpf.agent.ops import Leak
    from pytest_ebpf.live.attach_cgroup import Cgroup
    from pytest_ebpf.live.loaded import Loaded
    from pytest_ebpf.live.rejects import Rejects
    from pytest_ebpf.obj.object import ObjectFile
    from pytest_ebpf.plan.feature_base import Answer
    from pytest_ebpf.plan.load_plan import LoadOptions, Plan

__all__ = ["Bpf"]


class Bpf:
    """Loads objects into one kernel, for as long as its scope lasts.

    ``directories``: where a relative path is looked for, first match wins. ``cache`` keeps parsed objects and plans for
    the process. ``on_load`` hears of everything that was loaded.
    """

    def __init__(
        self,
        target: Target,
        *,
        name: str = "",
        directories: Sequence[Path] = (),
        cache: LoadCache | None = None,
        on_load: Callable[[Loaded], None] = lambda loaded: None,
    ) -> None:
        self.session = Session(target, name=name)
        self._directories = tuple(directories)
        self._cache = cache or LoadCache()
        self._on_load = on_load
        self._numbers = itertools.count()

    def load(
        self,
        path: str | os.PathLike[str],
        *,
        globals: Mapping[str, Any] | None = None,
        maps: Mapping[str, Any] | None = None,
        only: Iterable[str] | str | None = None,
        log_level: int | None = None,
    ) -> Loaded:
        """Load every program of an object file that is not switched off (``SEC("?...")``).

        ``globals``: values of global variables, constants too, by name. ``maps``: by name, max_entries as a number,
        fields of the definition as a dict, or a ``Map`` to use instead. ``only``: names of the programs to load.
        ``log_level``: what the verifier is to write: 4 statistics (default), 2 its whole trace; a rejection has its
        trace in any case.

        ``ProgramRejected``, ``ObjectError`` (the file), ``PlanError`` (this kernel lacks something).
        """
        file = self.find(path)
        obj = self._cache.object(read_object(file), name=str(file))
        loaded = self._load(obj, options=_options(globals=globals, maps=maps, only=only, log_level=log_level))
        self._on_load(loaded)
        return loaded

    def rejects(self, pattern: str = "", *, errno: str | int | None = None) -> Rejects:
        """Expect a rejection inside the ``with`` block.

        ``pattern``: literal text that a line of the verifier log holds, with ``{{regex}}`` holes. ``errno``: "EACCES".
        """
        from pytest_ebpf.live.rejects import Rejects

        return Rejects(pattern, errno=errno)

    def feature(self, name: str) -> Answer:
        """What a probe of this kernel says about a feature: "ringbuf", "fentry", "helper:bpf_loop", ..."""
        from pytest_ebpf.live.probing import probe_feature

        return probe_feature(self.session.target, name=name)

    def has(self, name: str) -> bool:
        """Whether this kernel has a feature. ``PlanError`` when the probe cannot tell."""
        answer = self.feature(name)
        if answer.supported is None:
            raise PlanError(f"feature {name!r}: {answer.words}", feature=name)
        return answer.supported

    def cgroup(self, name: str = "") -> Cgroup:
        """A new control group (cgroup2), removed with the test: ``.run(argv)`` runs a command in it."""
        from pytest_ebpf.live.attach_cgroup import make_cgroup

        return make_cgroup(self.session, name=name or f"pytest-ebpf-{os.getpid()}-{next(self._numbers)}")

    def find(self, path: str | os.PathLike[str]) -> Path:
        """Where a relative path leads: next to the test, then ``bpf_object_dirs``, then the working directory."""
        given = Path(path)
        for directory in () if given.is_absolute() else self._directories:
            if (directory / given).exists():
                return directory / given
        return self._directories[0] / given if self._directories and not given.exists() else given

    def close(self) -> tuple[Leak, ...]:
        """Detach and unload everything; what outlives it comes back."""
        return self.session.close()

    def _load(self, obj: ObjectFile, *, options: LoadOptions) -> Loaded:
        from pytest_ebpf.live.loading import run_plan

        plan = self._plan(obj, options=options)
        for problem in plan.problems:
            if problem.name in options.only:
                raise problem.error
        return run_plan(self.session, plan)

    def _plan(self, obj: ObjectFile, *, options: LoadOptions) -> Plan:
        from pytest_ebpf.plan.facts import more_ops, with_more

        facts = self.session.target.facts()
        more = more_ops(obj, facts)
        if more:
            facts = with_more(facts, more, results=self.session.run(more))
        return self._cache.plan(obj, facts, options=options)

    def __repr__(self) -> str:
        return f"<Bpf on {self.session.target.name}>"


def _options(
    *,
    globals: Mapping[str, Any] | None,
    maps: Mapping[str, Any] | None,
    only: Iterable[str] | str | None,
    log_level: int | None,
) -> LoadOptions:
    from pytest_ebpf.plan.load_plan import LoadOptions

    names = (only,) if isinstance(only, str) else tuple(only or ())
    if only is not None and not names:
        raise UsageError("only=() would load nothing: name the programs to load")
    overrides = {name: getattr(value, "handle", value) for name, value in (maps or {}).items()}
    given: dict[str, Any] = {"globals": dict(globals or {}), "maps": overrides, "only": names}
    if log_level is not None:
        given["log_level"] = log_level
    return LoadOptions(**given)
