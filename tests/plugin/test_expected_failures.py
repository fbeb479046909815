"""Markers and methods for tests on several kernels (issue 14, C16)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Objects = Callable[..., None]


def test_c16_failures_that_some_kernels_are_expected_to_have(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.bpf_xfail(kernel=">=2.6", reason="this kernel")
        def test_this_kernel(bpf): assert 0
        @pytest.mark.bpf_xfail(kernel="<2.6", reason="another kernel")
        def test_another_kernel(bpf): assert 0
        @pytest.mark.bpf_xfail(feature="kfunc:no_such_kfunc", reason="lacks it")
        def test_lacks(bpf): assert 0
        @pytest.mark.bpf_xfail(feature="ringbuf", reason="has it")
        def test_has(bpf): assert 0
        @pytest.mark.bpf_xfail(kernel="<2.6", feature="kfunc:no_such_kfunc", reason="both")
        def test_both(bpf): pass
        @pytest.mark.bpf_xfail(kernel=">=2.6", reason="passes", strict=True)
        def test_strict(bpf): pass
        @pytest.mark.bpf_xfail(reason="every kernel")
        def test_neither(bpf): pass
        @pytest.mark.bpf_xfail(feature="ringbfu", reason="typo")
        def test_typo(bpf): pass
        @pytest.mark.bpf_xfail(kernel="old", reason="typo")
        def test_wrong(bpf): pass
        """
    )
    result = pytester.runpytest("--bpf-kernels=host", "-rx")
    result.assert_outcomes(passed=1, failed=3, xfailed=2, errors=3)
    result.stdout.re_match_lines([r"XFAIL .*test_this_kernel.* this kernel", r"XFAIL .*test_lacks.* lacks it"])
    result.stdout.fnmatch_lines(
        ["bpf_xfail: expected kernel= or feature=*", "bpf_xfail: *ringbfu*", "*bpf_xfail: *old*"]
    )


def test_c16_eventually(pytester: pytest.Pytester, objects: Objects) -> None:
    objects("config")
    pytester.makepyfile(
        """
        import pytest
        def test_true(bpf, bpf_shared):
            seen = []
            assert bpf.eventually(lambda: seen.append(1) or len(seen) == 3, timeout=2)
            assert bpf_shared.eventually(lambda: 7) == 7
        def test_never(bpf):
            prog = bpf.load("config.bpf.o")["police"]
            bpf.eventually(lambda: prog.name == "other", timeout=0.1)
        """
    )
    result = pytester.runpytest("--bpf-kernels=host")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.re_match_lines(
        [r"E +AssertionError: prog.name == 'other' did not become true within 0.1 s; last:", r"E +prog.name = 'police'"]
    )
