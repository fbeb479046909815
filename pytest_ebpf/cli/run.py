"""``pytest-ebpf run``: a program on packets, on one kernel or several, without a test."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pytest_ebpf.cli.options import given_kernels, guest_options, kernels_option, opened

if TYPE_CHECKING:
    from pytest_ebpf.live.loader import Bpf
    from pytest_ebpf.live.run.test_run import RunResult

__all__ = ["run"]

_SHOWN = 96  # bytes of a packet as hexadecimal


@click.command(
    "run",
    epilog="Exit status: 0 it ran everywhere, 1 a kernel refused it, was lost or did not boot, 2 unknown options.",
)
@click.argument("obj", metavar="OBJ")
@click.argument("prog", metavar="PROG")
@click.option(
    "-p",
    "--packet",
    "packets",
    multiple=True,
    metavar="FILE.pcap|HEX|-",
    help="A capture (- : from "
    "standard input) or the bytes of a packet; may be given repeatedly. Default: 64 zero bytes.",
)
@click.option(
    "-G", "--set-global", "settings", multiple=True, metavar="VAR=VALUE", help="A global variable or constant."
)
@click.option("--ctx", "context", multiple=True, metavar="FIELD=NUMBER", help="A field of the context, such as mark=7.")
@click.option(
    "--repeat", type=click.IntRange(1), default=1, show_default=True, help="Run it that often on each packet."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list, an entry per kernel and packet.")
@kernels_option
@guest_options
def run(obj: str, prog: str, packets: tuple[str, ...], kernels: str, **options: Any) -> None:
    """Load OBJ, run its program PROG on every packet with BPF_PROG_TEST_RUN, and show verdict, packet and maps.

    A packet that comes out changed is shown field by field. Maps that hold something afterwards are shown, too.
    """
    from pytest_ebpf.errors import HarnessError

    data = list(_packets(packets)) or [bytes(64)]
    values, ctx = (_settings(options[name]) or None for name in ("settings", "context"))
    entries: list[dict[str, Any]] = []
    given = {"globals": values, "ctx": ctx, "repeat": options["repeat"]}
    for kernel, spec in given_kernels(kernels).items():
        try:
            with opened(kernel, spec, accel=options["accel"], cache=options["cache"]) as bpf:
                entry = _run(bpf, Path(obj).absolute(), prog=prog, packets=data, given=given)
        except HarnessError as error:  # the other kernels can still tell
            entry = {"error": str(error)}
        entries.append({"kernel": kernel, **entry})
        if not options["as_json"]:
            _show(entries[-1], data)
    if options["as_json"]:
        click.echo(json.dumps(entries, indent=1))
    sys.exit(1 if any("error" in entry for entry in entries) else 0)


def _run(bpf: Bpf, path: Path, *, prog: str, packets: Sequence[bytes], given: Mapping[str, Any]) -> dict[str, Any]:
    """``runs`` and ``maps``, or ``error``."""
    from pytest_ebpf.errors import KernelCallError, PlanError
    from pytest_ebpf.verifier.program_rejected import ProgramRejected

    try:
        loaded = bpf.load(path, globals=given["globals"], only=prog)
        results = [loaded[prog].run(one, ctx=given["ctx"], repeat=given["repeat"]) for one in packets]
    except (ProgramRejected, KernelCallError, PlanError) as error:
        return {"error": str(error)}
    runs = [_entry(result, packet) for result, packet in zip(results, packets, strict=True)]
    maps = {name: _plain(dict(map_.items())) for name, map_ in loaded.maps.items() if _has_items(map_)}
    return {"runs": runs, "maps": maps}


def _settings(texts: Sequence[str]) -> dict[str, Any]:
    """The last value of each name."""
    from pytest_ebpf.cli.verify_setup import parse_settings

    return {name: values[-1] for name, values in parse_settings(texts).items()}


def _packets(texts: Sequence[str]) -> Iterator[bytes]:
    """The packets of captures and hexadecimal texts. ``BpfUsageError`` says which is neither."""
    from pytest_ebpf.errors import BpfUsageError
    from pytest_ebpf.packets import parse_pcap

    for text in texts:
        if text == "-" or Path(text).is_file():
            data = sys.stdin.buffer.read() if text == "-" else Path(text).read_bytes()
            try:
                yield from (frame.data for frame in parse_pcap(data).frames)
            except ValueError as error:
                raise BpfUsageError(f"--packet {text}: {error}") from None
            continue
        try:
            yield bytes.fromhex(text.replace(":", " ").removeprefix("0x"))
        except ValueError:
            hint = "Write --packet x.pcap, or the bytes of a packet: --packet 'ffffffffffff 0200...'"
            raise BpfUsageError(f"--packet {text}: no such file, and not hexadecimal", hint=hint) from None


def _entry(result: RunResult, packet: bytes) -> dict[str, Any]:
    from pytest_ebpf.live.run.retvals import render_retval

    return {
        "retval": int(result.retval),
        "verdict": render_retval(result.retval),
        "packet": result.data.hex(),
        "changed": result.data != packet and bool(result.data),
        "ctx": _plain(result.ctx),
        "nanoseconds": result.duration,
    }


def _has_items(map_: Any) -> bool:
    """Whether it is a map of elements that can be listed, with something in it."""
    from pytest_ebpf.errors import EbpfError

    try:
        return any(_set(value) for _, value in map_.items())
    except (EbpfError, TypeError):
        return False


def _set(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_set, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_set, value))
    return any(value) if isinstance(value, bytes) else bool(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key if isinstance(key, str | int) else str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return (
        value.hex()
        if isinstance(value, bytes)
        else value
        if isinstance(value, int | str | float | None)
        else str(value)
    )


def _show(entry: Mapping[str, Any], packets: Sequence[bytes]) -> None:
    click.secho(f"{entry['kernel']}:", bold=True)
    if "error" in entry:
        click.secho(f"  {entry['error']}".replace("\n", "\n  "), fg="red")
        return
    for number, (one, packet) in enumerate(zip(entry["runs"], packets, strict=True), 1):
        many = f"packet {number}: " if len(packets) > 1 else ""
        click.echo(
            f"  {many}{one['verdict']}, {len(packet)} bytes in, {len(one['packet']) // 2} out, {one['nanoseconds']} ns"
        )
        if one["changed"]:
            _show_change(bytes.fromhex(one["packet"]), packet)
    for name, items in entry["maps"].items():
        click.echo(f"  map {name}")
        for key, value in list(items.items())[:10]:
            click.echo(f"    {key}: {value}")


def _show_change(after: bytes, before: bytes) -> None:
    from pytest_ebpf.packets.diff import diff_packets, render_differences

    for line in render_differences(diff_packets(after, before)).splitlines():
        click.echo(f"    {line}")
