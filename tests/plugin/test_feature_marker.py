"""The marker ``bpf_feature`` and the fixture ``bpf_features``, on the kernel of this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_ebpf.vm.images.cache import CACHE_VARIABLE

# A feature that every kernel with bpf() has, whose probe says no.
LOST = """
    from dataclasses import replace
    from pytest_ebpf.features import table as features
    from pytest_ebpf.features.base import Answer

    def pytest_configure(config):
        row = features.FEATURES["array"]
        config.stash["row"] = row
        features.FEATURES["array"] = replace(
            row, since={since!r}, read=lambda results, facts: Answer(False, "array: gone", {since!r}, {cause!r})
        )

    def pytest_unconfigure(config):
        features.FEATURES["array"] = config.stash["row"]
"""
TEST = """
    import pytest
    @pytest.mark.bpf_feature("array")
    def test_a(bpf): pass
"""


@pytest.fixture(autouse=True)
def own_cache(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Answers of a broken probe must not stay in the user's cache."""
    monkeypatch.setenv(CACHE_VARIABLE, str(pytester.path / "cache"))
    return pytester.path / "cache"


def lose(pytester: pytest.Pytester, *, since: str = "3.19", cause: str = "") -> None:
    pytester.makeconftest(LOST.format(since=since, cause=cause))


def test_a_kernel_that_is_new_enough_fails(pytester: pytest.Pytester) -> None:
    lose(pytester)
    pytester.makepyfile(TEST)
    result = pytester.runpytest("--bpf-kernels=host")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "bpf_feature('array'): array: gone, yet Linux 3.19 brought it (commit 28fbcfa08d8e) and this is *",
            "If it was built without the feature, list it in the ini key bpf_reduced_kernels; else it lost it.",
        ]
    )


def test_unless_it_is_listed_as_reduced(pytester: pytest.Pytester) -> None:
    lose(pytester)
    pytester.makepyfile(TEST)
    pytester.makeini("[pytest]\nbpf_reduced_kernels = 5.10 host")
    result = pytester.runpytest("--bpf-kernels=host")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["s a  array: gone; the kernel is in bpf_reduced_kernels"])


def test_or_the_machine_forbids_it(pytester: pytest.Pytester) -> None:
    lose(pytester, cause="denied")
    pytester.makepyfile(TEST)
    result = pytester.runpytest("--bpf-kernels=host")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["s a  array: gone; this machine forbids it"])


def test_a_test_that_no_kernel_of_the_matrix_could_run(pytester: pytest.Pytester) -> None:
    lose(pytester, since="99.1")
    pytester.makepyfile(TEST)
    result = pytester.runpytest("--bpf-kernels=host")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*bpf_feature('array') came with Linux 99.1, and every kernel of the matrix is older: host.*"]
    )


def test_a_kernel_of_unknown_version_could(pytester: pytest.Pytester) -> None:
    lose(pytester, since="99.1")
    pytester.makepyfile(TEST)
    result = pytester.runpytest("--bpf-kernels=host,./bzImage", "-k", "host")
    result.assert_outcomes(skipped=1, deselected=1)
    result.stdout.fnmatch_lines(["s a  array: gone; it came with Linux 99.1"])


def test_a_failure_outweighs_a_skip(pytester: pytest.Pytester) -> None:
    lose(pytester)
    pytester.makepyfile(TEST.replace('"array"', '"config:NO_SUCH_THING", "array"'))
    pytester.runpytest("--bpf-kernels=host").assert_outcomes(failed=1)


@pytest.mark.parametrize(
    ("mark", "words"),
    [
        ('"ringbuf", "ringbfu"', "*no feature 'ringbfu' is known*"),
        ('"kfunc:bpf_task_aquire@nope"', "*did you mean kfunc:bpf_task_acquire*"),
        ("5", "*bpf_feature(5): expected the name of a feature, a string*"),
        ("", "*bpf_feature() takes names of features*"),
    ],
)
def test_a_marker_that_makes_no_sense_is_one_error(pytester: pytest.Pytester, mark: str, words: str) -> None:
    """However many kernels there are, and before any boots."""
    pytester.makepyfile(TEST.replace('"array"', mark))
    result = pytester.runpytest("--bpf-kernels=host,5.10,6.1")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([words])


def test_the_fixture(pytester: pytest.Pytester, own_cache: Path) -> None:
    pytester.makepyfile(
        """
        import pytest
        from pytest_ebpf.errors import BpfUsageError
        def test_has(bpf_features):
            assert bpf_features.has("map:array") and bpf_features.has("helper:bpf_map_lookup_elem@xdp")
            assert not bpf_features.has("kfunc:no_such_kfunc")
            with pytest.raises(BpfUsageError, match="ringbfu"):
                bpf_features.has("ringbfu")
        def test_answer(bpf_features):
            answer = bpf_features.answer("ringbuf")
            assert (answer.supported, answer.message, answer.since) == (True, "map type RINGBUF: works", "5.8")
        def test_table(bpf_features, bpf_kernel):
            table = bpf_features.table()
            assert table["prog:xdp"].supported and table["isa:v2"].supported
            assert len(table) > 300
            assert repr(bpf_features) == f"<BpfFeatures of {bpf_kernel.id}>"
            assert list(bpf_features.table("xdp", "tcx")) == ["xdp", "tcx"]
        """
    )
    pytester.runpytest("--bpf-kernels=host").assert_outcomes(passed=3)
    (kept,) = (own_cache / "features").glob("host-*.json")
    answers = json.loads(kept.read_text())["answers"]
    assert answers["ringbuf"] == [True, "map type RINGBUF: works", "5.8"]
    assert len(answers) > 250
