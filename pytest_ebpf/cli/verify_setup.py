"""The arguments of ``pytest-ebpf verify``, checked before any kernel boots, and the kernels."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

import click

from pytest_ebpf.errors import BpfUsageError, ImageError, ObjectError
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.verifier.compare.veristat_filter import Filter, SortKey, parse_emit, parse_filter, parse_sort

if TYPE_CHECKING:
    from pytest_ebpf.kernels.pool import KernelPool
    from pytest_ebpf.obj.object import ObjectFile
    from pytest_ebpf.verify.verdict import Wanted
    from pytest_ebpf.verify.verdicts import Kernels, Verdicts

__all__ = ["POLICIES", "Request", "open_kernels", "parse_settings", "read_kernels", "read_request"]

_ERASE = "\r\x1b[2K"


@dataclass(frozen=True, slots=True)
class Request:
    """``kernels``: id -> spec. ``problems``: objects that could not be read, while others could. ``most_lines``: how
    many source lines to show with their cost, 0 for none."""

    objects: tuple[ObjectFile, ...]
    kernels: Mapping[str, str]
    problems: tuple[str, ...]
    emit: tuple[str, ...]
    filters: tuple[Filter, ...]
    sort: tuple[SortKey, ...]
    most: int
    form: str
    globals: tuple[Mapping[str, Any], ...]
    most_lines: int
    wanted: Wanted
    policy: Callable[[Verdicts], bool]
    accel: str
    cache: Path | None
    quiet: bool
    portable: tuple[str, ...] = ()


def read_request(paths: Sequence[str], lines: int, *, kernels: str, options: Mapping[str, Any]) -> Request:
    """``BpfUsageError`` or ``ObjectError`` for invalid arguments: a missing file, an unknown kernel."""
    from pytest_ebpf.verify.verdict import Wanted
    from pytest_ebpf.verify.verdicts import check_globals, check_names, permutations

    objects, problems = _read_objects(paths)
    settings = parse_settings(options["settings"])
    check_globals(settings, objects, what="-G")
    maps, programs = _maps(options.get("maps", ())), _programs(options.get("programs", ()))
    check_names(maps, objects, kind="map")
    check_names(programs, objects, kind="program")
    return Request(
        objects=tuple(objects),
        kernels=read_kernels(kernels),
        problems=tuple(problems),
        emit=parse_emit(options["emit"]),
        filters=tuple(parse_filter(text) for text in options["filters"]),
        sort=parse_sort(options["sort"]),
        most=options["most"] or 0,
        form="json" if options["as_json"] else options["form"],
        globals=tuple(permutations(settings)),
        most_lines=lines,
        wanted=Wanted(lines=lines > 0, maps=maps, programs=programs),
        policy=POLICIES[options["policy"]],
        accel=options["accel"],
        cache=options["cache"],
        quiet=options["quiet"],
        portable=tuple(_elsewhere(objects)) if options.get("portable") else (),
    )


def _maps(texts: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for text in texts:
        name, _, entries = text.partition("=")
        if not name or not entries.isdecimal():
            raise BpfUsageError(f"-M {text!r}", hint="Write -M map=1024.")
        found[name] = int(entries)
    return found


def _programs(texts: Sequence[str]) -> dict[str, str | bool]:
    found: dict[str, str | bool] = {}
    for text in texts:
        name, _, section = text.partition("=")
        if not name or not section:
            raise BpfUsageError(f"-P {text!r}", hint="Write -P program=fentry/do_exit, or -P program=off.")
        found[name] = False if section == "off" else section
    return found


def _elsewhere(objects: Sequence[ObjectFile]) -> Iterator[str]:
    """A line for each rule of another loader that an object breaks."""
    from pytest_ebpf.plan.portable import elsewhere

    for obj in objects:
        for found in elsewhere(obj):
            rule, names = found.rule, ", ".join(found.names)
            yield f"{obj.name}: {names}: {rule.loader} ({rule.versions}) {rule.effect} ({rule.source})"


def _read_objects(paths: Sequence[str]) -> tuple[list[ObjectFile], list[str]]:
    """What can be read, and a line about each file that cannot: it does not stop the others. A path that is no file
    does."""
    from pytest_ebpf.obj.parse import parse_object
    from pytest_ebpf.obj.read import read_bytes

    contents = {path: read_bytes(path) for path in paths}
    objects: list[ObjectFile] = []
    problems: list[str] = []
    for path, data in contents.items():
        try:
            obj = parse_object(data, name=path)
        except ObjectError as error:
            problems.append(str(error))
            continue
        if obj.programs or any(problem.costs for problem in obj.problems):
            objects.append(obj)
        else:
            problems.append("\n".join([f"{path}: it contains no program", *map(str, obj.problems)]))
    return objects, problems


def read_kernels(text: str) -> dict[str, str]:
    """``host,6.1`` -> id -> spec. ``BpfUsageError`` names what there is."""
    from pytest_ebpf.vm.images.spec import parse_spec

    found: dict[str, str] = {}
    for spec in (part.strip() for part in text.split(",")):
        if spec:
            try:
                found.setdefault(parse_spec(spec).name, spec)
            except ImageError as error:
                raise BpfUsageError(f"--kernels: {error.message}", hint=error.hint) from None
    if not found:
        raise BpfUsageError("--kernels names none", hint="Write --kernels=host,6.1")
    return found


def parse_settings(texts: Sequence[str]) -> dict[str, list[Any]]:
    """``["limit=1,2", "strict=true"]`` -> {"limit": [1, 2], "strict": [True]}. ``0..3`` is a range; what is no number
    and no boolean stays text (an enumerator, the contents of a char array)."""
    found: dict[str, list[Any]] = {}
    for text in texts:
        name, equals, values = (part.strip() for part in text.partition("="))
        if not name or not equals or not values:
            raise BpfUsageError(f"-G {text!r}", hint="Write -G variable=value or -G variable=1,2,8.")
        found.setdefault(name, []).extend(value for part in values.split(",") for value in _values(part.strip()))
    return found


def _values(text: str) -> list[Any]:
    if text.lower() in ("true", "false"):
        return [text.lower() == "true"]
    first, dots, last = text.partition("..")
    try:
        if dots:
            return list(range(int(first, 0), int(last, 0) + 1))
        return [int(text, 0)]
    except ValueError:
        return [text]


def _per_program(verdicts: Verdicts) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for verdict in verdicts:
        found.setdefault((verdict.object, verdict.label), []).append(verdict.verdict)
    return found


POLICIES: Mapping[str, Callable[[Verdicts], bool]] = {
    "all": lambda found: all(verdict.accepted for verdict in found),
    "any": lambda found: all("accepted" in each for each in _per_program(found).values()),
    "same": lambda found: all(len(set(each)) == 1 for each in _per_program(found).values()),
    "supported": lambda found: all(verdict.accepted or verdict.kind == "feature-missing" for verdict in found),
    "none": lambda found: True,
}


@contextmanager
def open_kernels(request: Request) -> Iterator[Kernels]:
    """The kernels: each boots when its turn comes, the next one meanwhile, and ends when it is done with."""
    from pytest_ebpf.kernels.config import PoolConfig
    from pytest_ebpf.kernels.pool import KernelPool
    from pytest_ebpf.verify.verdicts import Kernels

    status = _Status(quiet=request.quiet)
    pool = KernelPool(PoolConfig(accel=request.accel, cache=request.cache), wait=status.waiting)  # type: ignore[arg-type]
    try:
        yield Kernels(
            ids=tuple(request.kernels),
            start=lambda kernel: _start(pool, request.kernels, kernel=kernel),
            done=lambda kernel: pool.retire(request.kernels[kernel]),
            say=status.say,
        )
    finally:
        status.say("")
        pool.close()


def _start(pool: KernelPool, kernels: Mapping[str, str], *, kernel: str) -> Any:
    running = pool.get(kernels[kernel])
    ids = list(kernels)
    following = ids[ids.index(kernel) + 1 :]
    if following:
        pool.prefetch(kernels[following[0]])
    return running


class _Status:
    """On stderr: one line that changes where that is a terminal; elsewhere only boots, a line each."""

    def __init__(self, *, quiet: bool) -> None:
        self._live = sys.stderr.isatty() and not quiet
        self._quiet = quiet

    def say(self, text: str) -> None:
        """What is being done now; "" at the end."""
        if self._live:
            click.echo(_ERASE + text[: get_terminal_size().columns - 1], nl=False, err=True)

    @contextmanager
    def waiting(self, what: str) -> Iterator[Callable[[str], None]]:
        """See ``pytest_ebpf.kernels.pool.Waiting``."""
        self.say(f"{what} …")
        began = time.monotonic()
        try:
            yield lambda text: self.say(f"{what} … {text}")
        finally:
            if not self._live and not self._quiet:
                click.echo(f"{what}: {time.monotonic() - began:.1f} s", err=True)
