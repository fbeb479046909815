"""The house rules between modules: who may import whom, no circles, few local imports, a plain agent."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from support.paths import ROOT
from support.sources import PACKAGE, dotted, each_module, imports, modules, parse, room_of

# The house. Each room (a folder or a module) with the rooms that it may import besides itself, bottom first: a room may
# import only rooms written above it. The longest key that fits a module is its room, so a sub-room has rules of its own
# and "live" is the files of live/ that are in no sub-room. A target in the list includes its sub-rooms.
ROOMS: dict[str, set[str]] = {
    "frozen": set(),
    "helper_history": set(),
    "kernel_versions": set(),
    "suggest": set(),
    "outcome": set(),
    "files": set(),
    "uapi": set(),
    "errors": {"outcome", "uapi"},
    "btf": {"errors", "suggest", "uapi"},
    "obj": {"btf", "errors", "suggest", "uapi"},
    "packets": {"outcome"},
    "pcap_files": {"packets", "errors"},
    "events": {"errors", "suggest", "uapi"},
    "verifier.rejection": {"uapi"},
    "verifier.log": {"verifier.rejection", "errors"},
    "verifier.rejection.classify": {"verifier.log", "verifier.rejection"},
    "verifier.explain": {"verifier.log", "verifier.rejection", "helper_history"},
    "verifier": {"verifier.log", "verifier.rejection", "verifier.explain", "errors"},
    "verifier.extract": {"verifier", "verifier.log", "verifier.rejection", "verifier.explain"},
    "verifier.compare": {"verifier", "errors", "suggest"},
    "verifier.tags": {"verifier.log", "errors", "suggest", "uapi"},
    "agent.ops": {"uapi"},
    "agent.base": {"agent.ops", "uapi"},
    "agent.host": {"agent.ops", "agent.base", "suggest", "uapi"},
    "agent.bpf": {"agent.ops", "agent.base", "agent.host", "uapi"},
    "agent.protocol": {"agent.ops", "agent.base", "agent.host", "agent.bpf", "uapi"},
    "agent": {"agent.protocol"},
    "plan": {"obj", "btf", "agent.ops", "errors", "suggest", "uapi"},
    "kept_loads": {"agent.ops", "btf", "files", "obj", "plan"},
    "rewrite": {"agent.ops", "btf", "obj", "plan", "uapi"},
    "vm.images": {"errors", "suggest", "files"},
    "vm.guest": {"vm.images", "errors", "files", "outcome"},
    "vm": set(),
    "kernels": {"agent", "errors", "outcome", "uapi"},
    "kernels.btf_cache": {"btf", "errors", "files"},
    "kernels.probe_file": {"files"},
    "kernels.running": {
        "kernels.btf_cache",
        "kernels.probe_file",
        "kernels",
        "agent.ops",
        "btf",
        "errors",
        "outcome",
        "plan",
        "vm",
    },
    "kernels.prefetch": {"kernels.running"},
    "kernels.boot": {"kernels.running", "kernels", "vm"},
    "kernels.pool": {"kernels.running", "kernels.prefetch", "kernels.boot", "kernels", "errors", "vm"},
    "charts": {"errors"},
    "suites": set(),
    "tools": {"errors"},
    "live.session": {"agent.ops", "errors", "kernels", "plan"},
    "live.handles": {"live.session", "agent.ops", "errors"},
    "live.switches": {"live.session", "agent.ops"},
    "live.program_function": {"agent.ops", "btf", "errors", "plan", "uapi"},
    "features": {
        *("live.session", "agent.ops", "btf", "errors", "files", "helper_history", "kernels", "obj", "plan", "suggest"),
        *("uapi", "vm"),
    },
    "asm_insns": {"obj", "uapi"},
    "asm": {"asm_insns", "features", "obj"},
    "live.hints": {"live.session", "features", "agent.ops", "errors", "plan", "suggest", "uapi"},
    "live.typed": {"btf", "obj", "errors", "suggest"},
    "live.inspect": {"live.session", "agent.ops", "btf", "errors", "features", "kernels", "obj", "suggest", "uapi"},
    "live.bpffs": {"live.session", "live.inspect", "agent.ops", "errors"},
    "live.run": {
        *("live.session", "live.handles", "live.typed", "agent.ops", "btf", "errors", "obj", "packets", "suggest"),
        "uapi",
        "pcap_files",
    },
    "live.maps": {
        *("live.session", "live.typed", "live.inspect", "live.bpffs", "live.run"),
        *("agent.ops", "btf", "charts", "errors", "events", "obj", "suggest", "uapi"),
    },
    "live.kernel_objects": {"live.session", "live.inspect", "live.maps", "agent.ops", "btf", "obj"},
    "live.machine": {
        *("live.session", "live.handles", "live.inspect", "agent.ops", "errors", "suggest", "suites", "uapi"),
    },
    "live.net": {
        *("live.session", "live.handles", "live.typed", "live.inspect", "live.machine"),
        *("agent.ops", "errors", "packets", "suggest", "uapi"),
    },
    "live.instrument": {
        *(
            "live.session",
            "live.inspect",
            "agent.ops",
            "errors",
            "features",
            "obj",
            "plan",
            "rewrite",
            "suggest",
            "uapi",
        ),
    },
    "live.attach": {
        *("live.session", "live.handles", "live.bpffs", "live.program_function", "live.inspect", "live.maps"),
        "live.switches",
        "live.kernel_objects",
        *("live.machine", "live.net", "agent.ops", "btf", "errors", "features", "obj", "plan", "suggest", "uapi"),
    },
    "live": {
        *("live.session", "live.handles", "live.bpffs", "live.program_function", "live.kernel_objects", "live.hints"),
        *(
            "live.typed",
            "live.inspect",
            "live.run",
            "live.maps",
            "live.machine",
            "live.net",
            "live.attach",
            "live.instrument",
            "agent.ops",
        ),
        *("btf", "errors", "events", "features", "kernels", "kernel_versions", "obj", "packets", "plan", "suggest"),
        *("outcome", "tools", "uapi", "verifier"),
        "pcap_files",
        "kept_loads",
    },
    "live.open_kernel": {"live", "kernels", "vm"},
    "strategies": {
        *("packets", "live", "live.run", "live.maps", "live.typed", "btf", "errors", "suggest"),
    },
    "properties": {
        *("packets", "strategies", "live", "live.maps", "errors", "suggest", "agent.ops", "asm", "uapi"),
    },
    "oracles": {"errors", "packets", "properties"},
    "report": {"verifier", "errors", "outcome"},
    "verify": {
        *("agent.ops", "btf", "errors", "features", "live", "obj", "plan", "report", "suggest", "uapi", "verifier"),
    },
    "cli": {
        *(
            "agent.ops",
            "btf",
            "errors",
            "events",
            "features",
            "helper_history",
            "kernels",
            "live",
            "obj",
            "outcome",
            "packets",
            "plan",
        ),
        *("report", "suggest", "suites", "tools", "uapi", "verifier", "verify", "vm"),
    },
    "coverage_plugin": set(),
    "fixtures": {
        *("agent.ops", "btf", "errors", "events", "features", "files", "kernel_versions", "kernels", "live", "obj"),
        *("outcome", "packets", "report", "rewrite", "suggest", "suites", "tools", "uapi", "verifier", "verify", "vm"),
        "coverage_plugin",
    },
    "plugin": {"fixtures", "live"},
    "plugin_instruments": {"fixtures", "live"},
    "_names": set(),
    "__init__": {
        *(
            "_names",
            "agent.ops",
            "charts",
            "errors",
            "features",
            "fixtures",
            "kernels",
            "live",
            "outcome",
            "packets",
            "properties",
            "pcap_files",
            "uapi",
        ),
        *("verifier", "verify"),
    },
}
EVERYWHERE = {"frozen"}  # what every room may import: how a value is declared
# Function-local imports of own modules are allowed in plugin*.py and cli/ (an installed plugin costs nothing) and here:
# one door per heavy room, opened on first use. module: {room that it imports: why}.
DOORS: dict[str, dict[str, str]] = {
    "agent.protocol.bootstrap": {"agent.protocol": "the first code in a guest: it makes the others importable"},
    "agent.protocol.init": {"agent.protocol": "process 1 mounts first, and imports the agent in its child"},
    "live.load_cache": {
        "tools.headers": "clang for a C header: subprocess and tempfile, which no other load needs",
        "obj.link": "linking several objects into one",
    },
    "kernels.host": {"kernels.child": "an agent in a child process, where bpf() needs sudo"},
    "kernels.pool": {"kernels.boot": "booting a guest: tests on the host do not"},
    "fixtures.marks": {"features": "the table of features, for tests with a bpf_feature marker"},
    "fixtures.runtime": {"features": "probes and their cache, for tests that ask for features"},
    "fixtures.setup": {"fixtures.features": "for tests with a bpf_feature marker"},
    "features": {"features.probe": "probing; naming a feature needs the table alone"},
    "live.hints": {"live.hints.lookup": "hints, for an error of the kernel"},
    "live.inspect": {"live.inspect.query": "what the kernel reports about objects"},
    "live.instrument": {"live.instrument.doubling": "doubles, calls, faults, coverage"},
    "live.load": {"live.rejection": "the parsed log, for a rejected program"},
    "live.loader": {
        "live.attach": "bpf.attached()",
        "live.machine": "bpf.cgroup()",
        "live.net": "bpf.socket(), bpf.process()",
        "live.rejects": "bpf.rejects()",
        "live.kernel_objects": "bpf.loaded",
        "live.object_spec": "bpf.open()",
        "live.pins": "bpf.pinned_map(), bpf.pinned_link(), bpf.pinned_program()",
    },
    "live.bpf_object": {"live.attach": "attaching an object"},
    "live.program": {
        "live.attach": "attaching a program",
        "verifier.verifier_log": "the parsed log of a loaded program",
        "live.seldom": "prog.within(), prog.figures, prog.costs, prog.run_pcap()",
    },
    "live.run.test_run": {"packets.parse": "result.packet"},
    "live.maps.events": {"events.aya_log": "records of aya-log"},
    "live.maps.map": {"live.maps.stacks": "values of a stack trace map"},
    "fixtures.objects.collector": {"fixtures.objects.item": "only for object files that are BPF and have test tags"},
}
MOST_DOORS = 30
MAX_FILES = 30  # in one folder

# What of this package a guest has.
TRAVELS = ("pytest_ebpf.agent", "pytest_ebpf.frozen", "pytest_ebpf.suggest", "pytest_ebpf.uapi")

PURE = {
    *("outcome", "charts", "obj", "btf", "plan", "rewrite", "verifier", "packets", "report", "events", "uapi"),
    *("suggest", "frozen"),
}
IMPURE_MODULES = {"subprocess", "socket", "ctypes", "mmap", "fcntl", "select", "signal"}
ONLY_IN = {"ctypes": {"agent"}, "subprocess": {"vm", "agent", "cli", "tools", "kernels.child"}}


@cache
def sub_room(module: str) -> str:
    """The longest key of ROOMS that a module ("live.maps.map") belongs to, "" when there is none."""
    parts = module.split(".")
    return next((key for end in range(len(parts), 0, -1) if (key := ".".join(parts[:end])) in ROOMS), "")


def within(room: str, rooms: Iterable[str]) -> bool:
    return any(room == one or room.startswith(one + ".") for one in rooms)


class Edge(NamedTuple):
    """One import of an own module: by whom, of what, where, and whether it stands in a function."""

    module: str
    target: str
    line: int
    local: bool

    def __str__(self) -> str:
        return f"{self.module}:{self.line} -> {self.target}"


@cache
def names_of_modules() -> frozenset[str]:
    return frozenset(dotted(path).removesuffix(".__init__") for path in modules())


@cache
def edges() -> tuple[Edge, ...]:
    """Every import of an own module by another, those in functions and under TYPE_CHECKING included."""
    return tuple(edge for path in modules() for edge in _edges(parse(path), dotted(path).removesuffix(".__init__")))


def _edges(tree: ast.AST, module: str, local: bool = False) -> Iterator[Edge]:
    for node in ast.iter_child_nodes(tree):
        for name in _own_names(node):
            if name != module:
                yield Edge(module, name, getattr(node, "lineno", 0), local)
        yield from _edges(node, module, local or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def _own_names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module:
        names = [f"{node.module}.{alias.name}" for alias in node.names]
    else:
        return
    for name in names:
        if name.startswith("pytest_ebpf."):
            own = name.removeprefix("pytest_ebpf.")
            yield own if own in names_of_modules() else own.rpartition(".")[0] or "__init__"


def test_the_dictionary_is_in_the_order_of_the_floors() -> None:
    floors = list(ROOMS)
    for room, targets in ROOMS.items():
        for target in targets:
            assert target in ROOMS, f"{room} may import {target}, which is not a room"
            assert floors.index(target) < floors.index(room), f"{room} may import {target}, which is written below it"


@each_module
def test_arrows_point_down(path: Path) -> None:
    module = dotted(path).removesuffix(".__init__")
    room = sub_room(module)
    assert room, f"{module}: not in a room; add it to ROOMS with what it may import"
    for edge in edges():
        if edge.module != module:
            continue
        target = sub_room(edge.target)
        if target != room:
            own_room = ROOMS[room] | EVERYWHERE
            assert within(target, own_room), f"{edge}: {room} may import {sorted(own_room)}"


def test_no_import_circles() -> None:
    """Not between any two modules: a circle behind a local import or TYPE_CHECKING is a circle."""
    graph: dict[str, set[str]] = {}
    for edge in edges():
        graph.setdefault(edge.module, set()).add(edge.target)
    circles = find_circles(graph)
    assert not circles, "\n".join(" <-> ".join(sorted(circle)) for circle in circles)


def find_circles(graph: Mapping[str, set[str]]) -> list[frozenset[str]]:
    """The strongly connected components of more than one module (of modules that reach each other)."""
    left, found = set(graph), []
    while True:  # what imports nothing that is left, or is imported by nothing that is left, is in no circle
        imported = {target for module in left for target in graph[module]}
        out = {module for module in left if module not in imported or not graph[module] & left}
        if not out:
            break
        left -= out
    reach = {module: reachable(module, graph=graph, within=left) for module in left}
    while left:
        module = min(left)
        circle = frozenset(other for other in reach[module] if module in reach[other]) | {module}
        left -= circle
        if len(circle) > 1:
            found.append(circle)
    return found


def reachable(start: str, *, graph: Mapping[str, set[str]], within: set[str]) -> set[str]:
    seen: set[str] = set()
    todo = [start]
    while todo:
        new = graph[todo.pop()] & within - seen
        seen |= new
        todo.extend(new)
    return seen


def test_circles_are_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"a", "f"}, "f": {"g"}, "g": {"f"}}
    assert sorted(map(sorted, find_circles(graph))) == [["b", "c"], ["f", "g"]]


def test_own_modules_are_imported_at_the_top() -> None:
    used, statements = set(), set()
    for edge in edges():
        if edge.local and not within(edge.module, {"plugin", "plugin_instruments", "cli", "__init__"}):
            statements.add((edge.module, edge.line))
            door = next((room for room in DOORS.get(edge.module, {}) if within(edge.target, {room})), "")
            used.add((edge.module, door))
            assert door, f"{edge}: import it at the top of the file, or list the door in DOORS"
    doors = {(module, room) for module, rooms in DOORS.items() for room in rooms}
    assert doors <= used, f"doors that nobody opens: {sorted(doors - used)}"
    assert len(statements) <= MOST_DOORS, f"{len(statements)} imports in functions"


def test_folders_are_small() -> None:
    for folder in {path.parent for path in modules()}:
        files = len(list(folder.glob("*.py")))
        assert files <= MAX_FILES, f"{folder.relative_to(PACKAGE)} has {files} files: make sub-rooms"


@each_module
def test_dangerous_modules_stay_in_their_room(path: Path) -> None:
    for name, line in imports(parse(path)):
        top = name.split(".")[0]
        if top in ONLY_IN:
            fine = within(dotted(path), ONLY_IN[top])
            assert fine, f"{dotted(path)}:{line} imports {top}, which only {ONLY_IN[top]} may"
        pure = room_of(path) in PURE or dotted(path) == "agent.protocol.wire"
        assert not (pure and top in IMPURE_MODULES), f"{dotted(path)}:{line}: a pure room imports {top}"


@each_module
def test_the_agent_is_standard_library_only(path: Path) -> None:
    for name, line in imports(parse(path)) if room_of(path) == "agent" else ():
        own = name == "pytest_ebpf" or name.startswith(TRAVELS)
        assert own or name.split(".")[0] in sys.stdlib_module_names, f"{dotted(path)}:{line} imports {name}"


def test_every_room_exists() -> None:
    known = names_of_modules() | {"__init__"}
    assert set(ROOMS) <= known, f"rooms without a module: {sorted(set(ROOMS) - known)}"


@pytest.mark.parametrize("name", ["unit", "slow"])
def test_tests_without_a_kernel_mirror_the_rooms(name: str) -> None:
    root = ROOT / "tests" / name
    folders = {path.parent.relative_to(root) for path in root.rglob("test_*.py")}
    strangers = sorted(str(folder) for folder in folders if not (PACKAGE / folder / "__init__.py").exists())
    assert not strangers, f"tests/{name} has folders that are not rooms of pytest_ebpf: {strangers}"


UNFIT_FOR_UNIT = ("hypothesis", "subprocess", "scapy")  # thousands of inputs, processes, seconds of imports


def test_unit_tests_are_quick() -> None:
    """tests/unit takes seconds in all: what takes longer is in tests/slow."""
    for path in sorted((ROOT / "tests" / "unit").rglob("*.py")):
        for name, line in imports(parse(path)):
            assert not name.startswith(UNFIT_FOR_UNIT), f"{path.relative_to(ROOT)}:{line}: {name}: to tests/slow"


def test_test_folders_are_not_packages() -> None:
    packages = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("__init__.py"))
    assert packages == ["tests/support/__init__.py"], "pytest imports test files by path (--import-mode=importlib)"
