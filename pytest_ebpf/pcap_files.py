"""Capture files on disk."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import SupportsBytes

from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.packets.capture import Capture, CaptureError
from pytest_ebpf.packets.pcap import parse_pcap, render_pcap
from pytest_ebpf.packets.pcapng import render_pcapng

__all__ = ["read_pcap", "write_pcap"]


def read_pcap(path: str | os.PathLike[str]) -> Capture:
    """A capture file: pcap or pcapng, also compressed with gzip.

    ``BpfUsageError`` with the place of the damage; ``parse_pcap`` of the same bytes has the packets before it."""
    try:
        return parse_pcap(Path(path).read_bytes())
    except OSError as error:
        raise BpfUsageError(f"{os.fspath(path)}: {error.strerror}", hint="Give the path of a capture file.") from None
    except CaptureError as error:
        frames = len(error.frames)
        hint = f"The {frames} packets before that are in the frames of the error of parse_pcap()." if frames else ""
        raise BpfUsageError(f"{os.fspath(path)}: {error}", hint=hint) from None


def write_pcap(path: str | os.PathLike[str], packets: Capture | Iterable[SupportsBytes | bytes]) -> Path:
    """Write a capture file of packets, bytes, frames or a capture, and return its path. The name says how: ``.pcapng``,
    else pcap, and compressed if it ends with ``.gz``. Times are in nanoseconds."""
    where = Path(path)
    suffixes, compress = where.suffixes, where.suffix == ".gz"
    render = render_pcapng if ".pcapng" in suffixes[-2:] else render_pcap
    where.write_bytes(render(packets, compress=compress))
    return where
