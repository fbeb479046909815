"""Comparisons to text: a table per project, every difference, and what could not be compared."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from textwrap import fill

from compare import ONLY_LIBBPF, ONLY_WE, Comparison, Program

__all__ = ["Page", "render_report", "render_summary"]

_COLUMNS = ("objects", "apart", "programs", "loaded", "refused", "differ")

# What a difference looks like -> why it is. The first row that fits counts.
_REASONS: tuple[tuple[str, str], ...] = (
    (
        r"(only we load it|libbpf at the stage map)\b.*(map '\w+': failed to create: -EINVAL)",
        "The object gives a ring buffer or a perf event array a value type. libbpf passes its size on, and the kernel "
        "refuses the map; we leave out what such maps do not have, as Aya and cilium/ebpf do.",
    ),
    (
        r"^struct_ops.* only we load it .*failed to load",
        "libbpf can load the programs of a struct_ops table only together: another one, which calls a kernel function "
        "that this kernel lacks, is refused, and takes these along.",
    ),
)
_WALK_OF_WRAPPERS = (
    "The program asks whether system calls have wrappers (LINUX_HAS_SYSCALL_WRAPPER, which BPF_KSYSCALL reads). libbpf "
    "finds out by creating a kprobe, and says no on a kernel that has no kprobes; we look the wrapper up in the "
    "kernel's types. So the verifier walks the other branch."
)
_UNEXPLAINED = "No reason is known yet."
_HEAD = """\
# Agreement with libbpf

Written by `benchmarks/agree.py`; `benchmarks/README.md` says where the objects come from.

Objects of other projects were loaded by libbpf {libbpf} and by us, on each kernel below. libbpf loads each program
alone, so that one refusal hides no other; we load each object in one batch, and once more alone what only libbpf loads
(a program array belongs to its first user). Programs agree when both load and the
verifier processed the same number of instructions, or when both are refused; if the verifier refused both, it has to
have processed the same number of instructions until then. What fails before the verifier has to fail at the same stage:
in the loader (a kernel function or attach target that this kernel lacks), at a map that the kernel does not take, or
when the kernel is asked to load the program (`fentry` and its kin where a policy forbids them).

Programs in sections that libbpf has no type for (`classifier/x`, `socket/x`: the dialect of other loaders) were told
the type that we know. For a kernel symbol that one program lacks libbpf refuses all programs of an object, and we that
program; such programs were put to libbpf in a copy of their object whose symbols are weak. Both sides set what objects
leave open for their user space, such as `max_entries` of 0. Objects of the other byte order are refused by both and
not counted.{part}

| kernel | objects | programs | the same | differ | only libbpf loads | only we load |
|---|---:|---:|---:|---:|---:|---:|
"""
_KERNEL = """
## Linux {release}

Of {refused:,} programs that both refuse the verifier walked {walked:,}, as far with both. {told} programs were told
their type, {weakened} were put to libbpf in a copy with weak symbols.
"""


@dataclass(frozen=True, slots=True)
class Page:
    """What was found on a kernel. ``spec``: how it was asked for; ``release``: of the kernel."""

    spec: str
    release: str
    found: tuple[Comparison, ...]


def render_summary(found: Sequence[Comparison]) -> str:
    """A table with a line per project, and a line per difference and internal error."""
    form = "{:36} " + "{:>9}" * len(_COLUMNS)
    lines = [form.format("project", *_COLUMNS)]
    lines += [form.format(project, *_counts(group)) for project, group in _by_project(found)]
    lines += [form.format("all", *_counts(found)), _rate(found)]
    lines += [f"  {_place(program)}: {_told(program)}" for program in _differing(found)]
    lines += [f"  internal error on {one.ours.path}:\n{one.ours.internal}" for one in found if one.ours.internal]
    return "\n".join(lines)


def render_report(pages: Sequence[Page], *, libbpf: str, part: str = "") -> str:
    """The same as Markdown, with the reason of each difference. ``libbpf``: its version; ``part``: a sentence on what
    was taken of the projects."""
    lines = [_HEAD.format(libbpf=libbpf, part=part).rstrip()]
    lines += map(_overview, pages)
    for page in pages:
        lines += _kernel(page)
    return "\n".join(lines).rstrip() + "\n"


def _overview(page: Page) -> str:
    programs = [program for one in page.found for program in one.programs]
    differences = Counter(program.difference for program in programs)
    same = differences.pop("", 0)
    counts = (len(page.found), len(programs), same, len(programs) - same)
    told = [differences[ONLY_LIBBPF], differences[ONLY_WE]]
    return f"| {page.release} | " + " | ".join(f"{count:,}" for count in (*counts, *told)) + " |"


def _kernel(page: Page) -> list[str]:
    """The section of one kernel."""
    rows = ["| project | " + " | ".join(_COLUMNS) + " |", "|---|" + "---:|" * len(_COLUMNS)]
    for project, group in [*_by_project(page.found), ("**all**", list(page.found))]:
        rows.append(f"| {project} | " + " | ".join(map(str, _counts(group))) + " |")
    lines = [_numbers(page), *rows, "", f"{_rate(page.found).capitalize()}.", "", "### Differences", ""]
    for reason, programs in _by_reason(page.found):
        lines += [fill(f"**{len(programs)} programs.** {reason}", 120), ""]
        lines += [f"- `{_place(program)}`: {_difference(program, reason)}" for program in programs]
        lines.append("")
    if not any(_differing(page.found)):
        lines += ["None.", ""]
    lines += [
        "### Not compared",
        "",
        "| why | objects | programs that we load of them |",
        "|---|---:|---:|",
    ]
    lines += [f"| {said} | {objects} | {loaded} |" for said, objects, loaded in _apart(page.found)]
    return lines


def _difference(program: Program, reason: str) -> str:
    """What has no reason yet is shown with the words of the one that refused."""
    return _escaped(_told(program)) if reason == _UNEXPLAINED else program.difference


def _escaped(text: str) -> str:
    return text.replace("<", "&lt;").replace("*", "\\*")


def _numbers(page: Page) -> str:
    programs = [program for one in page.found for program in one.programs]
    refused = [program for program in programs if program.same == "refused"]
    return _KERNEL.format(
        release=page.release,
        refused=len(refused),
        walked=sum(program.theirs["walked"] >= 0 <= program.ours.walked for program in refused),
        weakened=sum("weakened" in program.theirs for program in programs),
        told=sum(program.theirs["told"] for program in programs),
    )


def _by_project(found: Sequence[Comparison]) -> Iterator[tuple[str, list[Comparison]]]:
    return ((project, list(group)) for project, group in groupby(found, key=lambda one: one.project))


def _counts(group: Sequence[Comparison]) -> tuple[int, ...]:
    same = [program.same for one in group for program in one.programs]
    apart = sum(bool(one.apart) for one in group)
    return len(group), apart, len(same), same.count("loaded"), same.count("refused"), same.count("")


def _rate(found: Sequence[Comparison]) -> str:
    programs = [program for one in found for program in one.programs]
    same = sum(bool(program.same) for program in programs)
    return (
        f"same verdict and same walk: {same} of {len(programs)} programs ({100 * same / max(1, len(programs)):.2f} %)"
    )


def _differing(found: Sequence[Comparison]) -> Iterator[Program]:
    return (program for one in found for program in one.programs if not program.same)


def _by_reason(found: Sequence[Comparison]) -> list[tuple[str, list[Program]]]:
    reasons: dict[str, list[Program]] = {}
    for program in _differing(found):
        reasons.setdefault(_reason(program), []).append(program)
    return sorted(reasons.items(), key=lambda item: -len(item[1]))


def _reason(program: Program) -> str:
    told = f"{program.section} {_told(program)}"
    if "walk" in program.difference and re.match(r"ksyscall|kretsyscall|socket$", program.section):
        return _WALK_OF_WRAPPERS
    return next((reason for pattern, reason in _REASONS if re.search(pattern, told, re.DOTALL)), _UNEXPLAINED)


def _place(program: Program) -> str:
    return f"{program.project}/{program.file} {program.section} {program.name}"


def _told(program: Program) -> str:
    """How they differ, and what the one that refused said."""
    said = {
        f"both refuse it, libbpf at the stage map, we at the stage {program.ours.stage}": program.theirs["warnings"],
        "only libbpf loads it": program.ours.words,
        "only we load it": program.theirs["warnings"] or program.theirs["log"],
        "an error of ours": program.ours.words,
    }.get(program.difference, "")
    return f"{program.difference} ({_short(said)})" if said else program.difference


def _short(text: str) -> str:
    lines = [line.strip() for line in text.strip().splitlines() if not line.startswith(("processed ", "stack depth"))]
    return " | ".join(line for line in lines[-3:] if line)[:300]


def _apart(found: Sequence[Comparison]) -> list[tuple[str, int, int]]:
    """(what libbpf says, objects, programs that load with us), names of the object left out."""
    objects: Counter[str] = Counter()
    loaded: Counter[str] = Counter()
    for one in found:
        if one.apart:
            said = re.sub(r"'[^']*'|\[\d+\]", "…", one.apart.removeprefix("libbpf: ")).replace("|", "/")
            objects[said] += 1
            loaded[said] += sum(verdict.outcome == "loaded" for verdict in one.ours.programs)
    return [(said, count, loaded[said]) for said, count in objects.most_common()]
