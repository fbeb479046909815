"""What a failed property says: the packets as builder code, and a capture of them beside."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_ebpf.packets.packet import Packet
from pytest_ebpf.properties.batch import Body, Found
from pytest_ebpf.strategies.saved import write_capture

__all__ = ["explained"]


def explained(
    found: Found, held: Body, *, packets: Sequence[Packet], seed: int | None = None, flaky: bool = False
) -> BaseException:
    """The error of the property, with notes."""
    error = found.error
    what = "Falsifying packet" if len(packets) == 1 else f"{len(packets)} packets that fail together, in this order"
    lines = [f"{what}:", *(f"    {packet!r}" for packet in packets)]
    if flaky:
        lines.append("    It failed once, and does not fail again: what the program does depends on something else.")
    where = _saved(held, packets)
    lines.append(f"as a capture: {where}" if where else "")
    if seed is not None:
        lines.append(f"the same batch again: @bpf_property(…, seed={seed})")
    for line in filter(None, lines):
        error.add_note(line)
    return error


def _saved(held: Body, packets: Sequence[Packet]) -> str:
    """Where the capture is; "" where nothing can be written."""
    function = held.function
    program = getattr(held.program, "release", "")
    name = f"{function.__module__}.{function.__qualname__}"
    return write_capture(list(packets), name=f"{name}{'-' + program if program else ''}")
