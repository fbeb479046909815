"""USDT notes and the places of their arguments."""

from __future__ import annotations

import pytest

from pytest_ebpf.errors import ObjectError
from pytest_ebpf.obj.usdt import UsdtArg, parse_usdt_args, read_usdt
from support.paths import TESTS

BUILT = TESTS / "data" / "attach" / "built"


def test_every_place_of_a_program() -> None:
    probes = read_usdt((BUILT / "usdt_target").read_bytes(), path="t")
    assert [(probe.provider, probe.name) for probe in probes] == [
        *[("demo", "mixed")] * 2,
        ("demo", "guarded"),
        ("demo", "none"),
    ]
    assert len({probe.offset for probe in probes}) == 4
    assert [bool(probe.semaphore) for probe in probes] == [False, False, True, False]
    assert all(probe.fixed and probe.machine == "x86_64" for probe in probes)


def test_a_place_is_where_the_instruction_is() -> None:
    """Each probe of the program is one nop."""
    data = (BUILT / "usdt_server").read_bytes()
    (probe,) = read_usdt(data, path="t")
    assert data[probe.offset] == 0x90
    assert not probe.fixed


def test_files_without_probes_and_what_is_no_file() -> None:
    assert read_usdt((BUILT / "uprobes.bpf.o").read_bytes(), path="t") == ()
    with pytest.raises(ObjectError, match="its USDT probes cannot be read"):
        read_usdt(b"#!/bin/sh\n", path="t")


@pytest.mark.parametrize("cut", [1, 8, 40, 200])
def test_notes_that_are_damaged(cut: int) -> None:
    """Cut in the middle of the notes, or with lengths that lead out of them."""
    data = bytearray((BUILT / "usdt_target").read_bytes())
    at = data.index(b"stapsdt\0") - 12
    data[at + 4 : at + 8] = (0x7FFFFFFF - cut).to_bytes(4, "little")
    with pytest.raises(ObjectError, match="cut off"):
        read_usdt(bytes(data), path="t")


@pytest.mark.parametrize(
    ("machine", "text", "arg"),
    [
        ("x86_64", "-4@$-9", UsdtArg("constant", 4, True, -9)),
        ("x86_64", "8@%rax", UsdtArg("register", 8, False, 0, 80)),
        ("x86_64", "-4@%edi", UsdtArg("register", 4, True, 0, 112)),
        ("x86_64", "1@%r8b", UsdtArg("register", 1, False, 0, 72)),
        ("x86_64", "2@%bx", UsdtArg("register", 2, False, 0, 40)),
        ("x86_64", "1@%sil", UsdtArg("register", 1, False, 0, 104)),
        ("x86_64", "-4@-1204(%rbp)", UsdtArg("memory", 4, True, -1204, 32)),
        ("x86_64", "8@(%rsp)", UsdtArg("memory", 8, False, 0, 152)),
        ("x86_64", "1@-96(%rbp,%rax,8)", UsdtArg("memory", 1, False, -96, 32, 80, 3)),
        ("x86_64", "4@(%rdx,%r12)", UsdtArg("memory", 4, False, 0, 96, 24, 0)),
        ("aarch64", "-4@5", UsdtArg("constant", 4, True, 5)),
        ("aarch64", "8@x3", UsdtArg("register", 8, False, 0, 24)),
        ("aarch64", "-4@w30", UsdtArg("register", 4, True, 0, 240)),
        ("aarch64", "8@[sp, 16]", UsdtArg("memory", 8, False, 16, 248)),
        ("aarch64", "8@[x1]", UsdtArg("memory", 8, False, 0, 8)),
    ],
)
def test_arguments(machine: str, text: str, arg: UsdtArg) -> None:
    assert parse_usdt_args(text, machine=machine) == (arg,)
    assert parse_usdt_args(f"{text} {text}", machine=machine) == (arg, arg)


@pytest.mark.parametrize(
    ("machine", "text", "words"),
    [
        ("x86_64", "8@%xmm0", "register xmm0 is not saved"),
        ("x86_64", "4@counter(%rip)", "in no place that a program can read"),
        ("x86_64", "8f@%xmm0", "is no integer"),
        ("x86_64", "3@%rax", "is no integer"),
        ("riscv", "8@a0", "of riscv processors are not known"),
    ],
)
def test_arguments_that_nobody_can_read(machine: str, text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_usdt_args(text, machine=machine)


def test_no_arguments() -> None:
    assert parse_usdt_args("", machine="riscv") == ()
