"""The frames of a capture file as a program of some type takes them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.run.test_run import rule_for
from pytest_ebpf.packets import Capture, Eth, Frame, Raw
from pytest_ebpf.packets.capture import LINKTYPE_ETHERNET
from pytest_ebpf.pcap_files import read_pcap

__all__ = ["captured"]

_LINK = ("eth", "vlan", "sll", "sll2")


def captured(
    source: str | os.PathLike[str] | Capture, folders: Sequence[Path], *, prog_type: int, program: str
) -> list[bytes]:
    """What to run a program on. A relative path leads into the first of ``folders`` that has it, else the working
    directory. Link headers are added or taken off where the type wants other frames than were captured."""
    rule = rule_for(prog_type, program=program)
    if not rule.takes_data:
        raise BpfUsageError(f"{program}: its type runs on no packets, so on no capture either")
    capture = source if isinstance(source, Capture) else read_pcap(_find(source, folders))
    convert = _network if rule.data_is == "an IP packet" else _ethernet
    found = [convert(frame) for frame in capture.frames]
    for number, data in enumerate(found, 1):
        if len(data) < rule.min_data:
            raise BpfUsageError(
                f"{program}: frame {number} of the capture has {len(data)} bytes; "
                f"the type runs on {rule.data_is} of at least {rule.min_data}",
                hint="Leave it out: prog.run_many(frame.data for frame in read_pcap(path).frames if …).",
            )
    return found


def _find(path: str | os.PathLike[str], folders: Sequence[Path]) -> Path:
    given = Path(path)
    return next((folder / given for folder in folders if (folder / given).exists()), given)


def _ethernet(frame: Frame) -> bytes:
    if frame.linktype == LINKTYPE_ETHERNET:
        return frame.data
    first = frame.packet.layers[:1] or Raw().layers
    if first[0].name in ("sll", "sll2"):
        return bytes(Eth(type=first[0].number("proto"))) + frame.data[len(first[0]) :]
    if first[0].name in ("ip", "ipv6"):
        return bytes(Eth() / frame.packet)[:14] + frame.data
    raise BpfUsageError(
        f"a frame of link type {frame.linktype} has no Ethernet header",
        hint="Take its packets out: read_pcap(path).frames, then prog.run_many(...).",
    )


def _network(frame: Frame) -> bytes:
    layers = frame.packet.layers
    while layers and layers[0].name in _LINK:
        layers = layers[1:]
    skipped = sum(len(layer) for layer in frame.packet.layers) - sum(len(layer) for layer in layers)
    return frame.data[skipped:]
