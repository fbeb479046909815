from __future__ import annotations

import sys
import tomllib

import pytest

from pytest_ebpf.frozen import replace
from pytest_ebpf.obj.sections import (
    SectionSpec,
    attach_type_name,
    map_flag_names,
    map_type_name,
    nearest_section,
    parse_section,
    prog_type_name,
)
from pytest_ebpf.uapi import sections as section_table
from support.paths import ROOT


def spec(name: str) -> SectionSpec:
    found = parse_section(name)
    assert found is not None
    return found


def test_the_table_is_what_its_generator_makes() -> None:
    sys.path.insert(0, str(ROOT / "ci"))
    try:
        import gen_sections
    finally:
        sys.path.pop(0)
    sections = tomllib.loads((ROOT / "ci/sections.toml").read_text())
    uapi = tomllib.loads((ROOT / "ci/uapi.toml").read_text())
    made = gen_sections.render(sections, uapi=uapi)
    assert made == (ROOT / "pytest_ebpf/uapi/sections.py").read_text(), "run ci/gen"
    assert "generated" in made.splitlines()[0].lower()


def test_every_row_of_libbpf_is_there() -> None:
    rows = [row for row in section_table.ROWS if row[-1] == "libbpf"]
    assert len(rows) == 116
    assert len({row[0] for row in section_table.ROWS}) == len(section_table.ROWS)


def test_every_row_parses_to_itself() -> None:
    for name, takes_target, prog_type, attach_type, flags, dialect in section_table.ROWS:
        expected = SectionSpec(
            name,
            prefix=name,
            prog_type=prog_type,
            attach_type=attach_type,
            sleepable="SLP" in flags,
            frags="FRAGS" in flags,
            needs_btf="BTF" in flags,
            optional_attach_type="opt" in flags,
            dialect=dialect,
        )
        assert spec(name) == expected
        assert spec(f"?{name}") == replace(expected, name=f"?{name}", autoload=False)
        below = spec(f"{name}/a/b")
        target, dialect_below = ("a/b", dialect) if takes_target else ("", "loose")
        assert (below.prefix, below.target, below.dialect) == (name, target, dialect_below), below.name


@pytest.mark.parametrize(
    ("name", "prefix", "type_", "attach", "target"),
    [
        ("xdp", "xdp", "XDP", "XDP", ""),
        ("xdp.frags/devmap", "xdp.frags/devmap", "XDP", "XDP_DEVMAP", ""),
        ("xdp/firewall", "xdp", "XDP", "XDP", ""),
        ("classifier/x", "classifier", "SCHED_CLS", "CGROUP_INET_INGRESS", ""),
        ("tc/x", "tc", "SCHED_CLS", "CGROUP_INET_INGRESS", ""),
        ("tc/ingress", "tc/ingress", "SCHED_CLS", "TCX_INGRESS", ""),
        ("tcx", "tcx", "SCHED_CLS", "CGROUP_INET_INGRESS", ""),
        ("tp/sched/sched_switch", "tp", "TRACEPOINT", "CGROUP_INET_INGRESS", "sched/sched_switch"),
        ("fentry.s/mod:func", "fentry.s", "TRACING", "TRACE_FENTRY", "mod:func"),
        ("kprobe.multi/tcp_*", "kprobe.multi", "KPROBE", "TRACE_KPROBE_MULTI", "tcp_*"),
        ("uprobe//usr/lib/libc.so.6:malloc", "uprobe", "KPROBE", "CGROUP_INET_INGRESS", "/usr/lib/libc.so.6:malloc"),
        ("cgroup/connect4", "cgroup/connect4", "CGROUP_SOCK_ADDR", "CGROUP_INET4_CONNECT", ""),
        ("cgroup_skb/egress/name", "cgroup_skb/egress", "CGROUP_SKB", "CGROUP_INET_EGRESS", ""),
        ("struct_ops.s/init", "struct_ops.s", "STRUCT_OPS", "CGROUP_INET_INGRESS", "init"),
    ],
)
def test_names_people_write(name: str, prefix: str, type_: str, attach: str, target: str) -> None:
    found = spec(name)
    assert (found.prefix, found.target) == (prefix, target)
    assert (prog_type_name(found.prog_type), attach_type_name(found.attach_type)) == (type_, attach)


@pytest.mark.parametrize("name", ["", "?", "/", "foo", "xdp_firewall", "xdpx/a", "cgroup/foo", ".text", "kprobex"])
def test_names_nobody_knows(name: str) -> None:
    assert parse_section(name) is None


def test_nearest_section() -> None:
    assert nearest_section("xdp_firewall") == "xdp"
    assert nearest_section("?kprobe.multi_x") == "kprobe.multi"
    assert nearest_section("zzz") == ""


def test_b5_a_wrong_section_name_suggests_the_right_one() -> None:
    assert nearest_section("kproeb/vfs_read") == "kprobe/vfs_read"
    assert nearest_section("?tracepiont/sched/sched_switch") == "tracepoint/sched/sched_switch"
    assert nearest_section("cgruop/connect4") == "cgroup/connect4"


def test_names_of_numbers() -> None:
    assert (map_type_name(1), map_type_name(27), map_type_name(999)) == ("HASH", "RINGBUF", "999")
    assert map_flag_names(0x401) == ("NO_PREALLOC", "MMAPABLE")
    assert map_flag_names(1 << 30) == ("0x40000000",)
