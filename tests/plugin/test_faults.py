"""The marker ``bpf_faults`` and the fixture ``bpf_fault``: error paths that no packet reaches."""

from __future__ import annotations

import shutil

import pytest

from support.paths import ROOT

TEST = """
    import pytest
    from pytest_ebpf import XDP, Eth

    PACKET = bytes(Eth() / bytes(range(46)))

    def check(bpf, name):
        obj = bpf.load("error_paths.bpf.o", only=name)
        result = obj[name].run(PACKET)
        assert obj.globals["in_flight"] == 0
        if result.retval == XDP.PASS:
            if name.startswith("full"):
                assert len(obj.maps["flows"]) == 1
            if name.startswith("tag"):
                assert (result.data == PACKET) == (len(result.data) == len(PACKET))
        return result

    @pytest.mark.parametrize("name", ["NAME"])
    def test_plain(bpf, name):
        assert check(bpf, name).retval == XDP.PASS

    @pytest.mark.bpf_faults("error_paths.bpf.o", program="NAME")
    def test_error_paths(bpf, bpf_fault):
        check(bpf, "NAME")
        assert bpf_fault.failed == 1
"""


@pytest.fixture
def objects(pytester: pytest.Pytester) -> None:
    shutil.copy(ROOT / "tests/objects/built/error_paths.bpf.o", pytester.path)


@pytest.mark.parametrize(
    ("right", "wrong", "call"),
    [
        ("counter", "counter_kept", "bpf_ringbuf_reserve@error_paths.bpf.c:"),
        ("full_map", "full_map_passes", "bpf_map_update_elem@error_paths.bpf.c:"),
        ("tagger", "tagger_stale", "bpf_xdp_adjust_head@error_paths.bpf.c:"),
    ],
    ids=["counter not undone", "wrong verdict on a full map", "stale header after a failed adjust"],
)
@pytest.mark.usefixtures("objects")
def test_a_bug_that_only_a_failing_call_shows(pytester: pytest.Pytester, right: str, wrong: str, call: str) -> None:
    """The same test on the program without the bug passes, and so does the test without faults on both."""
    pytester.makepyfile(test_right=TEST.replace("NAME", right), test_wrong=TEST.replace("NAME", wrong))
    result = pytester.runpytest("--bpf-kernels=host", "-v")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines([f"FAILED test_wrong.py::test_error_paths[[]host-{call}*"])


@pytest.mark.usefixtures("objects")
def test_each_call_that_can_fail(pytester: pytest.Pytester) -> None:
    """Of one program or of all; by function; a call that the test does not come to is skipped with the reason."""
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.bpf_faults("error_paths.bpf.o")
        def test_all(bpf, bpf_fault):
            obj = bpf.load("error_paths.bpf.o")
            obj["counter"].run(bytes(60))
            assert bpf_fault.function in bpf_fault.source_line.text
        @pytest.mark.bpf_faults("error_paths.bpf.o", function="bpf_ringbuf_reserve", program="counter")
        def test_function(bpf, bpf_fault):
            assert bpf_fault.program == "counter" and bpf_fault.function == "bpf_ringbuf_reserve"
        """
    )
    result = pytester.runpytest("--bpf-kernels=host", "-rs")
    result.assert_outcomes(passed=1, skipped=6)
    result.stdout.fnmatch_lines(["*the test does not come to this call", "*the test does not load counter"])


@pytest.mark.usefixtures("objects")
def test_markers_that_cannot_be(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        def test_none(bpf_fault): pass
        @pytest.mark.bpf_faults("nowhere.bpf.o")
        def test_object(bpf_fault): pass
        @pytest.mark.bpf_faults("error_paths.bpf.o", program="count")
        def test_program(bpf_fault): pass
        @pytest.mark.bpf_faults("error_paths.bpf.o", prog="counter")
        def test_option(bpf_fault): pass
        @pytest.mark.bpf_faults("error_paths.bpf.o", function="bpf_redirect")
        def test_function(bpf_fault): pass
        """
    )
    result = pytester.runpytest("--bpf-kernels=host")
    result.assert_outcomes(errors=5)
    result.stdout.fnmatch_lines_random(
        [
            "*the fixture bpf_fault needs the marker bpf_faults*",
            "*nowhere.bpf.o*",
            "*error_paths.bpf.o has no program 'count'*",
            "did you mean counter*",
            "*bpf_faults takes an object, program=, function= and errno=*",
            "*nothing that error_paths.bpf.o calls can fail*",
        ]
    )
