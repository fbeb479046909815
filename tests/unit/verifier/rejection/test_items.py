"""Messages that were misread or had no class, by the numbers of the list (see extract/test_items.py)."""

from __future__ import annotations

import pytest

from pytest_ebpf.verifier.explain.explain import Explanation
from pytest_ebpf.verifier.verifier_log import parse_log

FIGURES = "processed 7 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n"


def explained(*lines: str) -> Explanation:
    found = parse_log("\n".join(lines) + "\n" + FIGURES, refused=True).explanation
    assert found is not None
    return found


def told(*lines: str) -> tuple[str, str]:
    """Class and kind."""
    rejection = explained(*lines).rejection
    return rejection.class_id, rejection.kind


@pytest.mark.parametrize("has", ["value (0x2a; 0x0)", "unknown scalar value"])
def test_07_return_values_of_4_14(has: str) -> None:
    line = f"At program exit the register R0 has {has} should have been 0 or 1"
    assert told("1: (95) exit", line) == ("return-value", "safety")
    assert "0 or 1" in explained(line).rejection.advice


def test_07_what_libbpf_writes_into_a_log_names_what_is_missing() -> None:
    field = "failed to resolve CO-RE relocation <byte_off> [388] struct inode.i_mtime.tv_sec (0:16:0 @ offset 104)"
    found = explained("271: <invalid CO-RE relocation>", field).rejection
    assert (found.class_id, found.kind) == ("core-reloc", "feature-missing")
    assert "struct inode.i_mtime.tv_sec" in found.advice
    kfunc = explained("5: <invalid kfunc call>", "kfunc 'scx_bpf_events' is referenced but wasn't resolved").rejection
    assert (kfunc.class_id, kfunc.kind) == ("kfunc", "feature-missing")
    assert "bpf_ksym_exists(scx_bpf_events)" in kfunc.advice


def test_07_many_jumps_are_an_ordinary_limit() -> None:
    assert told("The sequence of 8193 jumps is too complex.") == ("too-complex", "limit")


def test_11_a_kernel_variable_is_not_an_attach_target() -> None:
    found = explained("ldimm64 failed to find the address for kernel symbol 'runqueues'.").rejection
    assert (found.class_id, found.kind) == ("btf", "environment")
    assert "CONFIG_KALLSYMS_ALL" in found.advice


@pytest.mark.parametrize(
    "line",
    [
        "release kfunc bpf_cgroup_release expects referenced PTR_TO_BTF_ID passed to R1",
        "release helper bpf_sk_release expects referenced PTR_TO_BTF_ID passed to R1",
        "release kernel function bpf_task_release expects refcounted PTR_TO_BTF_ID",
    ],
)
def test_11_releases_of_what_was_not_acquired(line: str) -> None:
    assert told(line) == ("bad-release", "safety")


def test_11_arguments_of_kernel_functions_in_7_3() -> None:
    assert told("R1 is fp expected STRUCT cgroup") == ("helper-arg", "safety")


def test_07_what_a_message_does_not_name_is_not_named() -> None:
    found = explained("invalid func unknown#2002000001").rejection
    assert found.class_id == "kfunc"
    assert "this kernel does not have is called" in found.headline
    assert not found.headline.endswith("this")
    assert "(this)" not in found.advice
