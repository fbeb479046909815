"""Do the kernel's own selftests pass? Every object with expectations in a folder, unchanged, as pytest items.

    python benchmarks/selftests.py FOLDER [--kernels host,6.12] [--tests "6.12.117"] [--report FILE.md] [--keep DIR]

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
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from selftests_report import Item, render_report, render_summary, share

__all__ = ["main"]

_ENOUGH = 0.95
_CHUNK = 40  # objects in one run: a guest's memory is small, and it holds what is loaded until a test ends
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
                items += _run(place, objects, kernel=kernel)
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
    parser.add_argument("--keep", type=Path, help="where to leave what was run, and the results")
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


def _run(place: Path, objects: Sequence[Path], *, kernel: str) -> Iterator[Item]:
    for start in range(0, len(objects), _CHUNK):
        chunk = objects[start : start + _CHUNK]
        print(f"\r\x1b[K{kernel}: {start} of {len(objects)} objects", end="", file=sys.stderr, flush=True)
        results = place / f"{kernel}-{start}.xml"
        argv = [sys.executable, "-m", "pytest", "-q", "--tb=short", f"--junitxml={results}", f"--bpf-kernels={kernel}"]
        argv += ["-p", "no:cacheprovider", "--bpf-no-matrix", "-o", "junit_logging=no", *(path.name for path in chunk)]
        environment = {key: value for key, value in os.environ.items() if key != "PYTEST_ADDOPTS"}
        ran = subprocess.run(argv, cwd=place, env=environment, capture_output=True, text=True, check=False)
        if not results.exists():
            sys.exit(ran.stdout[-4000:] + ran.stderr[-4000:])
        yield from _read(results, kernel=kernel)
    print("\r\x1b[K", end="", file=sys.stderr)


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
