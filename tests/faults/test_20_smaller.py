"""Line 20, what is in objects: outputs of objcopy walk as many instructions as with libbpf."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_ebpf import Bpf
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
