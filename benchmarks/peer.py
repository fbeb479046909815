"""The peer of every comparison: ``libbpf_load.c``, compiled where it is used, against the libbpf at hand."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Peer", "PeerError", "Run", "peer", "run_here"]

_SOURCE = Path(__file__).with_name("libbpf_load.c")
_TIMEOUT = 600

# Runs a command to its end -> (exit code, output, errors). Another one runs it on another kernel.
Run = Callable[[Sequence[str]], tuple[int, str, str]]


def run_here(command: Sequence[str]) -> tuple[int, str, str]:
    """On this machine."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT)
    except subprocess.TimeoutExpired:
        raise PeerError(f"not done after {_TIMEOUT} s") from None
    return done.returncode, done.stdout, done.stderr


class PeerError(Exception):
    """libbpf_load could not be compiled, it died, or it was not done in time."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A compiled ``libbpf_load``. ``version``: of its libbpf; ``run``: where its verdicts come from."""

    program: Path
    version: str
    run: Run = run_here

    def verdicts(self, path: Path, *, hints: Sequence[str] = ()) -> dict[str, Any]:
        """What libbpf makes of each program of an object, each loaded alone (see libbpf_load.c).

        ``hints``: "INDEX:TYPE:ATTACH" tells it the type of a program whose section it does not know.
        """
        return next(self._lines(["verdicts", str(path), *hints]))

    @contextmanager
    def timing(self) -> Iterator[Callable[[Path, Sequence[int]], dict[str, int]]]:
        """``load = timing()``; each ``load(object, indexes of its programs)`` times one whole load, in one process."""
        command = [str(self.program), "times"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            requests, answers = process.stdin, process.stdout

            def load(path: Path, indexes: Sequence[int]) -> dict[str, int]:
                print(path, *indexes, sep="\t", file=requests, flush=True)
                answer: dict[str, int] = json.loads(answers.readline())
                return answer

            yield load
            requests.close()

    def btf(self, *, rounds: int) -> dict[str, Any]:
        """Reading and parsing the kernel's types."""
        return next(self._lines(["btf", str(rounds)]))

    def _lines(self, arguments: Sequence[str]) -> Iterator[dict[str, Any]]:
        status, output, errors = self.run([str(self.program), *arguments])
        if status:
            raise PeerError(f"libbpf_load {' '.join(arguments)}: exit code {status}: {errors[-400:]}")
        return map(json.loads, output.splitlines())


@contextmanager
def peer(prefix: Path | None = None) -> Iterator[Peer]:
    """Compile ``libbpf_load`` for as long as the block lasts.

    ``prefix``: where a libbpf of one's own is installed (include/ and lib/libbpf.a below it), None for the system's.
    """
    where = tempfile.mkdtemp(prefix="libbpf-load-")
    try:
        program = Path(where, "libbpf_load")
        places = [f"-I{prefix}/include", f"-L{prefix}/lib"] if prefix else []
        libraries = ["-l:libbpf.a" if prefix else "-lbpf", "-lelf", "-lz"]
        command = ["gcc", "-O2", "-o", str(program), str(_SOURCE), *places, *libraries]
        built = subprocess.run(command, capture_output=True, text=True)
        if built.returncode:
            raise PeerError(f"{' '.join(command)}:\n{built.stderr}\nNeeded: gcc, libbpf-dev, libelf-dev, zlib1g-dev.")
        version = subprocess.run([program, "version"], capture_output=True, text=True).stdout.strip()
        yield Peer(program, version)
    finally:
        shutil.rmtree(where)
