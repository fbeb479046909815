"""What is asked of real kernels about their objects. Runs on the host unless kernels are named (--bpf-kernels)."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

from pytest_ebpf import Bpf, BpfUsageError, KernelCallError
from pytest_ebpf.agent.ops import ScopeClosed
from pytest_ebpf.features.helper_table import HELPERS
from pytest_ebpf.live.program import Program
from pytest_ebpf.obj.disasm import InsnNames, insn_text
from pytest_ebpf.obj.insn import unpack_insns
from support.paths import ROOT

BUILT = ROOT / "sample_programs" / "built"
LISTED = ("xdp_lb", "map_kinds", "tail_calls", "config", "tc_rewrite", "exec_tracer", "syscall_latency", "skb_filters")
INSN = re.compile(r"^\s*(\d+): (\([0-9a-f]{2}\) [^;\t\n]*?)\s*(?:(?:[;\t]|//).*)?$", re.M)  # what follows is state


def release(bpf: Bpf) -> tuple[int, int]:
    major, minor = bpf.session.target.described.release.split(".")[:2]
    return int(major), int(re.match(r"\d+", minor)[0])  # type: ignore[index]


def test_a_program_and_its_maps(bpf: Bpf) -> None:
    obj = bpf.load(BUILT / "xdp_lb.bpf.o")
    program = obj["balance"]
    info = program.info
    assert (info.type, info.name, info.id, info.gpl_compatible) == ("xdp", "balance", program.id, True)
    assert re.fullmatch("[0-9a-f]{16}", info.tag)
    assert info.xlated_len > 8 * 100
    assert info.load_time
    assert info.memlock is not None
    assert info.line_infos
    assert len(info.map_ids) == len(bpf.loaded.program(program.id).maps)
    forwarded = obj.maps["forwarded"].info
    assert forwarded.id in info.map_ids
    assert (forwarded.type, forwarded.key_size, forwarded.max_entries) == ("array", 4, 4)
    assert forwarded.btf_value_type_id
    assert forwarded.frozen is (False if release(bpf) >= (5, 2) else None)


def test_frozen_constants_are_seen(bpf: Bpf) -> None:
    obj = bpf.load(BUILT / "config.bpf.o")
    (rodata,) = [each for each in bpf.loaded.program(obj["police"].id).maps if "rodata" in each.name]
    assert rodata.info.frozen is True
    assert "RDONLY_PROG" in rodata.info.flags
    assert rodata.btf is not None
    assert rodata.btf.name(rodata.info.btf_value_type_id or 0) == ".rodata"


def test_what_is_loaded_is_listed_and_not_kept(bpf: Bpf) -> None:
    """Looking at objects keeps none of them alive."""
    obj = bpf.load(BUILT / "config.bpf.o")
    id, maps = obj["police"].id, obj["police"].info.map_ids
    (listed,) = [program for program in bpf.loaded.programs() if program.id == id]
    assert listed.name == "police"
    assert {each.id for each in bpf.loaded.maps()} >= set(maps)
    assert [each.id for each in listed.maps] == list(maps)
    assert listed.btf is not None
    assert listed.btf.find("police")
    assert str(listed.xlated) == str(obj["police"].xlated)
    obj.close()
    assert id not in [program.id for program in bpf.loaded.programs()]
    with pytest.raises(KernelCallError, match="ENOENT"):
        bpf.loaded.program(id)
    with pytest.raises(KernelCallError, match="ENOENT"):
        _ = listed.xlated


def test_btf_objects(bpf: Bpf) -> None:
    obj = bpf.load(BUILT / "exec_tracer.bpf.o")
    program = next(iter(obj.programs.values()))
    (own,) = [each for each in bpf.loaded.btfs() if each.id == program.info.btf_id]
    assert own.types["event"].size == obj.types["event"].size
    assert own.types["event"].fields["comm"].offset == obj.types["event"].fields["comm"].offset
    (kernel,) = [each for each in bpf.loaded.btfs() if each.name == "vmlinux"]
    assert kernel.info.is_kernel
    assert kernel.types["task_struct"].size > 1000
    assert bool(kernel.id) == (release(bpf) >= (5, 11))
    if kernel.id:
        assert bpf.loaded.btf(kernel.id).info == kernel.info


@pytest.mark.parametrize("name", ["xdp_firewall", "config", "tail_calls", "sk_lookup", "map_kinds"])
def test_the_verifier_spells_instructions_as_we_do(bpf: Bpf, name: str) -> None:
    compared = 0
    for program in bpf.load(BUILT / f"{name}.bpf.o", log_level=2).programs.values():
        insns = unpack_insns(program.definition.insns)
        known = {reloc.insn for reloc in program.definition.relocs} | {reloc.insn for reloc in program.definition.core}
        for slot, text in INSN.findall(program.log.text):
            if int(slot) < len(insns) and int(slot) not in known:
                assert insn_text(insns, int(slot), names=InsnNames(HELPERS)) == text
                compared += 1
    assert compared > 3


def test_instructions_with_names_and_source_lines(bpf: Bpf) -> None:
    program = bpf.load(BUILT / "xdp_lb.bpf.o")["balance"]
    xlated = program.xlated
    assert 8 * len(xlated) == program.info.xlated_len
    assert "map[forwarded]" in xlated
    assert "call bpf_redirect" not in xlated
    assert "; struct cursor packet = CURSOR(ctx); @ xdp_lb.bpf.c:68\n" in str(xlated)
    assert any(re.search(r"call pc[+]\d+#bpf_prog_[0-9a-f]{16}_", line.text) for line in xlated)


@pytest.mark.skipif(not shutil.which("bpftool"), reason="bpftool is the other opinion")
@pytest.mark.parametrize("name", LISTED)
def test_bpftool_lists_the_same(bpf: Bpf, name: str) -> None:
    if bpf.session.target.name != "host":
        pytest.skip("bpftool of the host sees the host's programs")
    for program in bpf.load(BUILT / f"{name}.bpf.o").programs.values():
        command = ["bpftool", "prog", "dump", "xlated", "id", str(program.id)]
        theirs = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        ours = str(program.xlated)
        for each in bpf.loaded.program(program.id).maps:
            ours = ours.replace(f"map[{each.name}]", f"map[id:{each.id}]")
        # bpftool of before 6.10 does not know the kernel's own move for per-CPU addresses
        ours, theirs = (re.sub(r"&\(void __percpu \*\)\((r\d)\)", r"\1", text) for text in (ours, theirs))
        assert INSN.findall(ours) == INSN.findall(theirs)
        shown = subprocess.run(["bpftool", "-j", "prog", "show", "id", str(program.id)], capture_output=True, text=True)
        row, info = json.loads(shown.stdout), program.info
        assert row["tag"] == info.tag
        assert (row["bytes_xlated"], row["bytes_jited"]) == (info.xlated_len, info.jited_len)
        assert row["bytes_memlock"] == info.memlock
        assert row.get("map_ids", []) == list(info.map_ids)
        assert row["btf_id"] == info.btf_id


def test_machine_code(bpf: Bpf) -> None:
    program = bpf.load(BUILT / "xdp_lb.bpf.o")["balance"]
    jited = program.jited
    if not bpf.session.target.described.jit:
        assert jited.functions == ()
        return
    assert [function.name.split("_", 3)[3] for function in jited.functions] == ["balance", "choose_slot", "mix"]
    assert len(jited.code) == program.info.jited_len
    main = jited.functions[0]
    assert main.address > 1 << 63
    assert main.lines[0].offset == 0
    assert main.lines[0].source.text == "int balance(struct xdp_md *ctx)"
    offsets = [line.offset for line in main.lines]
    assert offsets == sorted(offsets)
    assert max(offsets) < len(main.code)


def test_run_statistics(bpf: Bpf) -> None:
    program = bpf.load(BUILT / "config.bpf.o")["police"]
    program.run(bytes(64), repeat=10)
    assert program.run_stats.count == 0
    with bpf.count_runs():
        program.run(bytes(64), repeat=10)
    counted = program.run_stats
    assert counted.count == 10
    assert counted.time_ns > 0
    assert counted.mean_ns == counted.time_ns / 10
    assert counted.recursion_misses == (0 if release(bpf) >= (5, 12) else None)
    program.run(bytes(64), repeat=10)
    assert program.run_stats.count == 10


def link_of(program: Program, **named: object) -> dict[str, object]:
    with program.attach(**named) as link:
        info = link.info
        assert info.prog_id == program.id
        return {"type": info.type, **info.details}


def test_a_link_of_xdp(bpf: Bpf) -> None:
    program = bpf.load(BUILT / "config.bpf.o")["police"]
    assert link_of(program, interface="lo", mode="skb") == {"type": "xdp", "ifindex": 1}


def test_a_link_of_a_namespace(bpf: Bpf) -> None:
    program = next(iter(bpf.load(BUILT / "sk_lookup.bpf.o").programs.values()))
    details = link_of(program)
    assert (details["type"], details["attach_type"]) == ("netns", "sk_lookup")
    assert details["netns_ino"]


def test_a_link_of_a_cgroup(bpf: Bpf) -> None:
    program = next(iter(bpf.load(BUILT / "connect_filter.bpf.o").programs.values()))
    details = link_of(program, cgroup=bpf.cgroup())
    assert details["type"] == "cgroup"
    assert details["cgroup_id"]
    assert details["attach_type"] == "cgroup_inet4_connect"


def test_links_of_tracing(bpf: Bpf) -> None:
    for program in bpf.load(BUILT / "exec_tracer.bpf.o").programs.values():
        link = program.attach()
        if link.mechanism == "perf event":  # before Linux 5.15 there is no link object for it
            assert release(bpf) < (5, 15)
        else:
            assert link.info.type in ("raw_tracepoint", "tracing", "perf_event", "tracepoint")
            listed = [each for each in bpf.loaded.links() if each.id == link.info.id]
            assert [each.program.name for each in listed] == [program.info.name]
            if link.info.type == "perf_event" and release(bpf) >= (6, 6):
                assert link.info.details["event"] in ("tracepoint", "kprobe")


def test_what_is_no_link_object(bpf: Bpf) -> None:
    program = next(iter(bpf.load(BUILT / "tc_rewrite.bpf.o").programs.values()))
    link = program.attach(interface="lo", direction="ingress", priority=7)
    with pytest.raises(BpfUsageError, match="is not a link object"):
        _ = link.info
    link.detach()


def test_nothing_is_left_open(bpf: Bpf) -> None:
    bpf.load(BUILT / "config.bpf.o")
    for listing in (bpf.loaded.programs(), bpf.loaded.maps(), bpf.loaded.btfs(), bpf.loaded.links()):
        assert isinstance(listing, list)
    assert bpf.close() == ScopeClosed(()).leaks
