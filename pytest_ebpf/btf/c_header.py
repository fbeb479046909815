"""BTF as a C header: all types, or the given ones with those that they need to compile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pytest_ebpf.btf.c_decl import CDeclarer, keyword
from pytest_ebpf.btf.c_names import C23_WORDS, CNames, int_spelling
from pytest_ebpf.btf.c_order import Step, needs_alias, order
from pytest_ebpf.btf.parse import Btf
from pytest_ebpf.btf.types import BtfType, DeclTag, Enum, Float, Func, FuncProto, Fwd, Int, Kind, Struct, Typedef
from pytest_ebpf.errors import ObjectError
from pytest_ebpf.frozen import dataclass, replace

__all__ = ["Block", "CHeaderStyle", "c_blocks", "c_roots", "render_c"]

_NAMED = (Kind.STRUCT, Kind.UNION, Kind.ENUM, Kind.ENUM64, Kind.TYPEDEF, Kind.FWD)
_KFUNC_TAG = "bpf_kfunc"
_NO_INDEX = "BPF_NO_PRESERVE_ACCESS_INDEX"
_NO_KFUNCS = "BPF_NO_KFUNC_PROTOTYPES"
_HELPER_TYPES = (  # source: the names in bpf_helper_defs.h of libbpf 1.1 and 1.7; what they are: linux/types.h
    ("__u8", "unsigned char"), ("__s8", "signed char"),
    ("__u16", "unsigned short"), ("__be16", "unsigned short"), ("__s16", "short"),
    ("__u32", "unsigned int"), ("__be32", "unsigned int"), ("__wsum", "unsigned int"), ("__s32", "int"),
    ("__u64", "unsigned long long"), ("__be64", "unsigned long long"), ("__s64", "long long"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class CHeaderStyle:
    """``guard``: the macro against including it twice, "" for none.

    ``preserve_access_index``: make every access to the structs a CO-RE relocation (unless the including file
    defines BPF_NO_PRESERVE_ACCESS_INDEX): right for a kernel's types, wrong for those of an object's own maps.

    ``helper_types``: in a program of eBPF, declare the numbers that libbpf's <bpf/bpf_helpers.h> uses and expects
    from a header of all types.
    """

    guard: str = "__VMLINUX_H__"
    preserve_access_index: bool = True
    helper_types: bool = False


class Block(NamedTuple):
    """A declaration: ``text`` declares type ``id``, which C code calls ``spelling`` ("struct page", "u64"; "" for an
    anonymous enum). Not ``complete``: only declares the name of a struct, union or enum."""

    id: int
    complete: bool
    spelling: str
    text: str


def c_roots(btf: Btf) -> Iterator[int]:
    """The types that a header of all types declares: those of this BTF itself that have a name, the anonymous enums
    that no other type uses, and kfuncs (marked since Linux 6.10)."""
    used = _used(btf)
    for type_id, found in btf:
        anonymous = isinstance(found, Enum) and found.values and type_id not in used
        if found.kind in _NAMED and (found.name or anonymous):
            yield type_id
        elif isinstance(found, DeclTag) and found.name == _KFUNC_TAG:
            yield found.type


def c_blocks(btf: Btf, roots: Iterable[int]) -> list[Block]:
    """Declarations in an order that compiles: ``roots`` and what they need.

    Two types of one name become ``x`` and ``x___2``. A pointer's target is only declared, unless it is a root too.
    FUNCs become prototypes of kfuncs, and come last. ObjectError when a type cannot be written in C (a struct that
    contains itself).
    """
    names = CNames(btf)
    writer = CDeclarer(btf, names)
    steps = order(btf, roots, names=names)
    steps.sort(key=lambda step: btf.kind(step.id) == Kind.FUNC)
    blocks = (_block(btf, step, names=names, writer=writer) for step in steps)
    return [block for block in blocks if block.text]


def render_c(btf: Btf, types: Iterable[int] | None = None, *, style: CHeaderStyle | None = None) -> str:
    """The text of a header with ``types`` (ids; None: all) as ``c_blocks`` declares them."""
    style = style or CHeaderStyle()
    blocks = c_blocks(btf, c_roots(btf) if types is None else types)
    kfuncs = [block.text for block in blocks if btf.kind(block.id) == Kind.FUNC]
    texts = [block.text for block in blocks[: len(blocks) - len(kfuncs)]]
    if not any(block.complete and isinstance(btf.type(block.id), Struct) for block in blocks):
        style = replace(style, preserve_access_index=False)  # clang warns about a pragma that applies to nothing
    helper_types = _helper_types({block.spelling for block in blocks}) if style.helper_types else ""
    parts = [_top(style), helper_types, *texts, *(_kfunc_part(kfuncs) if kfuncs else ()), _bottom(style)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _helper_types(declared: set[str]) -> str:
    """Those of ``_HELPER_TYPES`` that no block declares."""
    lines = [f"typedef {words} {name};" for name, words in _HELPER_TYPES if name not in declared]
    return "\n".join(("#ifdef __bpf__ /* for <bpf/bpf_helpers.h> */", *lines, "#endif")) if lines else ""


def _used(btf: Btf) -> set[int]:
    """Ids that another type of this BTF refers to."""
    used: set[int] = set()
    for _, found in btf:
        if isinstance(found, Struct):
            used.update(member.type for member in found.members)
        elif isinstance(found, FuncProto):
            used.update((found.ret, *(param.type for param in found.params)))
        elif not isinstance(found, DeclTag):
            used.add(getattr(found, "type", 0))
    return used


def _block(btf: Btf, step: Step, *, names: CNames, writer: CDeclarer) -> Block:
    found = btf.type(step.id)
    spelling = text = ""
    match found:
        case Struct() | Fwd() | Enum():
            tag = names.tag(step.id) if found.name else ""
            spelling = f"{keyword(found)} {tag}" if tag else ""
            text = _tagged(step, found, tag=tag, writer=writer)
        case Typedef():
            spelling = names.ident(step.id)
            text = f"typedef {writer.declare(found.type, spelling)};"
        case Int() | Float() if needs_alias(found):
            spelling = names.ident(step.id)
            text = _alias(found, spelling)
        case Func():
            spelling = names.ident(step.id)
            text = _kfunc(found, btf.type(found.type), name=spelling, writer=writer)
    if found.name in C23_WORDS and spelling == found.name:
        text = _before_c23(text)
    hollow = isinstance(found, Fwd) or (isinstance(found, Enum) and not found.values)
    return Block(step.id, step.complete and not hollow, spelling, text)


def _tagged(step: Step, found: Struct | Fwd | Enum, *, tag: str, writer: CDeclarer) -> str:
    if isinstance(found, Enum):
        text = writer.enum_body(found, tag=tag) + ";"
        return _before_c23(text) if any(name in C23_WORDS for name, _ in found.values) else text
    if isinstance(found, Fwd) or not step.complete:
        return f"{keyword(found)} {tag};"
    return writer.body(step.id, found, tag=tag) + ";"


def _before_c23(text: str) -> str:
    """In C23 and C++ these are keywords."""
    return f"#if !defined(__cplusplus) && (!defined(__STDC_VERSION__) || __STDC_VERSION__ < 202311L)\n{text}\n#endif"


def _alias(found: Int | Float, name: str) -> str:
    words = int_spelling(found) if isinstance(found, Int) else ""
    if words:
        return f"typedef {words} {name};"
    return f"typedef struct {{\n\tunsigned char bytes[{found.size}];\n}} {name};"


def _kfunc(func: Func, proto: BtfType, *, name: str, writer: CDeclarer) -> str:
    if not isinstance(proto, FuncProto):
        raise ObjectError(f"BTF function {func.name!r} has no prototype", section=".BTF")
    return f"extern {writer.prototype(name, proto)} __weak __ksym;"


def _kfunc_part(kfuncs: list[str]) -> Iterator[str]:
    yield f"#ifndef {_NO_KFUNCS}"
    yield '#ifndef __ksym\n#define __ksym __attribute__((section(".ksyms")))\n#endif'
    yield "#ifndef __weak\n#define __weak __attribute__((weak))\n#endif"
    yield "\n".join(kfuncs)
    yield f"#endif /* {_NO_KFUNCS} */"


def _top(style: CHeaderStyle) -> str:
    lines = []
    if style.guard:
        lines += [f"#ifndef {style.guard}", f"#define {style.guard}"]
    if style.preserve_access_index:
        attribute = "__attribute__((preserve_access_index)), apply_to = record"
        lines += ["", *_if_clang(f"#pragma clang attribute push ({attribute})")]
    return "\n".join(lines).strip()


def _bottom(style: CHeaderStyle) -> str:
    lines = []
    if style.preserve_access_index:
        lines += [*_if_clang("#pragma clang attribute pop"), ""]
    if style.guard:
        lines.append(f"#endif /* {style.guard} */")
    return "\n".join(lines).strip()


def _if_clang(line: str) -> list[str]:
    return [f"#if defined(__clang__) && defined(__bpf__) && !defined({_NO_INDEX})", line, "#endif"]
