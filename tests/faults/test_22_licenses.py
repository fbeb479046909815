"""Line 22: Aya's rule for Rust objects without a license, one license among linked objects, and the option."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_ebpf import Bpf, BpfUsageError, ObjectError, ProgramRejected
from pytest_ebpf.obj.link import link_objects
from pytest_ebpf.obj.parse import parse_object
from support import fault_objects

GPL, DUAL, OTHER = b"GPL\0", b"Dual MIT/GPL\0", b"Proprietary\0"
MANGLED = ("_RNvCs1234_7program6counts", "_ZN7program6counts17h0123456789abcdefE")


def write(path: Path, license: bytes | None, *, name: str = "gives_2") -> Path:
    path.write_bytes(fault_objects.needs_gpl(license=license, maps="maps", name=name))
    return path


@pytest.mark.parametrize("name", MANGLED)
def test_a_rust_object_without_license_is_gpl_as_with_aya(bpf: Bpf, tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "rust.o", None, name=name)
    assert parse_object(path.read_bytes(), name="rust.o").license == "GPL"
    assert bpf.load(path)[name].run(bytes(64)).retval == 2


def test_a_rust_object_with_a_license_keeps_it() -> None:
    data = fault_objects.needs_gpl(license=OTHER, maps="maps", name=MANGLED[0])
    assert parse_object(data, name="rust.o").license == "Proprietary"


def test_an_object_of_c_without_license_is_refused_and_the_error_says_what_is_missing(bpf: Bpf, tmp_path: Path) -> None:
    path = write(tmp_path / "c.o", None)
    assert parse_object(path.read_bytes(), name="c.o").license == ""
    with pytest.raises(ProgramRejected) as caught:
        bpf.load(path)
    assert "no license section" in caught.value.hint
    assert 'license="GPL"' in caught.value.hint


def test_the_option(bpf: Bpf, tmp_path: Path) -> None:
    path = write(tmp_path / "c.o", None)
    assert bpf.load(path, license="GPL")["gives_2"].run(bytes(64)).retval == 2
    assert bpf.open(path, license="GPL").load()["gives_2"].run(bytes(64)).retval == 2
    spec = bpf.open(path)
    spec.license = "Dual MIT/GPL"
    assert spec.load()["gives_2"].run(bytes(64)).retval == 2
    with pytest.raises(ProgramRejected, match="GPL"):
        bpf.load(write(tmp_path / "gpl.o", GPL), license="Proprietary")
    with pytest.raises(BpfUsageError, match="license=7 is not a text"):
        bpf.load(path, license=7)  # type: ignore[arg-type]


@pytest.mark.parametrize("order", [(None, GPL), (GPL, None)])
def test_linked_objects_have_the_one_license_that_there_is(
    bpf: Bpf, tmp_path: Path, order: tuple[bytes | None, bytes | None]
) -> None:
    paths = [write(tmp_path / f"{at}.o", license, name=f"gives_{at}") for at, license in enumerate(order)]
    objects = [parse_object(path.read_bytes(), name=path.name) for path in paths]
    assert link_objects([objects[0], _without_maps(objects[1])]).license == "GPL"


def _without_maps(obj: object) -> object:
    from dataclasses import replace

    return replace(obj, maps=(), programs=(), data=())  # type: ignore[type-var]


def test_two_licenses_are_refused_wherever_they_are() -> None:
    none, gpl, other = (
        parse_object(fault_objects.needs_gpl(license=license, name=name), name=f"{name}.o")
        for name, license in (("a", None), ("b", GPL), ("c", OTHER))
    )
    with pytest.raises(ObjectError, match=r"its license is 'Proprietary', that of b\.o 'GPL'"):
        link_objects([none, gpl, other])
