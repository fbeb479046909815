"""What a failed property says: the packets as builder code, and a capture of them beside."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pytest_ebpf.packets.capture import LINKTYPE_ETHERNET, LINKTYPE_RAW
from pytest_ebpf.packets.packet import Packet
from pytest_ebpf.packets.pcap import render_pcap
from pytest_ebpf.properties.batch import Body, Found

__all__ = ["explained"]

_FOLDER = Path(".hypothesis", "packets")  # beside Hypothesis's own files, which nobody commits


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
    name = re.sub(r"[^\w.-]+", "-", f"{function.__module__}.{function.__qualname__}")
    path = _FOLDER / f"{name}{'-' + program if program else ''}.pcap"
    first = packets[0].layers[0].name if packets and packets[0].layers else "eth"
    linktype = LINKTYPE_RAW if first in ("ip", "ipv6") else LINKTYPE_ETHERNET
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(render_pcap(packets, linktype=linktype))
    except OSError:
        return ""
    return str(path)
