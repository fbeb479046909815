"""What loads here and is refused, or read differently, by other loaders: a table with versions and sources.

Nothing of it is an error here. A project that ships its objects for another loader wants to know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from pytest_ebpf.frozen import dataclass
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.obj.sections import parse_section
from pytest_ebpf.uapi.enums import MapType

__all__ = ["RULES", "Elsewhere", "Rule", "elsewhere"]

_PAGE = 4096
# aya-obj 0.6.0, ProgramSection::from_str: the first part of a section name, and the second where only some are known
_AYA_ANY = (
    "kprobe kretprobe uprobe uprobe.s uprobe.multi uprobe.multi.s uretprobe uretprobe.s uretprobe.multi "
    "uretprobe.multi.s tp_btf tracepoint tp raw_tp raw_tracepoint perf_event lirc_mode2 socket sk_msg sockops "
    "classifier sk_lookup lsm lsm.s lsm_cgroup fentry fentry.s fexit fexit.s flow_dissector freplace iter iter.s"
)
_AYA_SECOND = (
    ("xdp", " cpumap devmap"),
    ("xdp.frags", " cpumap devmap"),
    ("sk_skb", "stream_parser stream_verdict"),
    ("sk_reuseport", " migrate"),
    ("cgroup_skb", "ingress egress"),
    (
        "cgroup",
        "skb sysctl dev getsockopt setsockopt sock post_bind4 post_bind6 sock_create sock_release bind4 bind6 connect4 "
        "connect6 getpeername4 getpeername6 getsockname4 getsockname6 sendmsg4 sendmsg6 recvmsg4 recvmsg6",
    ),
)
_AYA: Mapping[str, frozenset[str] | None] = MappingProxyType(
    {**dict.fromkeys(_AYA_ANY.split()), **{kind: frozenset(names.split(" ")) for kind, names in _AYA_SECOND}}
)
# cilium/ebpf 0.22.0, elf_sections.go: names that matchSectionName() takes as a prefix
_PREFIXES = (
    "socket sk_reuseport tc tcx/ingress tcx/egress classifier action netkit/primary netkit/peer syscall xdp perf_event "
    "lwt_in lwt_out lwt_xmit lwt_seg6local sockops sk_skb sk_msg sk_lookup lirc_mode2 flow_dissector "
    "cgroup_skb/ingress cgroup_skb/egress cgroup/skb cgroup/sock cgroup/sysctl cgroup/dev netfilter"
)
_CILIUM_PREFIXES = tuple(_PREFIXES.split())


@dataclass(frozen=True, slots=True)
class Rule:
    """``find`` gives the names of what a rule is about, in an object. ``effect``: what the loader does with them."""

    loader: str
    versions: str
    effect: str
    source: str
    find: Callable[[ObjectFile], Iterator[str]]


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A rule that an object breaks, and the names of what breaks it."""

    rule: Rule
    names: tuple[str, ...]


def elsewhere(obj: ObjectFile) -> tuple[Elsewhere, ...]:
    """What other loaders refuse of ``obj``, or read differently."""
    found = ((rule, tuple(dict.fromkeys(rule.find(obj)))) for rule in RULES)
    return tuple(Elsewhere(rule, names) for rule, names in found if names)


def _static_maps(obj: ObjectFile) -> Iterator[str]:
    return (definition.name for definition in obj.maps if definition.is_static)


def _legacy_maps(obj: ObjectFile) -> Iterator[str]:
    return (definition.name for definition in obj.maps if definition.legacy)


def _static_functions(obj: ObjectFile) -> Iterator[str]:
    return (f.name for f in obj.text if not f.is_global and not f.section.startswith(".text"))


def _odd_rings(obj: ObjectFile) -> Iterator[str]:
    rings = (d for d in obj.maps if d.type in (MapType.RINGBUF, MapType.USER_RINGBUF) and d.max_entries)
    return (d.name for d in rings if d.max_entries % _PAGE or d.max_entries & (d.max_entries - 1))


def _unknown_sections(obj: ObjectFile) -> Iterator[str]:
    return (program.section for program in obj.programs if program.spec is None)


def _cilium_prefixes(obj: ObjectFile) -> Iterator[str]:
    return (name for name in _unknown_sections(obj) if name.startswith(_CILIUM_PREFIXES))


def _aya_sections(obj: ObjectFile) -> Iterator[str]:
    for program in obj.programs:
        kind, _, rest = program.section.partition("/")
        second = _AYA.get(kind, frozenset())
        if second is not None and rest.partition("/")[0] not in second:
            yield program.section


def _loose_sections(obj: ObjectFile) -> Iterator[str]:
    for program in obj.programs:
        spec = parse_section(program.section)
        if spec is not None and spec.dialect != "libbpf":
            yield program.section


RULES: tuple[Rule, ...] = (
    Rule(
        "libbpf",
        "1.7",
        "refuses the object: unsupported map linkage static",
        "src/libbpf.c, bpf_object__init_user_btf_map()",
        _static_maps,
    ),
    Rule(
        "libbpf",
        "since 1.0",
        "refuses the object: legacy map definitions in section maps",
        "src/libbpf.c, bpf_object__elf_collect()",
        _legacy_maps,
    ),
    Rule(
        "libbpf",
        "1.7",
        "refuses the object: a static function outside of .text counts as a program",
        "src/libbpf.c, bpf_object__add_programs()",
        _static_functions,
    ),
    Rule(
        "libbpf",
        "1.7",
        "does not know the program's type, and the kernel refuses it",
        "src/libbpf.c, section_defs",
        _loose_sections,
    ),
    Rule(
        "libbpf",
        "1.7",
        "makes the ring larger: the next power of two that is whole pages",
        "src/libbpf.c, adjust_ringbuf_sz()",
        _odd_rings,
    ),
    Rule(
        "cilium/ebpf",
        "0.22",
        "creates the ring as it is, and the kernel refuses it",
        "map.go: a power-of-2 multiple of the page size",
        _odd_rings,
    ),
    Rule(
        "cilium/ebpf",
        "0.22",
        "reads the section by its beginning, and takes the program for that type",
        "elf_reader.go, matchSectionName()",
        _cilium_prefixes,
    ),
    Rule(
        "Aya",
        "aya-obj 0.6",
        "refuses the whole object: it does not know the section",
        "aya-obj/src/obj.rs, ProgramSection::from_str()",
        _aya_sections,
    ),
)
