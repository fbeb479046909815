"""What a run reports: verdicts, sections, the matrix, leaks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Objects = Callable[..., None]


def test_matrix(pytester: pytest.Pytester, objects: Objects) -> None:
    objects("config")
    pytester.makepyfile(
        test_shop="""
        import pytest
        def test_passes(bpf):
            assert bpf.load("config.bpf.o")["police"].run(bytes(100)).retval == 2
        @pytest.mark.parametrize("size", [1, 2])
        def test_fails(bpf, size):
            assert size == 1
        @pytest.mark.bpf_feature("kfunc:no_such_kfunc")
        def test_skipped(bpf): pass
        @pytest.mark.xfail
        def test_xfails(bpf): assert 0
        def test_plain(): pass
        """
    )
    result = pytester.runpytest("--bpf-kernels=host")
    result.assert_outcomes(passed=3, failed=1, skipped=1, xfailed=1)
    result.stdout.re_match_lines(
        [
            r"=+ eBPF matrix =+",
            r" +host",
            r"test_shop.py",
            r"  test_passes +✓ \d+",
            r"  test_fails\[1\] +✓",
            r"  test_fails\[2\] +✗",
            r"  test_skipped +s a",
            r"  test_xfails +x",
            r"",
            r"✗ failed, x xfailed, numbers: instructions the verifier walked, of the test's largest program",
            r"s a  kfunc no_such_kfunc is not in the kernel's BTF, nor in that of a loaded module",
            r"",
            r"host  \S+  this machine  ✓ 2  ✗ 1  s 1  x 1",
        ],
        consecutive=True,
    )
    result.stdout.no_fnmatch_line("*test_plain*✓*")


def test_no_matrix(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_a(bpf_kernel): pass\ndef test_b(): pass")
    pytester.runpytest("--bpf-no-matrix").stdout.no_fnmatch_line("*eBPF matrix*")
    pytester.runpytest("-k", "test_b").stdout.no_fnmatch_line("*eBPF matrix*")


def test_ascii_terminals(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    pytester.makepyfile("def test_a(bpf_kernel): pass")
    result = pytester.runpytest_subprocess("--bpf-kernels=host")
    result.stdout.re_match_lines([r"  test_a +\."])


def test_rejection_in_the_report(pytester: pytest.Pytester, objects: Objects) -> None:
    """One line says it; the whole log is in a section; frames of the package are not shown."""
    objects("reject_packet_bounds")
    pytester.makepyfile("def test_a(bpf): bpf.load('reject_packet_bounds.bpf.o')")
    result = pytester.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines(
        [
            r"E +pytest_ebpf.ProgramRejected: \w+: invalid access to packet.*, "
            r"at reject_packet_bounds.bpf.c:\d+: return eth->h_proto.* \(EACCES\)",
            r"-+ verifier log: \w+ -+",
            r"\d+: \([0-9a-f]{2}\).*",
            r"invalid access to packet.*",
            r"processed \d+ insns.*",
        ]
    )
    result.stdout.no_fnmatch_line("*loading.py*")


def test_rejected_for_another_reason_shows_the_log(pytester: pytest.Pytester, objects: Objects) -> None:
    objects("reject_packet_bounds")
    pytester.makepyfile(
        """
        def test_a(bpf):
            with bpf.rejects("leaks reference"):
                bpf.load('reject_packet_bounds.bpf.o')
        """
    )
    result = pytester.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines([r"E +AssertionError: \w+ was rejected for another reason.*", r"-+ verifier log: .*"])


def test_map_difference(pytester: pytest.Pytester, objects: Objects) -> None:
    objects("map_kinds")
    pytester.makepyfile(
        """
        def test_a(bpf):
            obj = bpf.load("map_kinds.bpf.o")
            obj["account"].run(bytes(12) + b"\\x88\\xb5" + bytes(50))
            assert obj.maps["last_seen"] == {(bytes(6),): 65, (bytes([1] * 6),): 1}
        """
    )
    result = pytester.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E*assert <Map last_seen (lru_hash)> does not hold what was expected", "E*64, expected 65", "E*is missing*"]
    )


@pytest.fixture
def bpffs(tmp_path: Path) -> Iterator[Path]:
    """A bpf file system that stays when a scope ends."""
    subprocess.run(["mount", "-t", "bpf", "bpf", tmp_path], check=True)
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def test_leaks_are_the_error_of_the_test_that_made_them(
    pytester: pytest.Pytester, objects: Objects, bpffs: Path
) -> None:
    objects("config")
    pytester.makepyfile(
        f"""
        from pytest_ebpf.agent.ops import ObjPin
        def test_pins(bpf):
            obj = bpf.load("config.bpf.o")
            bpf.session.run([ObjPin(obj["police"].handle, "{bpffs}/pytest_ebpf_leak_test")])
        def test_next(bpf, bpf_vm):
            bpf_vm.run(["rm", "-f", "{bpffs}/pytest_ebpf_leak_test"]).check()
        """
    )
    result = pytester.runpytest()
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.re_match_lines(
        [
            r"_+ ERROR at teardown of test_pins\[host\] _+",
            r"1 kernel object outlived this test:",
            r"  prog 'police' \(id \d+\), held by .*/pytest_ebpf_leak_test.*, made at test_leaks.*\.py:3",
        ]
    )
    result.stdout.re_match_lines([r"  test_pins +E \d+", r"  test_next +✓"])


def test_shared_loader(pytester: pytest.Pytester, objects: Objects) -> None:
    """The object stays for the module, and works under Hypothesis."""
    objects("config")
    pytester.makepyfile(
        """
        from hypothesis import given, settings, strategies as st
        seen = []
        @settings(max_examples=20, deadline=None)
        @given(st.binary(min_size=64, max_size=1500))
        def test_property(bpf_shared, data):
            prog = bpf_shared.load("config.bpf.o", globals={"budget": 10**6})["police"]
            assert prog.run(data).retval == 2
            seen.append(prog.id)
        def test_same(bpf_shared):
            seen.append(bpf_shared.load("config.bpf.o", globals={"budget": 10**6})["police"].id)
            assert len(set(seen)) == 1
            assert bpf_shared.load("config.bpf.o")["police"].id != seen[0]
        """
    )
    result = pytester.runpytest()
    result.assert_outcomes(passed=2)
    result.stdout.re_match_lines([r"  test_property +✓ \d+", r"  test_same +✓ \d+"])


def test_the_machine(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import os, pytest
        from pytest_ebpf import KernelCallError, BpfUsageError
        def test_run(bpf_vm):
            done = bpf_vm.run(["sh", "-c", "cat; echo oops >&2; exit 3"], stdin="hi")
            assert (done.returncode, done.stdout, done.stderr) == (3, b"hi", b"oops\\n")
            with pytest.raises(AssertionError, match="ended with 3: oops"):
                done.check()
        def test_errors(bpf_vm):
            with pytest.raises(TimeoutError, match="sleep 9 did not end within 0.2 s on kernel host"):
                bpf_vm.run(["sleep", "9"], timeout=0.2)
            with pytest.raises(KernelCallError, match="ENOENT"):
                bpf_vm.run(["/no/such/program"])
            with pytest.raises(BpfUsageError, match="a command must be a list of words, got 'true'"):
                bpf_vm.run("true")
        def test_files(bpf_vm, tmp_path):
            bpf_vm.write_file(tmp_path / "x", "text")
            assert bpf_vm.read_file(tmp_path / "x") == b"text"
        def test_facts(bpf_kernel, bpf_vm):
            assert bpf_kernel.release == os.uname().release
            assert (bpf_kernel.id, bpf_kernel.spec, bpf_kernel.accel) == ("host", "host", "this machine")
            assert bpf_kernel.cpus >= os.cpu_count()
            assert (bpf_vm.console, bpf_vm.boot_seconds) == ("", 0.0)
            assert isinstance(bpf_vm.dmesg(), list)
        """
    )
    pytester.runpytest("--bpf-kernels=host").assert_outcomes(passed=4)


def test_trace_and_dmesg(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from pytest_ebpf.live.attach.tracepoint import tracefs_root
        def test_trace(bpf, bpf_trace, bpf_vm):
            assert bpf_trace.lines() == []
            bpf_vm.write_file(tracefs_root(bpf.session) + "/trace_marker", "hello from a test")
            assert bpf_trace.expect("hello from", timeout=2).message.endswith("a test")
            with pytest.raises(AssertionError, match="(?s)no trace line contains 'bye'.*hello from a test"):
                bpf_trace.expect("bye", timeout=0.1)
        def test_nothing_of_before(bpf_trace):
            assert bpf_trace.messages() == []
        def test_dmesg(bpf_dmesg, bpf_vm):
            assert bpf_dmesg.lines() == []
            bpf_vm.write_file("/dev/kmsg", "hello kernel log\\n")
            assert "hello kernel log" in bpf_dmesg.expect("hello kernel")
            with pytest.raises(AssertionError, match="no kernel log line contains 'bye'"):
                bpf_dmesg.expect("bye", timeout=0.1)
        """
    )
    pytester.runpytest("--bpf-kernels=host").assert_outcomes(passed=3)


def test_object_directories(pytester: pytest.Pytester, objects: Objects) -> None:
    """Next to the test first, then where the ini file says."""
    objects("config")
    (pytester.mkdir("objects") / "x").mkdir()
    (pytester.path / "config.bpf.o").rename(pytester.path / "objects" / "config.bpf.o")
    pytester.mkdir("deep").joinpath("test_a.py").write_text("def test_a(bpf): bpf.load('config.bpf.o')")
    pytester.makeini("[pytest]\nbpf_object_dirs = objects")
    pytester.runpytest().assert_outcomes(passed=1)


def test_a_feature_that_no_table_knows(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.bpf_feature("ringbfu")
        def test_a(bpf): pass
        @pytest.mark.bpf_feature("ringbuf")
        def test_b(bpf): assert bpf.has("ringbuf") and not bpf.has("kfunc:nope")
        """
    )
    result = pytester.runpytest("--bpf-kernels=host")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*no feature 'ringbfu' is known*", "*did you mean ringbuf*"])


@pytest.mark.parametrize("distribution", ["load", "loadgroup"])
def test_xdist(pytester: pytest.Pytester, objects: Objects, distribution: str) -> None:
    objects("config")
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.parametrize("n", range(6))
        def test_a(bpf, n):
            bpf.load("config.bpf.o")
            assert n != 3
        """
    )
    result = pytester.runpytest("-n2", f"--dist={distribution}", "--bpf-kernels=host")
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.re_match_lines([r"  test_a\[0\] +✓ \d+", r"  test_a\[3\] +✗ \d+", r"host .* ✓ 5  ✗ 1"])


def test_a_command_is_given_what_it_can_take(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from pytest_ebpf.errors import BpfUsageError
        @pytest.mark.parametrize(("wrong", "words"), [
            ({"stdin": 5}, "stdin= .*5"),
            ({"timeout": None}, "timeout= .* number of seconds.*None"),
            ({"timeout": "1"}, "timeout= .* number of seconds.*'1'"),
        ])
        def test_a(bpf_vm, wrong, words):
            with pytest.raises(BpfUsageError, match=words):
                bpf_vm.run(["cat"], **wrong)
        def test_nothing_to_read(bpf_vm):
            assert bpf_vm.run(["cat"], stdin=None).stdout == b""
        def test_b(bpf_vm):
            assert bpf_vm.run(["cat"], stdin=bytearray(b"x")).stdout == b"x"
        """
    )
    pytester.runpytest("--bpf-kernels=host").assert_outcomes(passed=5)


def test_junit_has_no_noise(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_a(bpf): pass")
    pytester.runpytest("--junitxml=j.xml", "--bpf-kernels=host")
    text = (pytester.path / "j.xml").read_text()
    assert 'name="test_a[host]"' in text
    assert "bpf_record" not in text


def test_costs_nothing_until_used(pytester: pytest.Pytester) -> None:
    """An unrelated run imports the package's front door, the plugin and its options, and nothing behind them."""
    pytester.makepyfile(
        """
        import sys
        def test_a():
            ours = sorted(name for name in sys.modules if name.split(".")[0] == "pytest_ebpf")
            assert ours == %r
        """
        % [
            "pytest_ebpf",
            "pytest_ebpf.fixtures",
            "pytest_ebpf.fixtures.neighbours",
            "pytest_ebpf.fixtures.neighbours.plain_import",
            "pytest_ebpf.fixtures.options",
            "pytest_ebpf.plugin",
            "pytest_ebpf.plugin_instruments",
        ]
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


def test_modules_are_imported_without_rewriting_their_asserts(pytester: pytest.Pytester) -> None:
    """What pytest rewrites it parses anew in each run where it may not write byte code; the tests it still rewrites."""
    pytester.makepyfile(
        """
        import importlib
        import sys
        def test_a():
            for name in ("errors", "kernels.pool", "packets", "live.loader"):
                module = importlib.import_module(f"pytest_ebpf.{name}")
                assert type(module.__loader__).__name__ == "SourceFileLoader", name
            assert type(sys.modules[__name__].__loader__).__name__ == "AssertionRewritingHook"
        """
    )
    pytester.runpytest_subprocess("--bpf-kernels=host").assert_outcomes(passed=1)


def test_the_plugin_imports_nothing_that_pytest_has_not(pytester: pytest.Pytester) -> None:
    """What an installed plugin costs in time is measured by ci/house; here, that it brings no module along."""
    script = pytester.makepyfile(
        """
        import sys
        import pytest
        before = set(sys.modules)
        import pytest_ebpf.plugin
        print(*sorted(set(sys.modules) - before))
        """
    )
    result = pytester.run(sys.executable, script)
    assert result.outlines == ["pytest_ebpf pytest_ebpf.plugin"]


def test_packet_difference(pytester: pytest.Pytester, objects: Objects) -> None:
    objects("config")
    pytester.makepyfile(
        """
        from pytest_ebpf import IP, UDP, Eth
        PACKET = Eth() / IP(ttl=9) / UDP(dport=53) / bytes(30)
        def test_fields(bpf):
            assert bpf.load("config.bpf.o")["police"].run(PACKET).data == PACKET.replace("ip", ttl=8)
        def test_bytes(bpf):
            assert bpf.load("config.bpf.o")["police"].run(PACKET) == PACKET
        def test_runs(bpf):
            police = bpf.load("config.bpf.o")["police"]
            assert police.run(PACKET) == police.run(bytes(64))
        """
    )
    result = pytester.runpytest()
    result.assert_outcomes(failed=2, passed=1)
    result.stdout.re_match_lines(
        [
            r"E +assert packet differs in ip.ttl.*",
            r"E +assert the runs differ",
            r"E +data: .*, expected 00000000 .*",
        ]
    )
