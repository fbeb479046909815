"""pytest-asyncio and the plugin of anyio beside ours: tests that are coroutines (B of "the plugin tells the truth")."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from support.neighbours import TWO_COLUMNS, Neighbours
from support.paths import TESTS

Objects = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Way:
    """How a project has its coroutines run. ``head``: how its files of tests begin."""

    plugin: str
    head: str
    arguments: tuple[str, ...] = ()
    backends: tuple[str, ...] = ("",)  # as they stand in the ids of tests

    def rows(self, **signs: str) -> list[str]:
        """Of the matrix: each test, on each backend."""
        return [rf"  {re.escape(name + backend)} +{sign}" for name, sign in signs.items() for backend in self.backends]


WAYS = {
    "strict": Way(
        "asyncio",
        "import pytest_asyncio\nMARK = pytest.mark.asyncio\nFIXTURE = pytest_asyncio.fixture",
        ("--asyncio-mode=strict",),
    ),
    "auto": Way("asyncio", "MARK = lambda test: test\nFIXTURE = pytest.fixture", ("--asyncio-mode=auto",)),
    "anyio": Way("anyio", "MARK = pytest.mark.anyio\nFIXTURE = pytest.fixture", backends=("[asyncio]", "[trio]")),
}
# What an event loop complains of is an error, but for what the oldest pytest-asyncio says of itself.
STRICT = (
    "-p",
    "no:cacheprovider",
    "-W",
    "error::ResourceWarning",
    "-W",
    "error::pytest.PytestUnraisableExceptionWarning",
)

Run = Callable[..., pytest.RunResult]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    return WAYS[request.param]


@pytest.fixture
def run(pytester: pytest.Pytester, objects: Objects, neighbours: Neighbours, way: Way) -> Run:
    """``run(tests, *arguments)`` in that way, with the objects that the tests below use."""
    objects("exec_tracer", "config")
    for name in ("records", "aya_log"):
        shutil.copy(TESTS / f"objects/built/{name}.bpf.o", pytester.path)

    def run(tests: str, *arguments: str, plugins: tuple[str, ...] = ()) -> pytest.RunResult:
        text = "\n".join(["import anyio", "import pytest", way.head, tests])
        pytester.path.joinpath("test_it.py").write_text(text)
        pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function" * (way.plugin == "asyncio"))
        return neighbours.run(*STRICT, *way.arguments, *arguments, plugins=(way.plugin, *plugins))

    return run


EVENTS = """
async def traffic(prog, *sizes):
    for size in sizes:
        prog.run(bytes(size))
        await anyio.sleep(0.01)

@FIXTURE
async def records(bpf):
    async with bpf.load("records.bpf.o") as obj:
        yield obj

@MARK
async def test_records(records):
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(traffic, records["write"], 64, 64, 64, 64)
        seen = []
        async for record in records.maps["events"].follow(timeout=20):
            seen.append(record["number"])
            if len(seen) == 3:
                break
    assert seen == [0, 1, 3]  # the program discards every third

@MARK
async def test_events(bpf, bpf_vm):
    obj = bpf.load("exec_tracer.bpf.o")
    async with obj.attach(), anyio.create_task_group() as tasks:
        async def start():
            await anyio.sleep(0.01)
            bpf_vm.run(["/bin/true"]).check()
        tasks.start_soon(start)
        async for record in obj.maps["events"].follow(timeout=20):
            if record["comm"] == "true":
                break

@MARK
async def test_logs(bpf, bpf_log):
    async with bpf.load("aya_log.bpf.o") as obj:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(traffic, obj["log_len"], 64, 65, 66)
            seen = []
            async for record in bpf_log.follow(timeout=20):
                seen.append(record["args"][0])
                if len(seen) == 3:
                    break
        assert seen == [64, 65, 66]
        obj["log_len"].run(bytes(67))
        assert [record["args"][0] async for record in obj.aya_logs.follow(timeout=0.05)] == [67]

@MARK
async def test_fails(records):
    records["write"].run(bytes(64))
    await anyio.sleep(0)
    assert records.maps["events"].events() == [{"number": 9, "kind": 0}]

@MARK
@pytest.mark.bpf_budget(insns=1)
async def test_budget(bpf):
    async with bpf.load("records.bpf.o"):
        pass

@MARK
@pytest.mark.bpf_xfail(kernel=">=4", reason="not rejected")
async def test_expected(bpf):
    with bpf.rejects():
        bpf.load("records.bpf.o")

@MARK
async def test_calls(bpf):
    obj = bpf.load("records.bpf.o")
    obj["write"].run(bytes(64))
    assert [call.function for call in obj.calls()] == ["bpf_ringbuf_reserve", "bpf_ringbuf_submit"]
"""


def test_b_tests_that_are_coroutines(run: Run, way: Way) -> None:
    """``async with`` and ``async for`` over events and messages, while other tasks send traffic."""
    result = run(EVENTS)
    times = len(way.backends)
    result.assert_outcomes(passed=4 * times, failed=2 * times, xfailed=times)
    signs = {"test_records": "✓", "test_events": "✓", "test_logs": "✓", "test_fails": "✗", "test_budget": "✗"}
    result.stdout.re_match_lines(way.rows(**signs, test_expected="x", test_calls="✓"))


SCOPES = """
@FIXTURE(scope="module")
async def shared(bpf_shared):
    yield bpf_shared.load("records.bpf.o")
@MARK
@pytest.mark.parametrize("n", range(3))
async def test_a(shared, n):
    assert shared["write"].run(bytes(64)).retval == 2
@MARK
@pytest.mark.parametrize("n", range(3))
async def test_b(bpf, n):
    await anyio.sleep(0)
    bpf.load("config.bpf.o")
"""


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["alone", "xdist"])
def test_b_each_kernel_boots_once(pytester: pytest.Pytester, run: Run, way: Way, workers: tuple[str, ...]) -> None:
    """Also where backends, loops and fixtures are of a module."""
    pytester.makeconftest(TWO_COLUMNS + BACKEND_OF_A_MODULE * (way.plugin == "anyio"))
    tests = SCOPES if way.plugin == "anyio" else LOOP_OF_A_MODULE + SCOPES.replace("@MARK\n", "")
    result = run(tests, "-o", "asyncio_default_fixture_loop_scope=module", *workers)
    result.assert_outcomes(passed=18 * len(way.backends))
    boots = (pytester.path / "boots").read_text().splitlines()
    assert sorted(line.partition(" ")[0] for line in boots) == ["6.1", "6.12"], boots


LOOP_OF_A_MODULE = """
from importlib.metadata import version
recent = int(version("pytest-asyncio").split(".")[0]) > 0
pytestmark = pytest.mark.asyncio(**{"loop_scope" if recent else "scope": "module"})
"""
BACKEND_OF_A_MODULE = """
    import pytest
    @pytest.fixture(scope="module", params=["asyncio", "trio"])
    def anyio_backend(request):
        return request.param
"""


def test_b_a_coroutine_that_passes_when_repeated_passed(run: Run, way: Way) -> None:
    tests = """
tries = []
@MARK
async def test_second(bpf, request):
    tries.append(request.node.nodeid)
    await anyio.sleep(0)
    assert tries.count(request.node.nodeid) == 2
"""
    result = run(tests, "--reruns=1", plugins=("rerunfailures",))
    result.assert_outcomes(passed=len(way.backends))
    result.stdout.re_match_lines(way.rows(test_second="✓"))


GIVEN = """
from hypothesis import given, settings, strategies as st
@MARK
@given(data=st.binary(min_size=64, max_size=64))
@settings(max_examples=5, database=None, deadline=None)
async def test_given(bpf_shared, data):
    assert bpf_shared.load("records.bpf.o")["write"].run(data).retval == 2
    await anyio.sleep(0)
"""


def test_b_examples_of_hypothesis_are_coroutines(run: Run, way: Way) -> None:
    result = run(GIVEN)
    result.assert_outcomes(passed=len(way.backends))
    result.stdout.re_match_lines(way.rows(test_given="✓"))
