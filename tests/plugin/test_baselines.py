"""The fixture ``bpf_baseline`` and ``--bpf-update``: what is stored, when, and what is never touched."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

Objects = Callable[..., None]

CHECK = """
def test_a(bpf, bpf_baseline):
    bpf_baseline.check(bpf.load("xdp_lb.bpf.o"))
"""
STORE = "--bpf-update=new"


def stored(pytester: pytest.Pytester) -> dict[str, str]:
    """Path below __baselines__ -> text."""
    folder = pytester.path / "__baselines__"
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_kinds(pytester: pytest.Pytester, objects: Objects) -> None:
    """A program, an object, a rejection, a log, a path: all can be checked."""
    objects("xdp_lb", "tail_calls", "reject_null_value", "reject_packet_bounds")
    pytester.makepyfile(
        test_kinds="""
        import pytest
        from pytest_ebpf import BpfUsageError
        def test_program(bpf, bpf_baseline):
            bpf_baseline.check(bpf.load("xdp_lb.bpf.o")["balance"])
        def test_object(bpf, bpf_baseline):
            bpf_baseline.check(bpf.load("tail_calls.bpf.o"), level="lines")
        def test_rejection(bpf, bpf_baseline):
            with bpf.rejects() as rejected:
                bpf.load("reject_null_value.bpf.o")
            bpf_baseline.check(rejected.value, name="null")
        class TestGroup:
            def test_log(self, bpf, bpf_baseline):
                assert bpf.load("xdp_lb.bpf.o", log_level=2)["balance"].log == bpf_baseline
        @pytest.mark.parametrize("what", ["a/b", "x y"])
        def test_path(bpf_baseline, what):
            bpf_baseline.check("reject_packet_bounds.bpf.o")
        def test_nonsense(bpf_baseline):
            with pytest.raises(BpfUsageError, match="takes a program, an object"):
                bpf_baseline.check(5)
            with pytest.raises(BpfUsageError, match="Levels: verdict, figures, lines, log"):
                bpf_baseline.check("reject_packet_bounds.bpf.o", level="all")
        """
    )
    pytester.runpytest("--bpf-kernels=host", STORE).assert_outcomes(passed=7)
    files = stored(pytester)
    assert set(files) == {
        "test_kinds/test_program.balance.txt",
        *(
            f"test_kinds/test_object.{name}.txt"
            for name in ("dispatch", "handle_drop", "handle_bounce", "handle_redirect")
        ),
        "test_kinds/test_rejection.null.txt",
        "test_kinds/TestGroup.test_log.log.txt",
        *(name for name in files if "test_path" in name),
    }
    assert len([name for name in files if "test_path" in name]) == 2
    pytester.runpytest("--bpf-kernels=host").assert_outcomes(passed=7)
    assert stored(pytester) == files


def test_what_is_stored_is_for_people(pytester: pytest.Pytester, objects: Objects) -> None:
    """Verdict, figures, source lines and what the verifier knew; no addresses, times or line numbers."""
    objects("xdp_lb")
    pytester.makepyfile(test_it=CHECK)
    pytester.runpytest("--bpf-kernels=host", STORE)
    (text,) = stored(pytester).values()
    lines = text.splitlines()
    assert lines[0] == "# test_it.py::test_a: what the verifier says about balance"
    assert re.fullmatch(r"kernels: \d+\.\d+", lines[3])
    assert lines[4:6] == ["verdict: accepted", "insns: 264"]
    assert "@ 24 insns in xdp_lb.bpf.c: __builtin_memcpy(eth->h_source, eth->h_dest, ETH_ALEN);" in lines
    assert any(re.fullmatch(r"    r\d = \*\(u32 \*\)\(r1 \+4\)  ; pkt_end", line) for line in lines)
    assert not re.search(r"0xff[0-9a-f]{14}|usec|pc[+-]\d|\.c:\d|#\d|id=[0-9]{3}", text)


def test_nothing_is_stored_unless_asked(pytester: pytest.Pytester, objects: Objects) -> None:
    objects("xdp_lb")
    pytester.makepyfile(test_it=CHECK)
    result = pytester.runpytest("--bpf-kernels=host")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E*AssertionError: balance: no baseline: there is no __baselines__/test_it/test_a.balance.txt",
            "E*store it: pytest --bpf-update=new 'test_it.py::test_a[[]host[]]'",
        ]
    )
    pytester.runpytest("--bpf-kernels=host", "--bpf-update=changed").assert_outcomes(failed=1)
    assert not (pytester.path / "__baselines__").exists()
    pytester.runpytest("--bpf-kernels=host", "--bpf-update=all").assert_outcomes(passed=1)
    assert len(stored(pytester)) == 1


def change(pytester: pytest.Pytester, old: str, new: str) -> None:
    """Change what is stored."""
    (path,) = (pytester.path / "__baselines__").rglob("*.txt")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_difference(pytester: pytest.Pytester, objects: Objects) -> None:
    """At the source line, with its number; the levels below do not see it; "changed" stores it, "new" does not."""
    objects("xdp_lb")
    pytester.makepyfile(
        test_it="""
        import pytest
        @pytest.mark.parametrize("level", ["figures", "lines", "log"])
        def test_a(bpf, bpf_baseline, level):
            bpf_baseline.check(bpf.load("xdp_lb.bpf.o"), level=level)
        """
    )
    pytester.runpytest("--bpf-kernels=host", STORE).assert_outcomes(passed=3)
    for path in (pytester.path / "__baselines__").rglob("*.txt"):
        text = path.read_text()
        head = "@ 24 insns in xdp_lb.bpf.c: __builtin_memcpy(eth->h_source"
        assert head in text
        path.write_text(text.replace(head, head.replace("24", "12")).replace("; pkt_end", "; pkt(r=0)"))
    before = stored(pytester)
    result = pytester.runpytest("--bpf-kernels=host", STORE)
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.re_match_lines(
        [
            r"E +AssertionError: balance differs from its baseline on .* \(__baselines__/.*test_a-lines-.*\):",
            r"E +~ xdp_lb.bpf.c:\d+: __builtin_memcpy\(eth->h_source, .*",
            r"E +24 instructions walked, 12 in the baseline",
            r"E +accept it: pytest --bpf-update=changed 'test_it.py::test_a\[host-lines\]'",
            r"E +- r\d = \*\(u32 \*\)\(r1 \+4\)  ; pkt\(r=0\)",
            r"E +\+ r\d = \*\(u32 \*\)\(r1 \+4\)  ; pkt_end",
        ]
    )
    assert stored(pytester) == before
    result = pytester.runpytest("--bpf-kernels=host", "--bpf-update=changed")
    result.assert_outcomes(passed=3)
    result.stdout.re_match_lines([r"changed: __baselines__/test_it/test_a-log.*\.balance\.txt"])
    pytester.runpytest("--bpf-kernels=host").assert_outcomes(passed=3)


def test_blocks_of_other_kernels_stay(pytester: pytest.Pytester, objects: Objects) -> None:
    """Kernels that say the same share a block; storing one never touches what is stored for others."""
    objects("xdp_lb")
    pytester.makepyfile(test_it=CHECK)
    pytester.runpytest("--bpf-kernels=host", STORE)
    (text,) = stored(pytester).values()
    (series,) = re.findall(r"kernels: (.*)", text)

    change(pytester, f"kernels: {series}", f"kernels: 4.2, {series}")
    pytester.runpytest("--bpf-kernels=host").assert_outcomes(passed=1)
    change(pytester, "insns: 264", "insns: 200")
    pytester.runpytest("--bpf-kernels=host", "--bpf-update=changed").assert_outcomes(passed=1)
    (text,) = stored(pytester).values()
    assert re.findall(r"kernels: (.*)\nverdict: accepted\ninsns: (\d+)", text) == [("4.2", "200"), (series, "264")]

    change(pytester, f"kernels: {series}", "kernels: 4.4")
    pytester.runpytest("--bpf-kernels=host").assert_outcomes(passed=1)  # another kernel says the same
    change(pytester, "insns: 264", "insns: 265")
    result = pytester.runpytest("--bpf-kernels=host", "--bpf-update=changed")
    result.assert_outcomes(failed=1)  # a kernel that is new is not stored by "changed"
    result.stdout.fnmatch_lines(["*has none for * (it has 4.2, 4.4)", "*it differs from 4.4:", "*insns: 265 -> 264"])


def test_unused_ones_are_told_and_kept(pytester: pytest.Pytester, objects: Objects) -> None:
    objects("xdp_lb", "bpf_loop")
    test = """
        def test_a(bpf, bpf_baseline):
            bpf_baseline.check(bpf.load("{name}.bpf.o"))
        def test_{other}(bpf, bpf_baseline):
            bpf_baseline.check(bpf.load("bpf_loop.bpf.o"))
        """
    pytester.makepyfile(test_it=test.format(name="xdp_lb", other="b"))
    pytester.runpytest("--bpf-kernels=host", STORE).assert_outcomes(passed=2)
    before = stored(pytester)

    pytester.makepyfile(test_it=test.format(name="bpf_loop", other="c"))
    result = pytester.runpytest("--bpf-kernels=host", "--bpf-update=all")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        [
            "unused: __baselines__/test_it/test_a.balance.txt (test_it.py::test_a passed without looking at it)",
            "unused: __baselines__/test_it/test_b.sum_up.txt (there is no test_it.py::test_b any more)",
        ]
    )
    assert before.items() <= stored(pytester).items()
    result = pytester.runpytest("--bpf-kernels=host", "-k", "test_c")  # of what did not run nothing is said
    result.assert_outcomes(passed=1, deselected=1)
    result.stdout.no_fnmatch_line("unused:*")


def test_xdist(pytester: pytest.Pytester, objects: Objects) -> None:
    """Workers write at the same time, into the same files too."""
    objects("xdp_lb", "bpf_loop")
    pytester.makepyfile(
        test_it="""
        import pytest
        @pytest.mark.parametrize("n", range(6))
        def test_a(bpf, bpf_baseline, n):
            bpf_baseline.check(bpf.load("xdp_lb.bpf.o"))
            bpf_baseline.check(bpf.load("bpf_loop.bpf.o"))
        """
    )
    result = pytester.runpytest("-n2", "--bpf-kernels=host", STORE)
    result.assert_outcomes(passed=6)
    files = stored(pytester)
    assert len(files) == 12
    assert len([line for line in result.outlines if line.startswith("new: ")]) == 12
    pytester.runpytest("-n2", "--bpf-kernels=host").assert_outcomes(passed=6)
    assert stored(pytester) == files


def test_another_directory(pytester: pytest.Pytester, objects: Objects) -> None:
    objects("xdp_lb")
    pytester.makeini("[pytest]\nbpf_baseline_dir = golden")
    pytester.makepyfile(test_it=CHECK)
    pytester.runpytest("--bpf-kernels=host", STORE).assert_outcomes(passed=1)
    assert (pytester.path / "golden/test_it/test_a.balance.txt").exists()
    pytester.runpytest("--bpf-kernels=host").assert_outcomes(passed=1)


def test_a_file_that_is_no_baseline(pytester: pytest.Pytester, objects: Objects) -> None:
    objects("xdp_lb")
    pytester.makepyfile(test_it=CHECK)
    pytester.runpytest("--bpf-kernels=host", STORE)
    change(pytester, "verdict: accepted\n", "<<<<<<< HEAD\nverdict: accepted\n")
    result = pytester.runpytest("--bpf-kernels=host")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*test_a.balance.txt:5: not a line of a baseline: '<<<<<<< HEAD'*"])


@pytest.mark.slow
def test_guests(pytester: pytest.Pytester, objects: Objects) -> None:
    """One file for all kernels; those that say the same share a block."""
    objects("bpf_loop")
    pytester.makepyfile(
        test_it="""
        def test_a(bpf, bpf_baseline):
            bpf_baseline.check(bpf.load("bpf_loop.bpf.o"))
        """
    )
    pytester.runpytest("--bpf-kernels=6.1,7.3", STORE).assert_outcomes(passed=2)
    (text,) = stored(pytester).values()
    assert sorted(", ".join(re.findall(r"kernels: (.*)", text)).split(", ")) == ["6.1", "7.3"]
    pytester.runpytest("--bpf-kernels=6.1,7.3").assert_outcomes(passed=2)
