"""The packet of a failing ``@given`` test as a capture."""

from __future__ import annotations

import os
import re
import zlib
from pathlib import Path

from hypothesis import note
from hypothesis.control import current_build_context

from pytest_ebpf.packets.packet import Packet
from pytest_ebpf.packets.pcap import LINKTYPE_ETHERNET, LINKTYPE_RAW, render_pcap

__all__ = ["FOLDER", "note_capture", "write_capture"]

FOLDER = Path(".hypothesis", "packets")  # beside Hypothesis's own files, which nobody commits


def note_capture(packet: Packet) -> None:
    """Write a capture and say where, if this is the run of a test in which Hypothesis shows what fails."""
    if getattr(current_build_context(), "is_final", False):
        test = os.environ.get("PYTEST_CURRENT_TEST", "packet").partition(" (")[0]
        where = write_capture([packet], name=f"{test}-{zlib.crc32(bytes(packet)):08x}")
        if where:
            note(f"{packet!r} as a capture: {where}")


def write_capture(packets: list[Packet], *, name: str) -> str:
    """Where the capture is; "" where nothing can be written."""
    path = FOLDER / (re.sub(r"[^\w.-]+", "-", name) + ".pcap")
    first = packets[0].layers[0].name if packets and packets[0].layers else "eth"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(render_pcap(packets, linktype=LINKTYPE_RAW if first in ("ip", "ipv6") else LINKTYPE_ETHERNET))
    except OSError:
        return ""
    return str(path)
