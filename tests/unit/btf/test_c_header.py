"""The text of C headers, on BTF that the tests write themselves."""

from __future__ import annotations

import pytest

from pytest_ebpf.btf.c_header import CHeaderStyle, c_blocks, render_c
from pytest_ebpf.btf.parse import parse_btf
from pytest_ebpf.errors import ObjectError
from support.btf_writer import BtfWriter

BARE = CHeaderStyle(guard="", preserve_access_index=False)


def header(w: BtfWriter, *types: int) -> str:
    return render_c(parse_btf(w.build()), types or None, style=BARE)


def one(w: BtfWriter, type_id: int) -> str:
    """The declaration of one type."""
    return next(b.text for b in c_blocks(parse_btf(w.build()), [type_id]) if b.id == type_id and b.complete)


def test_a_struct_with_everything_common() -> None:
    w = BtfWriter()
    char, u32 = w.int("char", 1, signed=True), w.int("unsigned int", 4)
    alias = w.typedef("__u32", u32)
    page = w.fwd("page")
    callback = w.ptr(w.func_proto(w.int("int", 4, signed=True), [("", w.ptr(0)), ("", w.ptr(page)), ("", 0)]))
    inner = w.struct("", 8, [("a", u32, 0), ("b", u32, 32)])
    union = w.struct("", 8, [("x", u32, 0), ("", inner, 0)], kind="union")
    members = [
        ("name", w.array(char, 16), 0),
        ("count", alias, 128),
        ("pages", w.ptr(w.modifier("const", w.ptr(page))), 192),
        ("call", callback, 256),
        ("", union, 320),
        ("pair", inner, 384),
        ("tail", w.array(w.array(u32, 3), 0), 448),
    ]
    w.struct("event", 56, members)
    assert header(w) == (
        "typedef unsigned int __u32;\n\n"
        "struct page;\n\n"
        "struct event {\n"
        "\tchar name[16];\n"
        "\t__u32 count;\n"
        "\tstruct page *const *pages;\n"
        "\tint (*call)(void *, struct page *, ...);\n"
        "\tunion {\n"
        "\t\tunsigned int x;\n"
        "\t\tstruct {\n"
        "\t\t\tunsigned int a;\n"
        "\t\t\tunsigned int b;\n"
        "\t\t};\n"
        "\t};\n"
        "\tstruct {\n"
        "\t\tunsigned int a;\n"
        "\t\tunsigned int b;\n"
        "\t} pair;\n"
        "\tunsigned int tail[0][3];\n"
        "};\n"
    )


def test_arrays_of_pointers_to_functions() -> None:
    w = BtfWriter()
    i = w.int("int", 4, signed=True)
    table = w.array(w.modifier("const", w.ptr(w.func_proto(0, []))), 4)
    assert one(w, w.typedef("table_t", w.ptr(table))) == "typedef void (*const (*table_t)[4])();"
    returning = w.ptr(w.func_proto(w.ptr(w.func_proto(i, [("", i)])), [("", 0)]))
    assert one(w, w.typedef("f_t", returning)) == "typedef int (*(*f_t)())(int);"


def test_qualifiers_stay_with_what_they_qualify() -> None:
    w = BtfWriter()
    i = w.int("int", 4, signed=True)
    volatile = w.modifier("volatile", w.modifier("const", i))
    assert one(w, w.typedef("a", w.ptr(volatile))) == "typedef volatile const int *a;"
    assert one(w, w.typedef("b", w.modifier("restrict", w.ptr(i)))) == "typedef int *restrict b;"
    assert one(w, w.typedef("c", w.modifier("const", w.array(i, 2)))) == "typedef const int c[2];"
    tagged = w.ptr(w.modifier("type_tag", i, name="user"))
    assert one(w, w.typedef("d", tagged)) == 'typedef __attribute__((btf_type_tag("user"))) int *d;'
    w.raw("address_space(1)", 18, 0, kflag=True)
    arena = w.ptr(len(w.records))
    assert one(w, w.typedef("e", arena)) == "typedef __attribute__((address_space(1))) void *e;"


def lines(w: BtfWriter, type_id: int) -> list[str]:
    return [line.strip("\t") for line in one(w, type_id).split("\n")][1:]


def test_bitfields_and_the_gaps_between_them() -> None:
    w = BtfWriter()
    u8, u32 = w.int("unsigned char", 1), w.int("unsigned int", 4)
    rows = [("a", u32, 0, 3), ("b", u32, 5, 2), ("c", u32, 32, 4), ("d", u8, 36, 4), ("e", u8, 48, 0)]
    assert lines(w, w.bitfields("flags", 8, rows)) == [
        "unsigned int a: 3;",
        "long :2;",
        "unsigned int b: 2;",
        "long :25;",
        "unsigned int c: 4;",
        "unsigned char d: 4;",
        "long :8;",
        "unsigned char e;",
        "};",
    ]


def test_bitfields_that_are_types_of_their_own() -> None:
    """BTF of before Linux 5.0."""
    w = BtfWriter()
    three = w.int("unsigned int", 4, bits=3)
    assert lines(w, w.struct("old", 4, [("a", three, 0), ("b", three, 3)])) == [
        "unsigned int a: 3;",
        "unsigned int b: 3;",
        "};",
    ]


def test_packed_and_padded() -> None:
    w = BtfWriter()
    u8, u32, u64 = w.int("unsigned char", 1), w.int("unsigned int", 4), w.int("unsigned long", 8)
    packed = w.struct("packed", 5, [("a", u8, 0), ("b", u32, 8)])
    assert lines(w, packed) == ["unsigned char a;", "unsigned int b;", "} __attribute__((packed));"]
    # a packed struct asks for no alignment: nothing to fill
    assert lines(w, w.struct("outer", 8, [("a", u8, 0), ("b", packed, 8)]))[-1] == "};"
    short = w.struct("short_size", 12, [("a", u64, 0), ("b", u32, 64)])
    assert lines(w, short)[-1] == "} __attribute__((packed));"
    line = w.struct("cacheline", 128, [("a", u32, 0), ("b", u32, 512)])
    assert lines(w, line) == [
        "unsigned int a;",
        "long :32;",
        *["long :64;"] * 7,
        "unsigned int b;",
        "long :32;",
        *["long :64;"] * 7,
        "};",
    ]
    assert lines(w, w.struct("wide", 11, [("a", u64, 0)], kind="union")) == [
        "unsigned long a;",
        "struct { long :64; long :24; } __attribute__((packed));",
        "} __attribute__((packed));",
    ]
    assert lines(w, w.struct("odd", 5, [("a", u32, 0)], kind="union")) == [
        "unsigned int a;",
        "long :40;",
        "} __attribute__((packed));",
    ]


def test_members_out_of_order() -> None:
    """Rust places fields as it likes."""
    w = BtfWriter()
    u8, u32 = w.int("u8", 1), w.int("u32", 4)
    assert lines(w, w.struct("Rusty", 8, [("small", u8, 32), ("big", u32, 0)])) == ["u32 big;", "u8 small;", "};"]


def test_what_is_no_c_struct_is_bytes() -> None:
    w = BtfWriter()
    u32 = w.int("unsigned int", 4)
    (line, *_) = lines(w, w.struct("overlapping", 8, [("a", u32, 0), ("b", u32, 16)]))
    assert line.startswith("unsigned char bytes[8];")
    (line, *_) = lines(w, w.struct("outside", 4, [("a", u32, 0), ("b", u32, 32)]))
    assert line.startswith("unsigned char bytes[4];")


def test_enums() -> None:
    w = BtfWriter()
    assert lines(w, w.enum("e", [("A", 0), ("B", 0xFFFFFFFF)])) == ["A = 0,", "B = 4294967295,", "};"]
    assert lines(w, w.enum("s", [("C", -1)], size=1, signed=True)) == ["C = -1,", "} __attribute__((mode(QI)));"]
    big = w.enum64("big", [("D", 1 << 63), ("E", 1)])
    assert lines(w, big) == ["D = 9223372036854775808ULL,", "E = 1,", "};"]
    low = w.enum64("low", [("F", -(1 << 63)), ("G", -(1 << 31)), ("H", -(1 << 40))], signed=True)
    assert lines(w, low)[:3] == ["F = (-9223372036854775807LL - 1),", "G = -2147483648,", "H = -1099511627776LL,"]
    assert lines(w, w.enum64("roomy", [("I", 1)]))[-1] == "} __attribute__((mode(DI)));"
    assert lines(w, w.enum64("both", [("J", -1), ("K", 0xFFFFFFFF)], signed=True))[-1] == "};"
    empty = w.enum("declared_only", [])
    assert render_c(parse_btf(w.build()), [empty], style=BARE) == "enum declared_only;\n"


def test_anonymous_enums_are_written_once_by_themselves_or_where_they_are_used() -> None:
    w = BtfWriter()
    w.enum("", [("ALONE", 1)])
    w.struct("s", 4, [("mode", w.enum("", [("FAST", 1)]), 0)])
    text = header(w)
    assert text.count("ALONE = 1") == text.count("FAST = 1") == 1
    assert "enum {\n\t\tFAST = 1,\n\t} mode;" in text


def test_same_names_get_numbers() -> None:
    w = BtfWriter()
    i = w.int("int", 4, signed=True)
    first = w.struct("x", 4, [("a", i, 0)])
    second = w.struct("x", 4, [("b", i, 0)])
    w.struct("x", 4, [("c", i, 0)], kind="union")
    w.typedef("x", second)
    w.enum("e", [("x", 1), ("V", 2)])
    w.enum("f", [("V", 3)])
    w.struct("holder", 8, [("first", first, 0), ("second", second, 32)])
    text = header(w)
    assert "struct x {\n\tint a;" in text
    assert "struct x___2 {\n\tint b;" in text
    assert "union x___3 {\n\tint c;" in text
    assert "typedef struct x___2 x;" in text
    assert "x___2 = 1," in text
    assert "V___2 = 3," in text
    assert "\tstruct x first;\n\tstruct x___2 second;" in text
    # in a header without the first, the second has the name for itself
    assert "struct x {\n\tint b;" in header(w, second)


def test_a_number_that_is_taken_is_passed_over() -> None:
    w = BtfWriter()
    i = w.int("int", 4, signed=True)
    for _ in range(2):
        w.struct("x___2", 4, [("taken", i, 0)])
        w.struct("x", 4, [("a", i, 0)])
    blocks = c_blocks(parse_btf(w.build()), range(1, 6))
    spellings = [block.spelling for block in blocks if block.complete]
    assert spellings == ["struct x___2", "struct x", "struct x___2___2", "struct x___3"]


def test_a_declaration_means_the_definition_of_its_kind() -> None:
    w = BtfWriter()
    i = w.int("int", 4, signed=True)
    fwd = w.fwd("later")
    user = w.struct("user", 8, [("p", w.ptr(fwd), 0)])
    w.struct("later", 4, [("a", i, 0)])
    w.fwd("other", union=True)
    text = header(w)
    assert text.index("struct later;") < text.index("struct user {") < text.index("struct later {")
    assert "union other;" in text
    assert "___2" not in text
    assert "struct later {" not in header(w, user)


def test_only_what_is_needed() -> None:
    w = BtfWriter()
    i = w.int("int", 4, signed=True)
    w.struct("unrelated", 4, [("a", i, 0)])
    inner = w.struct("inner", 4, [("a", i, 0)])
    behind = w.struct("behind", 4, [("a", i, 0)])
    alias = w.typedef("inner_t", w.modifier("const", inner))
    rows = w.ptr(w.array(w.struct("row", 4, [("a", i, 0)]), 3))
    users = w.struct("user", 24, [("a", w.array(alias, 2), 0), ("p", w.ptr(behind), 64), ("rows", rows, 128)])
    blocks = c_blocks(parse_btf(w.build()), [users])
    assert [(block.spelling, block.complete) for block in blocks] == [
        ("struct inner", False),
        ("inner_t", True),
        ("struct inner", True),
        ("struct behind", False),
        ("struct row", True),
        ("struct user", True),
    ]


def test_structs_that_point_at_each_other_through_typedefs() -> None:
    w = BtfWriter()
    w.typedef("node_t", 2)
    w.struct("node", 16, [("next", 3, 0), ("call", 4, 64)])
    w.ptr(1)
    w.ptr(5)
    w.func_proto(0, [("", 3)])
    assert header(w) == (
        "struct node;\n\ntypedef struct node node_t;\n\nstruct node {\n\tnode_t *next;\n\tvoid (*call)(node_t *);\n};\n"
    )


def test_numbers_by_other_names() -> None:
    w = BtfWriter()
    assert one(w, w.int("u8", 1)) == "typedef unsigned char u8;"
    assert one(w, w.int("i128", 16, signed=True)) == "typedef __int128 i128;"
    assert one(w, w.int("Option<u8>", 8)) == "typedef unsigned long long Option_u8_;"
    assert one(w, w.float("long double", 16)).startswith("typedef struct {\n\tunsigned char bytes[16];")
    long32 = w.int("long unsigned int", 4)
    assert one(w, long32) == "typedef unsigned int long_unsigned_int;"
    assert one(w, w.typedef("x32", long32)) == "typedef long_unsigned_int x32;"


def test_words_of_the_language() -> None:
    w = BtfWriter()
    i = w.int("int", 4, signed=True)
    b = w.int("_Bool", 1, bool_=True)
    w.typedef("bool", b)
    w.enum("", [("false", 0), ("true", 1)])
    w.typedef("__builtin_va_list", w.array(i, 6))
    text = header(w)
    guard = "#if !defined(__cplusplus) && (!defined(__STDC_VERSION__) || __STDC_VERSION__ < 202311L)"
    assert f"{guard}\ntypedef _Bool bool;\n#endif" in text
    assert f"{guard}\nenum {{\n\tfalse = 0,\n\ttrue = 1,\n}};\n#endif" in text
    assert "typedef int __builtin_va_list___2[6];" in text


def test_kfuncs_have_prototypes() -> None:
    w = BtfWriter()
    u32 = w.int("unsigned int", 4)
    task = w.struct("task_struct", 4, [("pid", u32, 0)])
    func = w.func("bpf_task_from_pid", w.func_proto(w.ptr(task), [("pid", u32)]))
    w.func("not_one", w.func_proto(0, []))
    w.decl_tag("bpf_kfunc", func)
    text = header(w)
    assert "extern struct task_struct *bpf_task_from_pid(unsigned int pid) __weak __ksym;" in text
    assert "not_one" not in text
    assert "extern" in header(w, func)


def test_style() -> None:
    w = BtfWriter()
    w.struct("s", 4, [("a", w.int("int", 4, signed=True), 0)])
    btf = parse_btf(w.build())
    text = render_c(btf)
    assert text.startswith("#ifndef __VMLINUX_H__\n#define __VMLINUX_H__\n")
    assert text.count("preserve_access_index") == 1
    assert text.count("#pragma clang attribute p") == 2
    assert "preserve_access_index" not in render_c(btf, style=CHeaderStyle(preserve_access_index=False))
    assert "#ifndef EVENTS_H" in render_c(btf, style=CHeaderStyle(guard="EVENTS_H"))


def test_a_struct_member_that_only_has_a_tag_is_written_out() -> None:
    """-fms-extensions, which the kernel is built with since Linux 6.19."""
    w = BtfWriter()
    i = w.int("int", 4, signed=True)
    base = w.struct("base", 4, [("a", i, 0)])
    text = one(w, w.struct("derived", 8, [("", base, 0), ("b", i, 32)]))
    assert text == "struct derived {\n\tstruct {\n\t\tint a;\n\t};\n\tint b;\n};"


@pytest.mark.parametrize("length", [40, 5000])
def test_too_deep_is_an_error_of_the_object(length: int) -> None:
    w = BtfWriter()
    inner = w.int("int", 4, signed=True)
    for _ in range(length):
        inner = w.struct("", 4, [("a", inner, 0)])
    w.typedef("deep", inner)
    with pytest.raises(ObjectError, match=r"deep|contains itself"):
        header(w)


def test_a_struct_in_itself_is_an_error_of_the_object() -> None:
    w = BtfWriter()
    w.struct("ouroboros", 4, [("tail", 1, 0)])
    with pytest.raises(ObjectError, match="'ouroboros' cannot be written in C: it contains itself"):
        header(w)
    w = BtfWriter()
    w.typedef("t", 2)
    w.ptr(1)
    with pytest.raises(ObjectError, match="contains itself"):
        header(w)
