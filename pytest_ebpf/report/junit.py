"""JUnit files of several runs, shards and machines -> one, with a suite per kernel (``pytest-ebpf merge``).

pytest's own files have one suite and put what is known of a kernel on each case (``fixtures.runs.junit``). The library
that writes the joined file knows properties of suites only: those of a kernel go there, those of a case
into its output.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.report.record import KernelRecord, ProgramRecord, RunRecord, merge_kernels

__all__ = ["Case", "JUnitFile", "Merged", "merge_junit", "read_junit", "render_junit"]

_OTHERS = "without a kernel"
_RESULTS = ("failure", "error", "skipped")
_INSNS, _VERDICT = "bpf.insns.", "bpf.verdict."


@dataclass(frozen=True, slots=True)
class Case:
    """One test on one kernel. ``result`` is failure, error, skipped or "" for passed; ``record`` is None for a test
    that uses no kernel."""

    classname: str
    name: str
    seconds: float
    result: str
    message: str
    text: str
    output: str
    properties: Mapping[str, str]
    record: RunRecord | None

    @property
    def key(self) -> tuple[str, str]:
        """Test and kernel."""
        if self.record is None:
            return f"{self.classname}::{self.name}", ""
        return self.record["test"], self.record["kernel"]


@dataclass(frozen=True, slots=True)
class JUnitFile:
    """``shard`` is (number, of how many), None for a whole run; ``suite`` names the tests that were split; ``kernels``
    are the columns of the run."""

    name: str
    cases: tuple[Case, ...]
    shard: tuple[int, int] | None
    suite: str
    kernels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Merged:
    """Each test on each kernel once; ``notes`` are for the user."""

    cases: tuple[Case, ...]
    kernels: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def records(self) -> list[RunRecord]:
        """Those of the tests that use a kernel."""
        return [case.record for case in self.cases if case.record is not None]


def read_junit(data: bytes, *, name: str) -> JUnitFile:
    """What pytest wrote with ``--junitxml``. ``BpfUsageError`` for anything else."""
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError) as error:
        hint = "was the run that wrote it killed?" if data.strip() else "it is empty: was the run that wrote it killed?"
        raise BpfUsageError(f"{name}: no XML ({error})", hint=hint) from None
    suites = [root] if root.tag == "testsuite" else root.findall("testsuite")
    if root.tag not in ("testsuite", "testsuites") or not suites:
        raise BpfUsageError(f"{name}: no JUnit file: its root is <{root.tag}>", hint="pass files of pytest --junitxml")
    known = {key: value for suite in suites for key, value in _properties(suite).items()}
    if "bpf.kernels" not in known:
        hint = "pass files that pytest --junitxml wrote with this plugin; a merged file cannot be merged again"
        raise BpfUsageError(f"{name}: a JUnit file without kernels: its suite has no property bpf.kernels", hint=hint)
    cases = tuple(_case(element, name=name) for suite in suites for element in suite.findall("testcase"))
    kernels = tuple(kernel for kernel in known["bpf.kernels"].split(",") if kernel)
    return JUnitFile(name, cases, _shard(known.get("bpf.shard", ""), name=name), known.get("bpf.suite", ""), kernels)


def _properties(element: ElementTree.Element) -> dict[str, str]:
    found = element.findall("properties/property")
    return {one.get("name", ""): one.get("value", "") for one in found}


def _shard(text: str, *, name: str) -> tuple[int, int] | None:
    number, _, of = text.partition("/")
    if not text:
        return None
    if not (number.isdigit() and of.isdigit() and 1 <= int(number) <= int(of)):
        raise BpfUsageError(f"{name}: bpf.shard is {text!r}, expected such as 2/5")
    return int(number), int(of)


def _case(element: ElementTree.Element, *, name: str) -> Case:
    result = next((kind for kind in _RESULTS if element.find(kind) is not None), "")
    detail = element.find(result) if result else None
    properties = _properties(element)
    try:
        seconds = float(element.get("time", "0"))
        record = _record(properties, seconds=seconds) if "bpf.kernel" in properties else None
    except (KeyError, ValueError) as error:
        where = f"{element.get('classname')}::{element.get('name')}"
        raise BpfUsageError(f"{name}: {where}: properties of the case are damaged: {error}") from None
    return Case(
        classname=element.get("classname", ""),
        name=element.get("name", ""),
        seconds=seconds,
        result=result,
        message=detail.get("message", "") if detail is not None else "",
        text=(detail.text or "") if detail is not None else "",
        output="\n".join(filter(None, (element.findtext("system-out"), element.findtext("system-err")))),
        properties={key: value for key, value in properties.items() if key.startswith("bpf.")},
        record=record,
    )


def _record(properties: Mapping[str, str], *, seconds: float) -> RunRecord:
    counts = {key.removeprefix(_INSNS): int(value) for key, value in properties.items() if key.startswith(_INSNS)}
    verdicts = [key.removeprefix(_VERDICT) for key in properties if key.startswith(_VERDICT)]
    names = dict.fromkeys([*verdicts, *counts])
    record = RunRecord(
        test=properties["bpf.test"],
        kernel=properties["bpf.kernel"],
        outcome=properties["bpf.result"],
        kind=properties.get("bpf.outcome", ""),
        reason=properties.get("bpf.reason", ""),
        line=int(properties.get("bpf.line", "0")),
        programs=[ProgramRecord(name=name, insns=counts.get(name, -1), states=-1, stack=-1) for name in names],
        seconds=seconds,
    )
    if "bpf.release" in properties:
        boots = [float(properties["bpf.boot_seconds"])] if "bpf.boot_seconds" in properties else []
        release, accel = properties["bpf.release"], properties.get("bpf.accelerator", "")
        record["machine"] = KernelRecord(id=record["kernel"], release=release, accel=accel, note="", boots=boots)
    return record


def merge_junit(files: Sequence[JUnitFile]) -> Merged:
    """Of a test that was run again, and of one that several files have, the last counts.

    ``BpfUsageError`` for shards that do not belong together, and for missing ones.
    """
    _check_shards(files)
    cases: dict[tuple[str, str], Case] = {}
    homes: dict[tuple[str, str], set[str]] = {}
    for file in files:
        for case in file.cases:
            cases[case.key] = case
            homes.setdefault(case.key, set()).add(file.name)
    twice = [key for key, names in homes.items() if len(names) > 1]
    notes = []
    if twice:
        (test, kernel), names = twice[0], ", ".join(sorted(homes[twice[0]]))
        on = f" on {kernel}" if kernel else ""
        notes.append(f"{len(twice)} tests are in several files, such as {test}{on} in {names}: the last one counts")
    kernels = dict.fromkeys(kernel for file in files for kernel in file.kernels)
    order = {kernel: place for place, kernel in enumerate(kernels)}
    ordered = sorted(cases.values(), key=lambda case: order.get(case.key[1], -1))
    return Merged(tuple(ordered), tuple(kernels), tuple(notes))


def _check_shards(files: Sequence[JUnitFile]) -> None:
    shards = [file for file in files if file.shard is not None]
    if not shards:
        return
    if len(shards) < len(files):
        whole = next(file.name for file in files if file.shard is None)
        raise BpfUsageError(f"{whole} is a whole run, {shards[0].name} a shard: their tests would count twice")
    counts = {file.shard[1] for file in shards if file.shard}
    if len(counts) > 1 or len({file.suite for file in shards}) > 1:
        names = ", ".join(f"{file.name} ({file.shard[0]}/{file.shard[1]})" for file in shards if file.shard)
        hint = "merge the files of one run, whose jobs all have the same pytest cache (bpf/seconds), or none"
        raise BpfUsageError(f"shards of different runs: {names}", hint=hint)
    numbers = [file.shard[0] for file in shards if file.shard]
    of = counts.pop()
    if missing := sorted(set(range(1, of + 1)) - set(numbers)):
        words = ", ".join(f"{number}/{of}" for number in missing)
        raise BpfUsageError(f"missing shards: {words}", hint="did their jobs fail before they wrote a file?")
    if twice := sorted({number for number in numbers if numbers.count(number) > 1}):
        raise BpfUsageError(f"shard {twice[0]}/{of} is there more than once")


def render_junit(merged: Merged) -> str:
    """The joined file, valid by the schema that Jenkins reads results with (junit-10.xsd of its xUnit plugin)."""
    import junit_xml

    groups: dict[str, list[Case]] = {}
    for case in merged.cases:
        groups.setdefault(case.key[1], []).append(case)
    machines = merge_kernels(merged.records)
    suites = [
        junit_xml.TestSuite(
            kernel or _OTHERS,
            [_made(case) for case in cases],
            properties=_suite_properties(kernel, machine=machines.get(kernel)) or None,
        )
        for kernel, cases in groups.items()
    ]
    root = ElementTree.fromstring(junit_xml.to_xml_report_string(suites, encoding="utf-8").encode())
    for element in root.iter():
        # junit-xml counts what is disabled, which that schema does not know, and writes 0.00005 s as 5e-05.
        element.attrib.pop("disabled", None)
        if "time" in element.attrib:
            element.set("time", f"{float(element.attrib['time']):.6f}")
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode")


def _suite_properties(kernel: str, *, machine: KernelRecord | None) -> dict[str, str]:
    if not kernel:
        return {}
    found = {"bpf.kernel": kernel}
    if machine is not None:
        found |= {"bpf.release": machine["release"], "bpf.accelerator": machine["accel"]}
        if machine["boots"]:
            found["bpf.boot_seconds"] = " + ".join(f"{seconds:.3f}" for seconds in machine["boots"])
    return found


def _made(case: Case) -> Any:
    import junit_xml

    made = junit_xml.TestCase(case.name, case.classname, case.seconds, "\n".join(_output(case)))
    if case.result == "failure":
        made.add_failure_info(case.message or "failed", case.text)
    elif case.result == "error":
        made.add_error_info(case.message or "error", case.text)
    elif case.result == "skipped":
        made.add_skipped_info(case.message or case.text or "skipped", case.text)
    return made


def _output(case: Case) -> Iterable[str]:
    yield from (f"{name}: {value}" for name, value in case.properties.items())
    if case.output:
        yield case.output
