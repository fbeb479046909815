"""Do the kernel's own selftests pass? Every object with expectations in a folder, unchanged, as pytest items.

    python benchmarks/selftests.py FOLDER [--kernels host,6.12] [--tests "6.12.117"] [--report FILE.md] [--keep DIR]
                                   [--again]

FOLDER holds compiled objects (``NAME.o`` or ``NAME.bpf.o``) of tools/testing/selftests/bpf/progs. What runs is plain
``pytest`` on a directory of links to them; the only addition is a conftest.py that fills the maps which the kernel's
own runner fills before it runs a program (prog_tests/verifier.c). On ``host`` the sysctl
kernel.unprivileged_bpf_disabled is 0 for the time of the run, and then what it was. Exit code 1 when fewer than 95 %
of the items that need no test module pass on some kernel. Needs the right to load programs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from selftests_report import Item, needs_module, render_report, render_summary, share

__all__ = ["main"]

_ENOUGH = 0.95
_CHUNK = 20  # objects in one run: a guest's memory is small, and it holds what is loaded until a test ends
_UNPRIVILEGED = Path("/proc/sys/kernel/unprivileged_bpf_disabled")
_TAG = b"comment:"

# init_array_access_maps() and init_value_ptr_arith_maps() of prog_tests/verifier.c: struct test_val with index 28 and
# foo[6] = 0xabcdef12
_CONFTEST = """
import struct

import pytest
from pytest_ebpf.agent.ops import Spawn

FILLED = {"verifier_array_access": "map_array_ro", "verifier_value_ptr_arith": "map_array_48b"}
VALUE = struct.pack("<12I", 28, *[0] * 6, 0xABCDEF12, *[0] * 4)

# What the selftests' own configuration (config) builds into the kernel, and distributions build as a module.
MODULES = ("nf_conntrack", "nf_nat")

@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    done = yield
    session = getattr(item, "_session", None)
    ready = item.config.stash.setdefault(READY, set())
    if session is not None and not session.target.local and id(session.target) not in ready:
        ready.add(id(session.target))
        session.target.kernel.run([Spawn(("modprobe", "-a", *MODULES))])
    return done

READY = pytest.StashKey()

def pytest_bpf_object_loaded(item, loaded):
    name = FILLED.get(item.path.name.removesuffix(".bpf.o"))
    if name:
        from pytest_ebpf.agent.ops import Done, MapSet
        target = loaded.maps[name]
        target._session.one(MapSet(target.handle, bytes(4), VALUE), Done)
"""


def main() -> int:
    """Run, print the summary, write the report."""
    arguments = _arguments()
    items: list[Item] = []
    with tempfile.TemporaryDirectory() as given:
        place = arguments.keep or Path(given)
        objects = _lay_out(arguments.folder, place)
        for kernel in arguments.kernels.split(","):
            with _unprivileged_allowed(kernel):
                items += _run(place, objects, kernel=kernel, again=arguments.again)
    print(render_summary(items))
    if arguments.report:
        arguments.report.write_text(render_report(items, tests=arguments.tests))
    return 0 if items and all(share(items, kernel) >= _ENOUGH for kernel in {item.kernel for item in items}) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kernels", default="host")
    parser.add_argument("--tests", default="", help="the release that the objects come from, for the report")
    parser.add_argument("--report", type=Path)
    parser.add_argument("--keep", type=Path, help="where to leave what was run, and the results; what is there counts")
    parser.add_argument("--again", action="store_true", help="run once more what did not pass")
    return parser.parse_args()


def _lay_out(folder: Path, place: Path) -> list[Path]:
    """Links under the names that the kernel's Makefile gives, for some tests name other objects; the tagged ones."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "conftest.py").write_text(_CONFTEST)
    (place / "pytest.ini").write_text("[pytest]\n")
    tagged = []
    for path in sorted(folder.glob("*.o")):
        link = place / f"{path.name.removesuffix('.o').removesuffix('.bpf')}.bpf.o"
        link.unlink(missing_ok=True)
        link.symlink_to(path.resolve())
        if _TAG in path.read_bytes():
            tagged.append(link)
    if not tagged:
        sys.exit(f"{folder} has no object with expectations")
    return tagged


@contextmanager
def _unprivileged_allowed(kernel: str) -> Iterator[None]:
    """Guests are switched by the items themselves; this machine is not theirs to change."""
    before = _UNPRIVILEGED.read_text() if kernel == "host" else ""
    if before.strip() == "2":
        _UNPRIVILEGED.write_text("0")
    try:
        yield
    finally:
        if before.strip() == "2":
            _UNPRIVILEGED.write_text(before)


def _run(place: Path, objects: Sequence[Path], *, kernel: str, again: bool) -> list[Item]:
    """Objects whose results are in ``place`` are not run again: a run that is cut goes on behind them."""
    found = _kept(place, kernel=kernel)
    missing = [path for path in objects if _is_to_run(found.get(_stem(path)), again=again)]
    for start in range(0, len(missing), _CHUNK):
        chunk = missing[start : start + _CHUNK]
        results = place / f"{kernel}-{time.time_ns()}.xml"
        _run_chunk(place, chunk, kernel=kernel, results=results)
        new = _by_object(_read(results, kernel=kernel))
        found |= new
        items = [item for group in new.values() for item in group]
        passed = sum(item.outcome == "passed" for item in items)
        print(f"{kernel}: {start + len(chunk)} of {len(missing)} objects: {passed} of {len(items)} items passed")
        sys.stdout.flush()
    return [item for path in objects for item in found.get(_stem(path), ())]


def _kept(place: Path, *, kernel: str) -> dict[str, list[Item]]:
    """What earlier runs found, by object; the newest counts."""
    found: dict[str, list[Item]] = {}
    for results in sorted(place.glob(f"{kernel}-*.xml")):
        found |= _by_object(_read(results, kernel=kernel))
    return found


def _by_object(items: Iterable[Item]) -> dict[str, list[Item]]:
    found: dict[str, list[Item]] = {}
    for item in items:
        found.setdefault(item.object, []).append(item)
    return found


def _is_to_run(known: Sequence[Item] | None, *, again: bool) -> bool:
    return known is None or (again and any(item.outcome != "passed" and not needs_module(item) for item in known))


def _stem(path: Path) -> str:
    return path.name.removesuffix(".bpf.o")


def _run_chunk(place: Path, chunk: Sequence[Path], *, kernel: str, results: Path) -> None:
    unfinished = results.with_suffix(".part")
    argv = [sys.executable, "-m", "pytest", "-q", "--tb=short", f"--junitxml={unfinished}", f"--bpf-kernels={kernel}"]
    argv += ["-p", "no:cacheprovider", "--bpf-no-matrix", "-o", "junit_logging=no", *(path.name for path in chunk)]
    environment = {key: value for key, value in os.environ.items() if key != "PYTEST_ADDOPTS"}
    ran = subprocess.run(argv, cwd=place, env=environment, capture_output=True, text=True, check=False)
    if not unfinished.exists():
        sys.exit(ran.stdout[-4000:] + ran.stderr[-4000:])
    unfinished.rename(results)


def _read(results: Path, *, kernel: str) -> Iterator[Item]:
    for case in ElementTree.parse(results).iter("testcase"):
        outcome, text = "passed", ""
        for child in case:
            if child.tag in ("failure", "error", "skipped"):
                outcome = {"failure": "failed"}.get(child.tag, child.tag)
                text = (child.text or "") if child.tag != "skipped" else child.get("message", "")
        name = (case.get("name") or "").rpartition("[")[0]
        obj = (case.get("classname") or "").rpartition(".bpf")[0].rpartition(".")[2]
        yield Item(obj, name, kernel, outcome, text)


if __name__ == "__main__":
    sys.exit(main())
