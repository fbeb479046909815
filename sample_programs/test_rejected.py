"""reject_*.bpf.c: what the verifier must refuse, and why. Each reason is one that every kernel gives; where its words
changed over the years, the pattern has both."""

import pytest

from pytest_ebpf import Bpf

REASONS = [
    # object, errno, what the verifier says
    ("constant_write", "EACCES", "write into map forbidden, value_size=4 off=0 size=4"),
    ("context_write", "EACCES", "invalid bpf_context access off=12 size=4"),
    ("endless_loop", "EINVAL", "infinite loop detected at insn {{[0-9]+}}"),
    ("helper_argument", "EACCES", "R1 type={{inv|scalar}} expected=map_ptr"),
    ("leaked_record", "EINVAL", "Unreleased reference id={{[0-9]+}} alloc_insn={{[0-9]+}}"),
    ("licence", "EINVAL", "cannot call GPL-restricted function from non-GPL compatible program"),
    ("null_value", "EACCES", "R{{[0-9]}} invalid mem access 'map_value_or_null'"),
    ("packet_bounds", "EACCES", "invalid access to packet, off=12 size={{[12]}}"),
    ("return_value", "EINVAL", "At program exit the register R0 has {{.*}} should have been in {{.*0.*1}}"),
    ("stale_pointer", "EACCES", "R{{[0-9]}} invalid mem access '{{inv|scalar}}'"),
    ("value_bounds", "EACCES", "invalid access to map value, value_size=64 off=64 size=8"),
    ("wrong_helper", "EINVAL", "{{unknown func|program of this type cannot use helper}} bpf_override_return#58"),
]


@pytest.mark.parametrize(("name", "errno", "reason"), REASONS, ids=[row[0] for row in REASONS])
def test_rejected(bpf: Bpf, name: str, errno: str, reason: str) -> None:
    with bpf.rejects(reason, errno=errno):
        bpf.load(f"reject_{name}.bpf.o")


def test_a_rejection_knows_the_line_of_c(bpf: Bpf) -> None:
    with bpf.rejects("invalid access to packet") as rejected:
        bpf.load("reject_packet_bounds.bpf.o")
    line = rejected.value.source_line
    assert line is not None
    assert line.text.startswith("return eth->h_proto ==")


def test_the_whole_log_is_there(bpf: Bpf) -> None:
    with bpf.rejects("invalid mem access") as rejected:
        bpf.load("reject_null_value.bpf.o")
    assert "call bpf_map_lookup_elem#1" in rejected.value.log.text
    assert (rejected.value.log.stats.insns or 0) > 3
