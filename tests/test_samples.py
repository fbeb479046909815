"""The committed objects of sample_programs: one per source, and nothing of the machine that built them inside."""

import ast
import re
import runpy

import pytest

from pytest_ebpf.obj.parse import parse_object
from pytest_ebpf.uapi.enums import ProgType
from support.paths import ROOT

SAMPLES = ROOT / "sample_programs"
OBJECTS = sorted((SAMPLES / "built").glob("*.bpf.o"))
BIG = sorted((SAMPLES / "built").glob("*.bpfeb.o"))


def test_each_source_has_its_object():
    sources = {path.name.removesuffix(".bpf.c") for path in SAMPLES.glob("*.bpf.c")}
    assert sources == {path.name.removesuffix(".bpf.o") for path in OBJECTS}
    assert len(sources) >= 18


def test_each_object_but_those_with_registers_has_one_for_big_endian_kernels():
    """The same programs and maps, in the same order."""
    little = {path.name.removesuffix(".bpf.o"): parse_object(path.read_bytes(), name=path.name) for path in OBJECTS}
    big = {path.name.removesuffix(".bpfeb.o"): parse_object(path.read_bytes(), name=path.name) for path in BIG}
    assert little.keys() - big.keys() == {"kprobe_fork"}
    for name, obj in big.items():
        other = little[name]
        assert obj.byteorder == "big"
        assert [(one.name, one.section) for one in obj.programs] == [(one.name, one.section) for one in other.programs]
        shapes = [(one.name, one.type, one.key_size, one.value_size, one.max_entries) for one in obj.maps]
        assert shapes == [(one.name, one.type, one.key_size, one.value_size, one.max_entries) for one in other.maps]


@pytest.mark.parametrize("path", [*OBJECTS, *BIG], ids=lambda path: path.name)
def test_objects_are_bpf_and_tell_nothing_of_their_builder(path):
    data = path.read_bytes()
    assert data[:4] == b"\x7fELF"
    assert data[18:20] == (b"\xf7\x00" if path in OBJECTS else b"\x00\xf7")  # e_machine EM_BPF
    assert b".BTF.ext\0" in data
    assert b".debug_info" not in data
    assert not re.search(rb"/(home|root|tmp|usr|work|build)/", data)


PACKET_TYPES = {ProgType.XDP, ProgType.SCHED_CLS, ProgType.SOCKET_FILTER, ProgType.CGROUP_SKB}


@pytest.mark.parametrize(("folder", "tests"), [("", "test_properties.py"), ("aya", "aya/test_aya_properties.py")])
def test_15_each_sample_that_takes_packets_has_a_property(folder, tests):
    """Those that are refused on purpose never take one."""
    loaded = ast.walk(ast.parse((SAMPLES / tests).read_text()))
    texts = {one.value for one in loaded if isinstance(one, ast.Constant) and isinstance(one.value, str)}
    named = {re.match(r"(?:built/)?(\w+)\.bpf\.o", text) for text in texts}
    have = {found[1] for found in named if found}
    for path in (SAMPLES / folder / "built").glob("*.bpf.o"):
        name = path.name.removesuffix(".bpf.o")
        if not name.startswith("reject_"):
            kinds = {one.spec.prog_type for one in parse_object(path.read_bytes(), name=path.name).programs if one.spec}
            assert not kinds & PACKET_TYPES or name in have, f"{path.name} has no property in {tests}"


def test_each_rejected_program_is_expected_somewhere():
    """By the parameters of the test that loads them, not by a text that names them somewhere."""
    (marker,) = runpy.run_path(str(SAMPLES / "test_rejected.py"))["test_rejected"].pytestmark
    expected = [values[0] for values in marker.args[1]]
    assert sorted(expected) == sorted(path.name[7:-6] for path in SAMPLES.glob("reject_*.bpf.c"))
