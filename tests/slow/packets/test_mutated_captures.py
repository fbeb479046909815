"""Captures that were changed at random are frames, or one clear error with the frames before the damage; what is in a
frame is taken apart without losing a byte. 10,500 of them; ``ci/mutated-captures`` makes 140,000."""

from __future__ import annotations

import gzip
import os
from random import Random

import pytest

from pytest_ebpf.packets.capture import CaptureError
from pytest_ebpf.packets.pcap import parse_pcap
from support.paths import TESTS

COUNT = int(os.environ.get("BPF_MUTATED_CAPTURES", "750"))  # of each file, and as many of it compressed
FILES = sorted((TESTS / "data/captures").iterdir())
WORDS = (b"\xff\xff\xff\xff", bytes(4), b"\x00\x00\x00\x80", b"\xff\xff\xff\x7f", b"\x08\x00\x00\x00")


def mutated(whole: bytes, random: Random) -> bytes:
    """Some bytes or lengths changed, bytes put in or taken out, the end cut off."""
    data = bytearray(whole)
    for _ in range(random.randrange(1, 5)):
        at, kind = random.randrange(len(data)), random.randrange(10)
        if kind < 6:
            data[at] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))
        elif kind < 8:
            data[at : at + 4] = random.choice(WORDS)
        elif kind == 8 and len(data) > 50:
            del data[at : at + random.randrange(1, 40)]
        else:
            data[at:at] = random.randbytes(random.randrange(1, 40))
    return bytes(data[: random.randrange(len(data))] if random.randrange(4) == 0 else data)


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_15_frames_or_one_error(path, compressed):
    random, whole = Random(f"{path.name} {compressed}"), path.read_bytes()
    whole = gzip.compress(whole, mtime=0) if compressed else whole
    broken = 0
    for _ in range(COUNT):
        try:
            frames, words = parse_pcap(mutated(whole, random)).frames, "none"
        except CaptureError as error:
            frames, words, broken = error.frames, str(error), broken + 1
        assert len(words.splitlines()) == 1
        for frame in random.sample(frames, min(2, len(frames))):
            assert bytes(frame.packet) == frame.data
    assert broken
