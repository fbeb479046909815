"""``pytest-ebpf attach``: an object attached to a kernel, with what it says, until Ctrl-C."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pytest_ebpf.cli.options import WithCommand, command_of, given_kernels, guest_options, kernels_option, opened

if TYPE_CHECKING:
    from pytest_ebpf.live.bpf_object import BpfObject
    from pytest_ebpf.live.loader import Bpf
    from pytest_ebpf.live.machine.process import Background

__all__ = ["attach"]

_WAIT = 0.2  # seconds of one look


@click.command("attach", cls=WithCommand, options_metavar="[OPTIONS]")
@click.argument("obj", metavar="OBJ [-- COMMAND…]")
@click.option(
    "-t", "--target", default="", metavar="TARGET", help="Where: an interface, a cgroup (default: what SEC says)."
)
@click.option("-n", "--events", "most", type=click.IntRange(1), metavar="N", help="End after N events and lines.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), metavar="S", help="End after that time.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object per line.")
@kernels_option
@guest_options
@click.pass_context
def attach(
    ctx: click.Context,
    obj: str,
    target: str,
    most: int | None,
    seconds: float | None,
    as_json: bool,
    kernels: str,
    accel: str,
    cache: Path | None,
) -> None:
    """Load OBJ, attach its programs, and print records of its ring and perf buffers and the lines of bpf_printk.

    It ends with Ctrl-C (or --events, --seconds), and leaves nothing attached. With -k that kernel runs in a guest,
    where nothing happens by itself: COMMAND runs there (or on host) once all is attached, and ends it; its exit status
    is that of this command.
    """
    kernel, spec = _one(given_kernels(kernels))
    with opened(kernel, spec, accel=accel, cache=cache) as bpf:
        loaded = bpf.load(Path(obj).absolute())
        links = [program.attach(target) for program in loaded.programs.values()] if target else loaded.attach().links
        with _interrupts() as seen:
            click.echo(f"{kernel}: {len(links)} attached ({', '.join(map(str, links))}); Ctrl-C ends it", err=True)
            command = command_of(ctx)
            running = bpf.machine.start(command) if command else None
            for said in islice(_said(bpf, loaded, seconds=seconds, running=running, seen=seen), most):
                click.echo(json.dumps(said, default=str) if as_json else f"{said['from']}: {said['what']}")
        if seen:
            click.echo("\ndetached" if sys.stderr.isatty() else "detached", err=True)  # behind the ^C that it shows
        status = _pass_on(running) if running is not None else 0
    sys.exit(status)


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """The first Ctrl-C is noted in the list, so that it cuts no message to a guest in two; the next one is Python's."""
    seen: list[int] = []

    def note(number: int, _frame: object) -> None:
        seen.append(number)
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)


def _pass_on(running: Background) -> int:
    """What the command wrote, and its status as a shell tells it: 0 where it was ended here."""
    still = running.poll() is None
    running.kill()
    done = running.wait()
    click.echo(done.stdout + done.stderr, err=True, nl=False)
    return 0 if still else done.returncode if done.returncode >= 0 else 128 - done.returncode


def _one(found: Mapping[str, str]) -> tuple[str, str]:
    from pytest_ebpf.errors import BpfUsageError

    if len(found) > 1:
        raise BpfUsageError(f"attach works on one kernel, and {len(found)} are given", hint="Write -k host or -k 6.1.")
    return next(iter(found.items()))


def _said(
    bpf: Bpf, loaded: BpfObject, *, seconds: float | None, running: Background | None, seen: list[int]
) -> Iterator[dict[str, Any]]:
    """Records and printed lines as they come, until Ctrl-C, the time is over or the command has ended."""
    from pytest_ebpf.agent.ops import Data, TraceDrain, TraceOpen
    from pytest_ebpf.events.trace import parse_trace
    from pytest_ebpf.live.switches import TRACING, have_on

    have_on(bpf.session, TRACING, effect="bpf_printk() is not shown")
    trace = bpf.session.make(TraceOpen())
    streams = [map_ for map_ in loaded.maps.values() if map_.type in ("ringbuf", "perf_event_array")]
    end = time.monotonic() + seconds if seconds is not None else None
    ended = False
    while not ended and not seen and (end is None or time.monotonic() < end):
        ended = running is not None and running.poll() is not None  # and one more look
        for map_ in streams:
            for record in map_.events(timeout=_WAIT / len(streams), at_least=0):
                yield {"from": map_.name, "what": record}
        wait = 0 if streams else round(_WAIT * 1000)
        data = bpf.session.one(TraceDrain(trace, timeout_ms=wait), Data).data
        for line in parse_trace(data.decode(errors="replace")):
            yield {"from": "printk", "what": line.message}
