"""The table of helpers and its names by number."""

from __future__ import annotations

import sys
import tomllib

from pytest_ebpf.features.helper_table import HELPERS
from support.paths import ROOT


def test_the_table_is_what_its_generator_makes() -> None:
    sys.path.insert(0, str(ROOT / "ci"))
    try:
        import gen_history
    finally:
        sys.path.pop(0)
    made = gen_history.render_helpers(tomllib.loads((ROOT / "ci/history.toml").read_text()))
    assert made == gen_history.HELPERS.read_text()


def test_names_by_number() -> None:
    """BPF_FUNC_* of include/uapi/linux/bpf.h."""
    assert [HELPERS[at] for at in (0, 1, 6, 130, 181, 211)] == [
        "bpf_unspec",
        "bpf_map_lookup_elem",
        "bpf_trace_printk",
        "bpf_ringbuf_output",
        "bpf_loop",
        "bpf_cgrp_storage_delete",
    ]
