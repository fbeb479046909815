"""``pytest-ebpf attach``: an object attached to a kernel, with what it says, until Ctrl-C."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pytest_ebpf.cli.options import given_kernels, guest_options, kernels_option

if TYPE_CHECKING:
    from pytest_ebpf.live.bpf_object import BpfObject
    from pytest_ebpf.live.loader import Bpf

__all__ = ["attach"]

_WAIT = 0.2  # seconds of one look


@click.command("attach")
@click.argument("obj", metavar="OBJ")
@click.option(
    "-t", "--target", default="", metavar="TARGET", help="Where: an interface, a cgroup (default: what SEC says)."
)
@click.option("-n", "--events", "most", type=click.IntRange(1), metavar="N", help="End after N events and lines.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), metavar="S", help="End after that time.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object per line.")
@kernels_option
@guest_options
def attach(
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

    It ends with Ctrl-C (or --events, --seconds), and leaves nothing attached. With -k that kernel runs in a guest.
    """
    from pytest_ebpf.live.open_kernel import open_kernel

    kernel, spec = _one(given_kernels(kernels))
    with open_kernel(spec, accel=accel, cache_dir=cache) as bpf:  # type: ignore[arg-type]  # click checked the choice
        loaded = bpf.load(Path(obj).absolute())
        links = [program.attach(target) for program in loaded.programs.values()] if target else loaded.attach().links
        click.echo(f"{kernel}: {len(links)} attached ({', '.join(map(str, links))}); Ctrl-C ends it", err=True)
        try:
            for said in islice(_said(bpf, loaded, seconds=seconds), most):
                click.echo(json.dumps(said, default=str) if as_json else f"{said['from']}: {said['what']}")
        except KeyboardInterrupt:
            click.echo("detached", err=True)


def _one(found: Mapping[str, str]) -> tuple[str, str]:
    from pytest_ebpf.errors import BpfUsageError

    if len(found) > 1:
        raise BpfUsageError(f"attach works on one kernel, and {len(found)} are given", hint="Write -k host or -k 6.1.")
    return next(iter(found.items()))


def _said(bpf: Bpf, loaded: BpfObject, *, seconds: float | None) -> Iterator[dict[str, Any]]:
    """Records and printed lines as they come."""
    from pytest_ebpf.agent.ops import Data, TraceDrain, TraceOpen
    from pytest_ebpf.events.trace import parse_trace
    from pytest_ebpf.live.switches import TRACING, have_on

    have_on(bpf.session, TRACING, effect="bpf_printk() is not shown")
    trace = bpf.session.make(TraceOpen())
    streams = [map_ for map_ in loaded.maps.values() if map_.type in ("ringbuf", "perf_event_array")]
    end = time.monotonic() + seconds if seconds is not None else None
    while end is None or time.monotonic() < end:
        for map_ in streams:
            for record in map_.events(timeout=_WAIT / len(streams), at_least=0):
                yield {"from": map_.name, "what": record}
        wait = 0 if streams else round(_WAIT * 1000)
        data = bpf.session.one(TraceDrain(trace, timeout_ms=wait), Data).data
        for line in parse_trace(data.decode(errors="replace")):
            yield {"from": "printk", "what": line.message}
