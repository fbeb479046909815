"""Line 20: smaller faults of the loader, of ``btf dump`` and of what the kernel says."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pytest_ebpf import Bpf, KernelCallError, ObjectError, PlanError
from pytest_ebpf.btf.codec import decode, encode
from pytest_ebpf.btf.source import find_btf
from pytest_ebpf.cli.btf import btf
from pytest_ebpf.live.load_cache import LoadCache
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.verify.verdict import verify_object

Parsed = Callable[[str], ObjectFile]


@pytest.mark.parametrize(
    ("name", "is_checked_by_itself"), [("localised", True), ("localised_symbol", True), ("renamed_section", False)]
)
def test_subprograms_are_checked_as_with_libbpf(
    bpf: Bpf, parsed: Parsed, name: str, is_checked_by_itself: bool
) -> None:
    """libbpf 1.7: 58, 58 and 144 instructions on Linux 6.18. The BTF linkage counts, not the symbol's; without records
    of the section nothing is global for the kernel."""
    found = {
        each: verify_object(parsed(each), bpf.session.target, kernel="k", cache=LoadCache())[0].insns or 0
        for each in ("localised", name)
    }
    assert found["localised"] > 0
    assert (found[name] == found["localised"]) is is_checked_by_itself
    assert is_checked_by_itself or found[name] > 2 * found["localised"]


@pytest.mark.parametrize("items", [[], [3], [0, 3], [1, 2, 3], [0, 0, 0]])
def test_a_flexible_array_in_tail_padding(parsed: Parsed, items: list[int]) -> None:
    """A value of the size of the struct read as one with elements of 0."""
    obj = parsed("tail_padding")
    assert obj.btf is not None
    (type_id,) = obj.btf.find("tailed")
    value = {"count": 1, "kind": 2, "items": items}
    assert decode(obj.btf, type_id, data=encode(obj.btf, type_id, value=value)) == value


def test_a_map_whose_values_end_in_padding(bpf: Bpf, built: Path) -> None:
    values = bpf.load(built / "tail_padding.bpf.o").maps["values"]
    assert values[0] == {"count": 0, "kind": 0, "items": []}
    values[1] = {"count": 1, "kind": 2, "items": [7]}
    assert values[1]["items"] == [7]


def dump(source: object, cwd: Path, monkeypatch: pytest.MonkeyPatch) -> Result:
    monkeypatch.chdir(cwd)
    return CliRunner().invoke(btf, ["dump", str(source)])


@pytest.fixture
def types(parsed: Parsed, tmp_path: Path) -> Path:
    path = tmp_path / "types"
    path.write_bytes(parsed("tail_padding").btf_raw)
    return path


def elf_with_types(path: Path, types: Path, *arguments: str) -> Path:
    """An ELF file of this machine with a section .BTF."""
    plain = path.with_suffix(".plain")
    subprocess.run(["cc", "-xc", "-c", "-o", plain, "-"], input=b"int x;", check=True)
    subprocess.run(["objcopy", "--add-section", f".BTF={types}", *arguments, plain, path], check=True)
    return path


@pytest.mark.parametrize("machine", [62, 183, 243, 22])
def test_types_of_an_elf_file_of_any_machine(
    types: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: int
) -> None:
    """It was "an object for x86-64, not for BPF"."""
    path = elf_with_types(tmp_path / "vmlinux", types)
    data = bytearray(path.read_bytes())
    data[18:20] = machine.to_bytes(2, "little")
    path.write_bytes(data)
    assert "struct tailed {" in dump("./vmlinux", tmp_path, monkeypatch).output


def test_a_debug_file_has_no_types(bpf: Bpf, built: Path, types: Path, tmp_path: Path) -> None:
    whole = elf_with_types(tmp_path / "whole", types, "--set-section-flags", ".BTF=alloc,readonly")
    debug = tmp_path / "vmlinux.debug"
    subprocess.run(["objcopy", "--only-keep-debug", whole, debug], check=True)
    assert find_btf(whole.read_bytes()) == types.read_bytes()
    with pytest.raises(ObjectError, match=r"vmlinux\.debug: its \.BTF section has no bytes \(NOBITS\)"):
        bpf.load(built / "newest_kinds.bpf.o", btf=debug)


def test_a_file_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was "unknown kernel series 'missing.o'"."""
    with pytest.raises(ObjectError, match=r"^missing\.o: no such file"):
        raise dump("missing.o", tmp_path, monkeypatch).exception or AssertionError


def test_an_inner_map_that_does_not_match(bpf: Bpf, built: Path) -> None:
    bpf.load(built / "inner_map.bpf.o")
    with pytest.raises(
        KernelCallError, match="map 'wrong' cannot hold map 'other': its value_size is 8, not 4"
    ) as caught:
        bpf.load(built / "inner_map_wrong.bpf.o")
    assert caught.value.errno == 22


def test_whole_names_of_programs_that_are_loaded(bpf: Bpf, built: Path) -> None:
    """The kernel keeps 15 characters: both were "count_connectio"."""
    obj = bpf.load(built / "long_names.bpf.o")
    names = {program.id: program.name for program in bpf.loaded.programs()}
    assert {names[program.id] for program in obj.programs.values()} == {
        "count_connections_by_address",
        "count_connections_by_port",
    }


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("reads_pointer", r"'table' in \.data, which holds the address of "),
        ("prints", r"'names' in \.rodata, which holds"),
    ],
)
def test_variables_that_hold_addresses_are_refused_by_name(bpf: Bpf, built: Path, program: str, words: str) -> None:
    with pytest.raises(PlanError, match=f"{program} uses {words}"):
        bpf.load(built / "pointers_in_data.bpf.o", only=program)


def test_other_variables_of_that_section_can_be_used(bpf: Bpf, built: Path) -> None:
    assert bpf.load(built / "pointers_in_data.bpf.o", only="is_fine")["is_fine"].run(bytes(64)).retval == 6
