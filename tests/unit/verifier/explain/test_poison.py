from __future__ import annotations

from pytest_ebpf.verifier.explain.poison import poison_note
from pytest_ebpf.verifier.verifier_log import parse_log

TRACE = "0: R1=ctx() R10=fp0\n3: (85) call unknown#195896080\ninvalid func unknown#195896080\nprocessed 4 insns\n"
NOTES = {3: "CO-RE: struct task_struct has no field foo", 9: "kfunc bar is missing"}


def test_the_note_of_the_failing_instruction() -> None:
    assert poison_note(parse_log(TRACE), NOTES) == NOTES[3]


def test_without_a_trace_only_an_unambiguous_note_is_given() -> None:
    log = parse_log("invalid func unknown#195896080\nprocessed 4 insns\n")
    assert poison_note(log, NOTES) == ""
    assert poison_note(log, {3: "same", 7: "same"}) == "same"


def test_a_helper_that_this_kernel_lacks_is_no_poison() -> None:
    assert poison_note(parse_log("invalid func unknown#181\nprocessed 4 insns\n"), {3: "note"}) == ""


def test_another_error_is_no_poison() -> None:
    assert poison_note(parse_log("3: (95) exit\nR0 !read_ok\nprocessed 4 insns\n"), NOTES) == ""
