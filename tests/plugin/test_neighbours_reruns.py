"""pytest-rerunfailures, pytest-randomly and syrupy beside the plugin: B2 of "the plugin tells the truth"."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from support.neighbours import Neighbours

Objects = Callable[..., None]


def test_b2_a_test_that_passes_when_repeated_passed(pytester: pytest.Pytester, neighbours: Neighbours) -> None:
    pytester.makepyfile(
        """
        import pytest
        tries = []
        def test_second(bpf):
            tries.append(1)
            assert len(tries) == 2
        @pytest.fixture
        def setup(bpf):
            tries.append(1)
            assert len(tries) > 3
        def test_setup(setup): pass
        def test_never(bpf): assert False
        """
    )
    result = neighbours.run("--reruns=2", plugins=("rerunfailures",))
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.re_match_lines([r"  test_second +✓", r"  test_setup +✓", r"  test_never +✗", r"host .* ✓ 2  ✗ 1$"])


def test_b2_a_shuffled_run_keeps_its_kernels_together(pytester: pytest.Pytester, neighbours: Neighbours) -> None:
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.parametrize("n", range(9))
        def test_a(bpf, n): assert n != 4
        """
    )
    result = neighbours.run("-p", "randomly", "-p", "no:cacheprovider", plugins=("randomly",))
    result.assert_outcomes(passed=8, failed=1)
    result.stdout.re_match_lines([r"  test_a\[4\] +✗", r"host .* ✓ 8  ✗ 1$"], consecutive=False)


SNAPSHOT = """
    def test_a(bpf, snapshot):
        seen = bpf.load("map_kinds.bpf.o").maps["last_seen"]
        seen["02:00:00:00:00:01",] = VALUE
        assert seen == snapshot
"""


def test_b2_a_snapshot_holds_what_is_in_the_map(
    pytester: pytest.Pytester, objects: Objects, neighbours: Neighbours
) -> None:
    objects("map_kinds")
    pytester.makepyfile(test_map=SNAPSHOT.replace("VALUE", "7"))
    neighbours.run("--snapshot-update", plugins=("syrupy",)).assert_outcomes(passed=1)
    (stored,) = (pytester.path / "__snapshots__").iterdir()
    assert "{'octets': '02:00:00:00:00:01'}: 7" in stored.read_text()
    neighbours.run(plugins=("syrupy",)).assert_outcomes(passed=1)
    pytester.makepyfile(test_map=SNAPSHOT.replace("VALUE", "8"))
    result = neighbours.run(plugins=("syrupy",))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*- *octets*: 7,", "*+ *octets*: 8,"])
