"""``bpf_benchmark``: what programs cost by the kernel's clock, stored and compared. tests/vm has it in guests."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from support.paths import TESTS

LONG_RUN = TESTS / "objects/built/long_run.bpf.o"
Objects = Callable[..., None]

TWO = """
    import pytest
    @pytest.mark.parametrize("size", [60, 100])
    def test_cost(bpf, bpf_benchmark, size):
        police = bpf.load("config.bpf.o")["police"]
        firewall = bpf.load("xdp_firewall.bpf.o")["firewall"]
        for prog in (police, firewall, police):
            bpf_benchmark(prog, bytes(size), rounds=2, warmup=0)
"""


def test_benchmark(pytester: pytest.Pytester, objects: Objects) -> None:
    """Statistics named as pytest-benchmark's, stored, compared, and a limit."""
    objects("config")
    pytester.makepyfile(
        """
        def test_cost(bpf, bpf_benchmark):
            prog = bpf.load("config.bpf.o")["police"]
            measured = bpf_benchmark(prog, bytes(100), rounds=3)
            s = bpf_benchmark.stats
            assert 0 < s.min <= s.median <= s.max and s.rounds == 3 and s.iterations >= 100
            assert measured.jited > 0 and measured.insns == prog.loaded_insns
        """
    )
    result = pytester.runpytest("--bpf-kernels=host", "--bpf-benchmark-save=stored.json")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["*eBPF benchmarks (ns per run)*", "host  police: * ns per run (min *bytes of machine code"]
    )
    compare = ("--bpf-kernels=host", "--bpf-benchmark-compare=stored.json")
    pytester.runpytest(*compare, "--bpf-benchmark-fail=median:100000%").assert_outcomes(passed=1)
    stored = pytester.path / "stored.json"
    stored.write_text(stored.read_text().replace('"median": ', '"median": 0.00001, "was": '))
    result = pytester.runpytest(*compare, "--bpf-benchmark-fail=median:1%")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*police: median * ns, stored * ns: over median:1%*"])
    pytester.runpytest(*compare, "--bpf-benchmark-fail=fast").assert_outcomes(failed=1)


def rows_of(text: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(text)["benchmarks"]
    return found


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["alone", "xdist"])
def test_benchmarks_in_the_order_of_their_tests(
    pytester: pytest.Pytester, objects: Objects, workers: tuple[str, ...]
) -> None:
    """Wherever the tests ran; what was stored is found again for each."""
    objects("config", "xdp_firewall")
    pytester.makepyfile(test_it=TWO)
    arguments = ("--bpf-kernels=host", *workers)
    result = pytester.runpytest_subprocess(*arguments, "--bpf-benchmark-save=stored.json")
    result.assert_outcomes(passed=2)
    stored = pytester.path / "stored.json"
    rows = rows_of(stored.read_text())
    assert [(row["fullname"], row["name"]) for row in rows] == [
        (f"test_it.py::test_cost[{size}]", name) for size in (60, 100) for name in ("police", "firewall", "police")
    ]
    for number, row in enumerate(rows):
        row["stats"]["median"] = 10.0 ** (number - 2)  # type: ignore[index]  # JSON
    stored.write_text(json.dumps({"benchmarks": rows[:-1]}))
    result = pytester.runpytest_subprocess(*arguments, "--bpf-benchmark-compare=stored.json")
    lines = [line for line in result.stdout.lines if line.startswith("host  ") and "ns per run" in line]
    changes = [float(line.split()[-6]) for line in lines[:-1]]
    assert changes == sorted(changes, reverse=True), lines
    assert lines[-1].endswith("(not in the stored run)")


def test_a_slow_program_has_few_runs_in_a_round(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        f"""
        def test_slow(bpf, bpf_benchmark):
            obj = bpf.load({str(LONG_RUN)!r})
            obj.globals["nanoseconds"] = 3_000_000
            measured = bpf_benchmark(obj["linger"], bytes(64), rounds=2, warmup=0)
            assert measured.stats.iterations == 1
            assert measured.stats.min >= 3_000_000
        """
    )
    pytester.runpytest("--bpf-kernels=host").assert_outcomes(passed=1)
