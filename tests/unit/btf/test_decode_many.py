"""Many values in one piece are read as each by itself."""

from __future__ import annotations

import pytest

from pytest_ebpf.btf.decode import decoder, many_decoder
from pytest_ebpf.btf.parse import parse_btf
from support.btf_writer import BtfWriter


def types() -> tuple[BtfWriter, dict[str, int]]:
    w = BtfWriter()
    u8, u32, s64 = w.int("u8", 1), w.int("u32", 4), w.int("s64", 8, signed=True)
    char = w.int("char", 1, char=True)
    comm, words = w.array(char, 8, index=u32), w.array(u32, 2, index=u32)
    verdict = w.enum("verdict", [("DROP", 0x01010101), ("PASS", 2)])
    plain = w.struct("plain", 16, [("a", u32, 0), ("b", s64, 64)])
    made = {
        "u8": u8,
        "u32": u32,
        "s64": s64,
        "bool": w.int("bool", 1, bool_=True),
        "verdict": verdict,
        "words": words,
        "comm": comm,
        "plain": plain,
        "mixed": w.struct("mixed", 24, [("v", verdict, 0), ("comm", comm, 32), ("w", words, 96)]),
        "nested": w.struct("nested", 24, [("p", plain, 0), ("end", u32, 128)]),
        "either": w.struct("either", 4, [("a", u32, 0), ("b", u8, 0)], kind="union"),
        "flags": w.bitfields("flags", 4, [("low", u32, 0, 3), ("high", u32, 3, 29)]),
        "open": w.struct("open", 4, [("n", u32, 0), ("rest", w.array(u32, 0, index=u32), 32)]),
    }
    made["around"] = w.struct("around", 4, [("inner", made["open"], 0)])
    return w, made


WRITER, TYPES = types()


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("padding", [0, 8])
def test_as_one_by_one(name: str, padding: int) -> None:
    btf = parse_btf(WRITER.build())
    if name == "open":
        many_decoder(btf, TYPES["around"])  # what was learnt of the type inside another must not count here
    stride = btf.size(TYPES[name]) + padding
    data = bytes((at * 7 + at // 5) % 251 if at % 3 else 1 for at in range(stride * 9))
    read = decoder(btf, TYPES[name])
    wanted = [read(data[at : at + stride]) for at in range(0, len(data), stride)]
    assert many_decoder(btf, TYPES[name])(data, stride) == wanted
    assert many_decoder(btf, TYPES[name])(b"", stride) == []
