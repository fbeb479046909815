"""What the kernel reports about its objects, as values: programs, maps, links, BTF.

Layouts: struct bpf_prog_info, bpf_map_info, bpf_link_info and bpf_btf_info in include/uapi/linux/bpf.h (Linux 7.2);
structs only ever grew at the end. What a kernel is too old to say is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from struct import Struct
from types import MappingProxyType
from typing import Any, TypeVar

from pytest_ebpf.agent.ops import InfoArray
from pytest_ebpf.frozen import dataclass, field
from pytest_ebpf.obj.sections import map_flag_names
from pytest_ebpf.obj.type_names import attach_type_text, link_type_text, map_type_text, prog_type_text
from pytest_ebpf.uapi.links import PerfEventKind
from pytest_ebpf.uapi.names import LinkTypeName, MapTypeName, ProgTypeName

__all__ = [
    "BtfInfo",
    "LINK_ARRAYS",
    "LinkInfo",
    "MapInfo",
    "ProgInfo",
    "fdinfo_fields",
    "link_kind",
    "read_btf_info",
    "read_link_info",
    "read_map_info",
    "read_prog_info",
]

T = TypeVar("T")
_Place = tuple[int, str]  # byte offset, struct format

_PROG: dict[str, _Place] = {
    "type_number": (0, "I"), "id": (4, "I"), "tag": (8, "8s"), "jited_len": (16, "I"), "xlated_len": (20, "I"),
    "load_time": (40, "Q"), "created_by_uid": (48, "I"), "name": (64, "16s"), "ifindex": (80, "I"),
    "gpl_compatible": (84, "I"), "netns_dev": (88, "Q"), "netns_ino": (96, "Q"), "btf_id": (128, "I"),
    "func_infos": (144, "I"), "line_infos": (148, "I"), "run_time_ns": (192, "Q"), "run_count": (200, "Q"),
    "recursion_misses": (208, "Q"), "verified_insns": (216, "I"), "attach_btf_obj_id": (220, "I"),
    "attach_btf_id": (224, "I"),
}  # fmt: skip
_MAP: dict[str, _Place] = {
    "type_number": (0, "I"), "id": (4, "I"), "key_size": (8, "I"), "value_size": (12, "I"), "max_entries": (16, "I"),
    "flags": (20, "I"), "name": (24, "16s"), "ifindex": (40, "I"), "btf_vmlinux_value_type_id": (44, "I"),
    "netns_dev": (48, "Q"), "netns_ino": (56, "Q"), "btf_id": (64, "I"), "btf_key_type_id": (68, "I"),
    "btf_value_type_id": (72, "I"), "btf_vmlinux_id": (76, "I"), "map_extra": (80, "Q"),
}  # fmt: skip
_BTF: dict[str, _Place] = {"size": (8, "I"), "id": (12, "I"), "is_kernel": (28, "I")}
_LINK: dict[str, _Place] = {"type_number": (0, "I"), "id": (4, "I"), "prog_id": (8, "I")}

# By link type: the numbers behind the common fields.
_LINK_DETAILS: dict[str, dict[str, _Place]] = {
    "raw_tracepoint": {"cookie": (32, "Q")},
    "tracing": {
        "attach_type": (16, "I"), "target_obj_id": (20, "I"), "target_btf_id": (24, "I"), "cookie": (32, "Q")
    },
    "cgroup": {"cgroup_id": (16, "Q"), "attach_type": (24, "I")},
    "iter": {"map_id": (28, "I"), "cgroup_id": (32, "Q"), "order": (40, "I")},
    "netns": {"netns_ino": (16, "I"), "attach_type": (20, "I")},
    "xdp": {"ifindex": (16, "I")},
    "kprobe_multi": {"count": (24, "I"), "flags": (28, "I"), "missed": (32, "Q")},
    "struct_ops": {"map_id": (16, "I")},
    "netfilter": {"pf": (16, "I"), "hooknum": (20, "I"), "priority": (24, "i"), "flags": (28, "I")},
    "tcx": {"ifindex": (16, "I"), "attach_type": (20, "I")},
    "uprobe_multi": {"count": (52, "I"), "flags": (56, "I"), "pid": (60, "I")},
    "netkit": {"ifindex": (16, "I"), "attach_type": (20, "I")},
    "sockmap": {"map_id": (16, "I"), "attach_type": (20, "I")},
    "tracing_multi": {"attach_type": (16, "I"), "count": (20, "I"), "btf_obj_id": (24, "I")},
    "perf_event uprobe": {"offset": (36, "I"), "cookie": (40, "Q")},
    "perf_event kprobe": {"offset": (36, "I"), "address": (40, "Q"), "missed": (48, "Q"), "cookie": (56, "Q")},
    "perf_event tracepoint": {"cookie": (40, "Q")},
    "perf_event event": {"config": (24, "Q"), "event_type": (32, "I"), "cookie": (40, "Q")},
}  # fmt: skip
_PERF_KINDS = {"uretprobe": "uprobe", "kretprobe": "kprobe"}
_TEXT = 4096  # bytes of room for a name or path
# By link type: (what, array); texts have ``room``, the others are u64.
LINK_ARRAYS: Mapping[str, tuple[tuple[str, InfoArray], ...]] = MappingProxyType(
    {
        "raw_tracepoint": (("tp_name", InfoArray(16, 24, room=_TEXT)),),
        "iter": (("target_name", InfoArray(16, 24, room=_TEXT)),),
        "kprobe_multi": (("addresses", InfoArray(16, 24, stride=8)), ("cookies", InfoArray(40, 24, stride=8))),
        "uprobe_multi": (
            ("path", InfoArray(16, 48, room=_TEXT)),
            ("offsets", InfoArray(24, 52, stride=8)),
            ("ref_ctr_offsets", InfoArray(32, 52, stride=8)),
            ("cookies", InfoArray(40, 52, stride=8)),
        ),
        "tracing_multi": (
            ("btf_ids", InfoArray(32, 20, stride=4)),
            ("addresses", InfoArray(40, 20, stride=8)),
            ("cookies", InfoArray(48, 20, stride=8)),
        ),
        "perf_event uprobe": (("file_name", InfoArray(24, 32, room=_TEXT)),),
        "perf_event kprobe": (("func_name", InfoArray(24, 32, room=_TEXT)),),
        "perf_event tracepoint": (("tp_name", InfoArray(24, 32, room=_TEXT)),),
    }
)


@dataclass(frozen=True, slots=True)
class ProgInfo:
    """A program in the kernel. ``tag``: hash of its instructions, hex. ``load_time``: nanoseconds since boot.

    ``jited_len``, ``xlated_len``: bytes of machine code and of rewritten instructions. ``map_ids``: the maps it uses.
    ``run_time_ns``, ``run_count``: only counted while statistics are on. ``memlock``: bytes charged for it.
    ``attach_btf_obj_id``, ``attach_btf_id``: what a tracing program was loaded for.
    """

    type: ProgTypeName | str
    type_number: int
    id: int
    name: str
    tag: str
    jited_len: int
    xlated_len: int
    map_ids: tuple[int, ...]
    load_time: int | None = None
    created_by_uid: int | None = None
    ifindex: int | None = None
    gpl_compatible: bool | None = None
    netns_dev: int | None = None
    netns_ino: int | None = None
    btf_id: int | None = None
    func_infos: int | None = None
    line_infos: int | None = None
    run_time_ns: int | None = None
    run_count: int | None = None
    recursion_misses: int | None = None
    verified_insns: int | None = None
    attach_btf_obj_id: int | None = None
    attach_btf_id: int | None = None
    memlock: int | None = None


@dataclass(frozen=True, slots=True)
class MapInfo:
    """A map in the kernel. ``flags``: names of BPF_F_*. ``memlock``: bytes charged for it. ``frozen``: user space can
    change it no more. ``btf_key_type_id``, ``btf_value_type_id``: types in the BTF object ``btf_id``."""

    type: MapTypeName | str
    type_number: int
    id: int
    name: str
    key_size: int
    value_size: int
    max_entries: int
    flags: tuple[str, ...]
    ifindex: int | None = None
    btf_vmlinux_value_type_id: int | None = None
    netns_dev: int | None = None
    netns_ino: int | None = None
    btf_id: int | None = None
    btf_key_type_id: int | None = None
    btf_value_type_id: int | None = None
    btf_vmlinux_id: int | None = None
    map_extra: int | None = None
    memlock: int | None = None
    frozen: bool | None = None


@dataclass(frozen=True, slots=True)
class LinkInfo:
    """An attachment in the kernel. ``details``: what links of this ``type`` have besides, by the kernel's names
    (``ifindex``, ``attach_type``, ``cgroup_id``, ``tp_name``, ``addresses``, ...)."""

    type: LinkTypeName | str
    type_number: int
    id: int
    prog_id: int
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BtfInfo:
    """A BTF object in the kernel. ``name``: "vmlinux" or a module's, "" for those that programs brought."""

    id: int
    size: int
    name: str = ""
    is_kernel: bool | None = None


def _read(data: bytes, places: Mapping[str, _Place], *, order: str) -> dict[str, Any]:
    """Fields by name; None for what ``data`` is too short for. Texts end at their NUL. ``order``: ``Described.order``,
    here and below."""
    found: dict[str, Any] = {}
    for name, (offset, code) in places.items():
        place = Struct(order + code)
        value = place.unpack_from(data, offset)[0] if len(data) >= offset + place.size else None
        if code == "16s" and value is not None:
            value = value.split(b"\0", 1)[0].decode(errors="replace")
        found[name] = value
    return found


def read_prog_info(
    data: bytes, *, map_ids: tuple[int, ...] = (), fdinfo: Mapping[str, str], order: str = "<"
) -> ProgInfo:
    """``data``: struct bpf_prog_info."""
    fields = _read(data, _PROG, order=order)
    fields |= {"tag": fields["tag"].hex(), "type": prog_type_text(fields["type_number"]), "map_ids": map_ids}
    if fields["gpl_compatible"] is not None:
        fields["gpl_compatible"] = bool(fields["gpl_compatible"] & 1)
    return ProgInfo(**fields, memlock=_number(fdinfo, "memlock"))


def read_map_info(data: bytes, *, fdinfo: Mapping[str, str], order: str = "<") -> MapInfo:
    """``data``: struct bpf_map_info."""
    fields = _read(data, _MAP, order=order)
    fields |= {"type": map_type_text(fields["type_number"]), "flags": map_flag_names(fields["flags"])}
    frozen = _number(fdinfo, "frozen")
    return MapInfo(**fields, memlock=_number(fdinfo, "memlock"), frozen=None if frozen is None else bool(frozen))


def read_btf_info(data: bytes, *, name: bytes = b"", order: str = "<") -> BtfInfo:
    """``data``: struct bpf_btf_info."""
    fields = _read(data, _BTF, order=order)
    if fields["is_kernel"] is not None:
        fields["is_kernel"] = bool(fields["is_kernel"])
    return BtfInfo(**fields, name=_text(name))


def read_link_info(data: bytes, *, arrays: Mapping[str, bytes] | None = None, order: str = "<") -> LinkInfo:
    """``data``: struct bpf_link_info; ``arrays``: what is behind its pointers, by the names in ``LINK_ARRAYS``."""
    fields = _read(data, _LINK, order=order)
    kind = link_kind(data, order=order)
    found = _read(data, _LINK_DETAILS.get(kind, {}), order=order)
    details = {name: value for name, value in found.items() if value is not None}
    if "attach_type" in details:
        details["attach_type"] = attach_type_text(details["attach_type"])
    if kind.startswith("perf_event"):
        details = {"event": _perf_type(data, order=order), **details}
    shapes = dict(LINK_ARRAYS.get(kind, ()))
    for name, value in (arrays or {}).items():
        stride = shapes[name].stride
        code = "I" if stride == 4 else "Q"
        details[name] = (
            _text(value) if shapes[name].room else Struct(f"{order}{len(value) // stride}{code}").unpack(value)
        )
    return LinkInfo(type=link_type_text(fields["type_number"]), **fields, details=MappingProxyType(details))


def link_kind(data: bytes, *, order: str = "<") -> str:
    """The row of ``LINK_ARRAYS`` for a link: its type, and for perf events what they are about."""
    number = _read(data, _LINK, order=order)["type_number"]
    name = str(link_type_text(number))
    if name != LinkTypeName.PERF_EVENT:
        return name
    kind = _perf_type(data, order=order)
    return f"{name} {_PERF_KINDS.get(kind, kind)}"


def _perf_type(data: bytes, *, order: str) -> str:
    number = _read(data, {"type": (16, "I")}, order=order)["type"] or 0
    return _name(PerfEventKind, number=number)


def _name(enum: type[IntEnum], *, number: int) -> str:
    """A member's name in small letters, the number itself for one that the headers do not have."""
    known = enum._value2member_map_.get(number)
    return known.name.lower() if known is not None else str(number)


def fdinfo_fields(text: bytes) -> dict[str, str]:
    """The lines of /proc/self/fdinfo by name."""
    pairs = (line.partition(":") for line in text.decode(errors="replace").splitlines())
    return {name: value.strip() for name, _, value in pairs}


def _number(fdinfo: Mapping[str, str], name: str) -> int | None:
    value = fdinfo.get(name, "")
    return int(value) if value.isdigit() else None


def _text(data: bytes) -> str:
    return data.split(b"\0", 1)[0].decode(errors="replace")
