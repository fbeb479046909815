"""What a section name says about the programs in it."""

from __future__ import annotations

from functools import lru_cache

from pytest_ebpf.frozen import dataclass
from pytest_ebpf.suggest import close_names
from pytest_ebpf.uapi.sections import ATTACH_TYPES, MAP_FLAGS, MAP_TYPES, PROG_TYPES, ROWS

__all__ = [
    "SectionSpec",
    "attach_type_name",
    "map_flag_names",
    "map_type_name",
    "nearest_section",
    "number_of_type",
    "parse_section",
    "prog_type_name",
    "spec_of_type",
]

_BY_NAME = {row[0]: row for row in ROWS}


@dataclass(frozen=True, slots=True)
class SectionSpec:
    """The meaning of section ``name``.

    ``prefix`` is the row of the table that it matched and ``target`` what follows it ("kprobe/do_exit": "do_exit").
    ``prog_type``, ``attach_type``: numbers of enum bpf_prog_type, bpf_attach_type. ``optional_attach_type``: a kernel
    too old to know the attach type takes the program without. ``autoload`` is off after a "?".
    ``dialect``: "libbpf"; "other" for a row libbpf lacks; "loose" for a row with a name after it that only other
    loaders accept ("xdp/firewall").
    """

    name: str
    prefix: str
    prog_type: int
    attach_type: int
    target: str = ""
    sleepable: bool = False
    frags: bool = False
    autoload: bool = True
    needs_btf: bool = False
    optional_attach_type: bool = False
    dialect: str = "libbpf"


@lru_cache(maxsize=1024)
def parse_section(name: str) -> SectionSpec | None:
    """The spec of an ELF section name, None for one that no loader knows.

    >>> parse_section("?kprobe/do_exit").target
    'do_exit'
    """
    prefix = name.removeprefix("?")
    while prefix not in _BY_NAME:
        prefix, slash, _ = prefix.rpartition("/")
        if not slash:
            return None
    _, takes_target, prog_type, attach_type, flags, dialect = _BY_NAME[prefix]
    target = name.removeprefix("?")[len(prefix) + 1 :]
    return SectionSpec(
        name=name,
        prefix=prefix,
        prog_type=prog_type,
        attach_type=attach_type,
        target=target if takes_target else "",
        sleepable="SLP" in flags,
        frags="FRAGS" in flags,
        autoload=not name.startswith("?"),
        needs_btf="BTF" in flags,
        optional_attach_type="opt" in flags,
        dialect="loose" if target and not takes_target else dialect,
    )


def spec_of_type(name: str, *, prog_type: int, attach_type: int | None = None) -> SectionSpec:
    """The spec of a program of this type in a section whose name says something else, or nothing. ``attach_type``
    None: the one that programs of the type have as a rule."""
    rows = [row for row in ROWS if row[2] == prog_type and attach_type in (None, row[3]) and "SLP" not in row[4]]
    if not rows:
        return SectionSpec(name, "", prog_type, attach_type or 0, dialect="other")
    prefix, _, _, row_attach, flags, dialect = min(rows, key=lambda row: len(row[0]))  # "xdp", not "xdp/devmap"
    return SectionSpec(
        name=name,
        prefix=prefix,
        prog_type=prog_type,
        attach_type=row_attach,
        needs_btf="BTF" in flags,
        optional_attach_type="opt" in flags,
        dialect=dialect,
    )


def number_of_type(name: str, names: tuple[str, ...]) -> int | None:
    """The number of a type by its name in any case, "sched_cls" or "BPF_PROG_TYPE_SCHED_CLS"; None for none.
    ``names``: PROG_TYPES, ATTACH_TYPES or MAP_TYPES."""
    plain = name.upper()
    for prefix in ("BPF_PROG_TYPE_", "BPF_MAP_TYPE_", "BPF_"):
        plain = plain.removeprefix(prefix)
    return names.index(plain) if plain in names else None


def nearest_section(name: str) -> str:
    """For a hint: the longest known name that ``name`` starts with ("xdp_firewall" -> "xdp"), else one that is spelt
    nearly so ("kproeb/vfs_read" -> "kprobe/vfs_read"); "" when there is none."""
    plain = name.removeprefix("?")
    begins = max((known for known in _BY_NAME if plain.startswith(known)), key=len, default="")
    if begins:
        return begins
    head, slash, rest = plain.partition("/")
    whole = close_names(plain, _BY_NAME, most=1, cutoff=0.8)
    heads = close_names(head, {known.partition("/")[0] for known in _BY_NAME}, most=1)
    return next(iter(whole), "") or next((f"{near}{slash}{rest}" for near in heads), "")


def prog_type_name(number: int) -> str:
    """6 -> "XDP"."""
    return _name(PROG_TYPES, number)


def attach_type_name(number: int) -> str:
    """37 -> "XDP"."""
    return _name(ATTACH_TYPES, number)


def map_type_name(number: int) -> str:
    """1 -> "HASH"."""
    return _name(MAP_TYPES, number)


def map_flag_names(flags: int) -> tuple[str, ...]:
    """0x401 -> ("NO_PREALLOC", "MMAPABLE"); bits without a name as numbers."""
    bits = [bit for bit in range(flags.bit_length()) if flags >> bit & 1]
    return tuple(MAP_FLAGS[bit] if bit < len(MAP_FLAGS) else hex(1 << bit) for bit in bits)


def _name(names: tuple[str, ...], number: int) -> str:
    return names[number] if 0 <= number < len(names) else str(number)
