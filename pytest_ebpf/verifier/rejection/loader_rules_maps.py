"""Maps that were not created, as loaders report it: no program could be loaded then."""

from __future__ import annotations

from pytest_ebpf.verifier.rejection.loader_rule import LoaderRule

__all__ = ["MAP_LOADER_RULES"]

_MAP = r"['\"`]?(?P<map>[\w.\-]+)['\"`]?"
# The ways in which loaders report that a map was not created.
_NO_MAP = (
    rf"(?:map {_MAP}: failed to create: |map {_MAP.replace('map>', 'map2>')}: map create: "
    rf"|failed to create map \(?(?:name: )?{_MAP.replace('map>', 'map3>')}|could not open bpf map: "
    rf"{_MAP.replace('map>', 'map4>')}, error: |[Ff]ailed to create map: {_MAP.replace('map>', 'map5>')})"
)


MAP_LOADER_RULES: tuple[LoaderRule, ...] = (
    LoaderRule(
        "pinned-map",
        "rejected",
        "map-create",
        "environment",
        r"(?:couldn't reuse|error reusing) pinned map(?: at '(?P<what>[^']+)')?|pinned map[^\n]*(?:incompatible"
        r"|mismatch|differs)"
        r"|map spec is incompatible with existing map|reuse pinned map[^\n]*",
        "a map is pinned already, with another type, size or flags than the object asks for",
        "An older version of the program pinned it. Stop what uses it and unpin it (rm the file under /sys/fs/bpf), "
        "or pin the "
        "new map under another name; bpftool map show pinned PATH shows what it is.",
        "libbpf.c, ebpf/map.go",
    ),
    LoaderRule(
        "map-memlock",
        "rejected",
        "privilege",
        "environment",
        rf"{_NO_MAP}[^\n]*(?:not permitted|EPERM|\(-1\)|code -1\b)",
        "the loader may not create maps (EPERM)",
        "Load with CAP_BPF (before 5.8 CAP_SYS_ADMIN); before 5.11 raise RLIMIT_MEMLOCK as well (ulimit -l "
        "unlimited, "
        "rlimit.RemoveMemlock()).",
        "libbpf.c, ebpf/map.go, bcc",
    ),
    LoaderRule(
        "map-per-cpu",
        "rejected",
        "map-create",
        "environment",
        rf"{_NO_MAP}[^\n]*(?:[Aa]rgument list too long|E2BIG|\(-7\))[\s\S]*(?i:per_?-?cpu)",
        "a value of the per-CPU map {map} is larger than a per-CPU allocation can be",
        "A value of a per-CPU map has at most 32 KiB (PCPU_MIN_UNIT_SIZE). Use a smaller value, split it over "
        "several entries, "
        "or take an array with one entry per CPU.",
        "kernel/bpf/arraymap.c",
    ),
    LoaderRule(
        "map-too-big",
        "rejected",
        "map-create",
        "environment",
        rf"{_NO_MAP}[^\n]*(?:[Aa]rgument list too long|E2BIG|\(-7\))",
        "the map {map} is larger than the kernel takes (E2BIG)",
        "It is the map, not a program: make max_entries or the value smaller. Values of per-CPU maps have at most 32 "
        "KiB, a "
        "map at most 4 GiB.",
        "kernel/bpf/syscall.c",
    ),
    LoaderRule(
        "map-ringbuf",
        "rejected",
        "map-create",
        "feature-missing",
        rf"{_NO_MAP}[^\n]*(?:[Ii]nvalid argument|EINVAL|-22)[\s\S]*(?i:ring_?buf)",
        "this kernel does not create the map {map}: ring buffers exist since 5.8",
        "Ring buffers (BPF_MAP_TYPE_RINGBUF) need Linux 5.8; on older kernels use a perf event array. On a newer "
        "kernel its "
        "size must be a power of two and a multiple of the page size.",
        "kernel/bpf/ringbuf.c",
    ),
    LoaderRule(
        "map-type",
        "rejected",
        "map-create",
        "feature-missing",
        rf"{_NO_MAP}[^\n]*(?:[Ii]nvalid argument|EINVAL|-22|[Nn]ot supported)",
        "this kernel does not create the map {map}: it has no map of this type, or not with these flags and sizes",
        "Compare type, key and value size, max_entries and flags with what this kernel takes: ring buffers came with "
        "5.8, "
        "bloom filters with 5.16, user ring buffers with 6.1, arenas with 6.9. bpf_features or bpftool feature lists "
        "the "
        "types.",
        "libbpf.c, ebpf/map.go, bcc",
    ),
    LoaderRule(
        "map-memory",
        "rejected",
        "map-create",
        "environment",
        rf"{_NO_MAP}[^\n]*(?:[Cc]annot allocate memory|ENOMEM|\(-12\))",
        "there is no memory for the map {map}",
        "Make max_entries smaller, or use BPF_F_NO_PREALLOC; look at the memory limit of the cgroup.",
        "libbpf.c, ebpf/map.go",
    ),
    LoaderRule(
        "map-other",
        "rejected",
        "map-create",
        "environment",
        rf"{_NO_MAP}(?P<err>[^\n]*)",
        "the map {map} was not created: {err}",
        "It is the map, not a program: compare its type, sizes and flags with what this kernel takes.",
        "libbpf.c, ebpf/map.go, bcc",
    ),
)
