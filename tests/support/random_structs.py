"""BTF of structs and unions as chance has them: members, bitfields, gaps, sizes."""

from __future__ import annotations

import random
from collections.abc import Iterator

from support.btf_writer import BtfWriter


def random_structs(rng: random.Random, *, byteorder: str) -> BtfWriter:
    w = BtfWriter(byteorder=byteorder)
    sizes = {w.int(name, size): size for name, size in (("unsigned char", 1), ("unsigned short", 2), ("unsigned", 4))}
    sizes |= {w.int("long long", 8, signed=True): 8, w.ptr(0): 8, w.int("__int128", 16, signed=True): 16}
    sizes |= {w.enum("e1", [("E1", 1)], size=1): 1, w.enum("e8", [("E8", 1)], size=8): 8, w.float("double", 8): 8}
    whole = [type_ for type_, size in sizes.items() if size <= 8 and type_ < 4]
    for number in range(300):
        element = rng.choice(list(sizes))
        count = rng.randrange(4)
        sizes[w.array(element, count)] = count * sizes[element]
        name = f"s{number}" if rng.random() < 0.7 else ""
        if rng.random() < 0.2:
            chosen = rng.choices(list(sizes), k=rng.randrange(1, 4))
            size = max(sizes[type_] for type_ in chosen) + rng.choice((0, 0, 0, 3, 8))
            rows = [(f"u{i}", type_, 0) for i, type_ in enumerate(chosen)]
            sizes[w.struct(name, size, rows, kind="union")] = size
            continue
        members = list(random_members(rng, sizes=sizes, whole=whole))
        last = max((offset + (bits or 8 * sizes[type_]) for _, type_, offset, bits in members), default=0)
        size = -(-last // 8)
        size = rng.choice((size, -(-size // 8) * 8, -(-size // 4) * 4, size + rng.randrange(80)))
        made = w.bitfields(name, size, members)
        if size < 500:
            sizes[made] = size
    return w


def random_members(
    rng: random.Random, *, sizes: dict[int, int], whole: list[int]
) -> Iterator[tuple[str, int, int, int]]:
    at = 0
    for index in range(rng.randrange(9)):
        if rng.random() < 0.4:
            type_ = rng.choice(whole)
            bits = rng.randrange(1, 8 * sizes[type_] + 1)
            yield f"m{index}", type_, at, bits
            at += bits + rng.choice((0, 0, 0, 1, 13, 70))
            continue
        type_ = rng.choice(list(sizes))
        unit = 8 * rng.choice((1, min(sizes[type_] & -sizes[type_] or 1, 8), 8, 64))
        at = -(-at // unit) * unit
        yield f"m{index}", type_, at, 0
        at += 8 * sizes[type_]
