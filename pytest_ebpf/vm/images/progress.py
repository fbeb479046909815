"""Progress output on stderr: bars on a terminal, plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TextIO

__all__ = ["PlainReporter", "Reporter", "RichReporter", "SilentReporter", "Task", "megabytes", "reporter_for"]


class Task(Protocol):
    """One thing under way; used from several threads."""

    def advance(self, count: int) -> None:
        """``count`` more bytes are done (negative: some were lost)."""

    def stage(self, words: str) -> None:
        """What is being done now, like "unpacking"."""

    def done(self, words: str) -> None:
        """Finished; ``words`` is the result."""


class Reporter(Protocol):
    """What the long steps report to."""

    def task(self, name: str, *, total: int) -> Task:
        """Begin something of ``total`` bytes."""

    def say(self, text: str) -> None:
        """One line that the user should see."""


class _SilentTask:
    def advance(self, count: int) -> None: ...

    def stage(self, words: str) -> None: ...

    def done(self, words: str) -> None: ...


class SilentReporter:
    """Says nothing."""

    def task(self, name: str, *, total: int) -> Task:
        return _SilentTask()

    def say(self, text: str) -> None: ...


class _PlainTask:
    def __init__(self, name: str, *, reporter: PlainReporter) -> None:
        self._name = name
        self._reporter = reporter

    def advance(self, count: int) -> None: ...

    def stage(self, words: str) -> None: ...

    def done(self, words: str) -> None:
        self._reporter.say(f"{self._name}: {words}")


class PlainReporter:
    """A line when something begins and one when it ends: for logs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def task(self, name: str, *, total: int) -> Task:
        self.say(f"{name}: fetching {megabytes(total)}")
        return _PlainTask(name, reporter=self)

    def say(self, text: str) -> None:
        with self._lock:
            print(text, file=self._stream, flush=True)


class _RichTask:
    def __init__(self, progress: Any, *, number: Any) -> None:
        self._progress = progress
        self._number = number

    def advance(self, count: int) -> None:
        self._progress.advance(self._number, count)

    def stage(self, words: str) -> None:
        self._progress.update(self._number, stage=words)

    def done(self, words: str) -> None:
        self._progress.update(self._number, stage=words)


class RichReporter:
    """A bar per kernel."""

    def __init__(self, progress: Any) -> None:
        self._progress = progress

    def task(self, name: str, *, total: int) -> Task:
        return _RichTask(self._progress, number=self._progress.add_task(name, total=total, stage="fetching"))

    def say(self, text: str) -> None:
        self._progress.console.print(text, highlight=False, markup=False)


@contextmanager
def reporter_for(stream: TextIO | None = None, *, quiet: bool = False) -> Iterator[Reporter]:
    """The reporter that fits ``stream`` (default: stderr)."""
    out = sys.stderr if stream is None else stream
    if quiet:
        yield SilentReporter()
    elif not out.isatty():
        yield PlainReporter(out)
    else:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TextColumn("{task.fields[stage]}"),
        )
        with Progress(*columns, console=Console(file=out)) as progress:
            yield RichReporter(progress)


def megabytes(count: int) -> str:
    """A size for people."""
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"
