from __future__ import annotations

import pytest

from pytest_ebpf.btf import types as t
from pytest_ebpf.btf.parse import parse_btf
from pytest_ebpf.btf.write import BtfBuilder, rewrite_btf
from support.btf_writer import BtfWriter
from support.every_kind import every_kind

each_order = pytest.mark.parametrize("byteorder", ["little", "big"])


@each_order
def test_every_kind_is_written_as_the_kernel_wants_it(byteorder: str) -> None:
    """Byte for byte what the tests' own writer makes."""
    writer, types = every_kind(byteorder)
    builder = BtfBuilder(byteorder=byteorder, strings=writer.strings)
    assert [builder.add(type_) for type_ in types.values()] == list(types)  # type: ignore[arg-type]
    assert builder.build() == writer.build()


@each_order
def test_a_copy_with_nothing_replaced_is_the_same_bytes(byteorder: str) -> None:
    data = every_kind(byteorder)[0].build()
    btf = parse_btf(data)
    assert rewrite_btf(btf, {}) == data
    assert rewrite_btf(btf, dict(btf)) == data


def test_replacing_keeps_ids_and_string_offsets() -> None:
    writer, types = every_kind()
    btf = parse_btf(writer.build())
    victim = btf.find("double")[0]
    copy = parse_btf(rewrite_btf(btf, {victim: t.Struct("double", 8, ())}, append=[t.Int("extra", 2, 16)]))
    assert copy.type(victim) == t.Struct("double", 8, ())
    assert copy.type(len(btf)) == t.Int("extra", 2, 16)
    assert {i: type_ for i, type_ in copy if i not in (victim, len(btf))} == {
        i: type_ for i, type_ in types.items() if i != victim
    }
    assert copy.strings.startswith(btf.strings)
    assert copy.strings[len(btf.strings) :] == b"extra\0"


def test_builder_stores_a_string_once() -> None:
    builder = BtfBuilder()
    first = builder.string("abc")
    assert builder.string("abc") == first
    assert builder.string("") == 0
    assert builder.build().count(b"abc") == 1


def test_opaque_types_survive() -> None:
    w = BtfWriter()
    w.raw("new", 25, 7, 0xAA, vlen=0)
    layout = bytes(4 * 25) + bytes((4, 0, 0, 0))
    btf = parse_btf(w.build(layout=layout))
    assert w.records[0] in rewrite_btf(btf, dict(btf))


def test_split_btf_is_not_rewritten() -> None:
    base = parse_btf(BtfWriter().build())
    split = parse_btf(BtfWriter(first_id=1, first_string=base.string_end).build(), base=base)
    with pytest.raises(ValueError, match="split"):
        rewrite_btf(split, {})
