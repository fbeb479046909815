"""The fixture ``bpf_log``: messages of aya-log in a test and in pytest's captured logging."""

from __future__ import annotations

import shutil

import pytest

from support.paths import TESTS

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _log_object(pytester: pytest.Pytester) -> None:
    shutil.copy(TESTS / "objects" / "built" / "aya_log.bpf.o", pytester.path)


def test_messages_levels_and_text(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from pytest_ebpf import BpfUsageError

        def test_it(bpf, bpf_log):
            obj = bpf.load("aya_log.bpf.o")
            for size in (64, 65):
                obj["log_len"].run(bytes(size))
            assert bpf_log.expect("len 65", level="INFO", target="log")["args"] == (65, "127.0.0.1")
            assert bpf_log.messages() == ["len 64 ip 127.0.0.1", "len 65 ip 127.0.0.1"]
            assert bpf_log.text.splitlines()[0] == "[INFO  log] len 64 ip 127.0.0.1"
            assert bpf_log.lost == 0
            with pytest.raises(AssertionError, match=r"(?s)\\(WARN\\) contains 'len'.*INFO  log\\] len 64"):
                bpf_log.expect("len", level="warn", timeout=0.01)
            with pytest.raises(BpfUsageError, match="not a level.*\\n.*warn"):
                bpf_log.expect("len", level="wran")

        def test_a_level_of_the_load(bpf, bpf_log):
            obj = bpf.load("aya_log.bpf.o", globals={"AYA_LOG_LEVEL": "warn"})
            obj["log_len"].run(bytes(64))
            assert bpf_log.records() == []
            with pytest.raises(BpfUsageError, match="'wran': not a level"):
                bpf.load("aya_log.bpf.o", globals={"AYA_LOG_LEVEL": "wran"})

        def test_nothing_is_there(bpf_log):
            with pytest.raises(AssertionError, match="no object of this test has a map AYA_LOGS"):
                bpf_log.expect("x", timeout=0.01)
        """
    )
    pytester.runpytest("--bpf-kernels=host").assert_outcomes(passed=3)


def test_messages_are_in_captured_logging_with_their_place(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_caplog(bpf, bpf_log, caplog):
            caplog.set_level("DEBUG")
            bpf.load("aya_log.bpf.o")["log_len"].run(bytes(64))
            bpf_log.records()
            (record,) = [one for one in caplog.records if one.name == "aya.log"]
            assert (record.levelname, record.getMessage()) == ("INFO", "len 64 ip 127.0.0.1")
            assert (record.pathname, record.lineno) == ("src/main.rs", 14)

        def test_unread_messages_are_in_the_report(bpf, bpf_log):
            bpf.load("aya_log.bpf.o")["log_len"].run(bytes(70))
        """
    )
    result = pytester.runpytest("--bpf-kernels=host", "--log-cli-level=INFO")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*INFO*aya.log:main.rs:14 len 70 ip 127.0.0.1"])


def test_objects_of_other_fixtures_are_heard_whichever_comes_first(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def obj(bpf):
            return bpf.load("aya_log.bpf.o")

        def test_before(obj, bpf_log):
            obj["log_len"].run(bytes(64))
            bpf_log.expect("len 64")

        def test_after(bpf_log, obj):
            obj["log_len"].run(bytes(65))
            assert bpf_log.messages() == ["len 65 ip 127.0.0.1"]

        @pytest.mark.parametrize("size", [64, 65])
        def test_of_a_module(bpf_shared, bpf_log, size):
            bpf_shared.load("aya_log.bpf.o")
            bpf_shared.load("aya_log.bpf.o")["log_len"].run(bytes(size))
            assert bpf_log.messages() == [f"len {size} ip 127.0.0.1"]
        """
    )
    pytester.runpytest("--bpf-kernels=host").assert_outcomes(passed=4)
