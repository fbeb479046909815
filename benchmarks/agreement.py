"""Comparisons to text: a table per project, every difference, and what could not be compared."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from textwrap import fill

from compare import Comparison, Program

__all__ = ["render_report", "render_summary"]

_COLUMNS = ("objects", "apart", "programs", "loaded", "refused", "differ")

# What a difference looks like -> why it is. The first row that fits counts.
_REASONS: tuple[tuple[str, str], ...] = (
    (
        r"(only we load it|libbpf at the stage map) .*(map '\w+': failed to create: -EINVAL)",
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

The programs of {objects} objects were loaded by libbpf {libbpf} and by us on Linux {release}. libbpf loads each program
alone, so that one refusal hides no other; we load each object in one batch. Programs agree when both load and the
verifier processed the same number of instructions, or when both are refused; if the verifier refused both, it has to
have processed the same number of instructions until then. That was so for {walked} refused ones; the others fail before
the verifier, and have to fail at the same stage: in the loader (a kernel function or attach target that this kernel
lacks), at a map that the kernel does not take, or when it is asked to load the program (`fentry` and its kin where a
policy forbids them).

{told} programs are in sections that libbpf has no type for (`classifier/x`, `socket/x`: the dialect of other loaders).
There it was told the type that we know. For a kernel symbol that one program lacks libbpf refuses all programs of an
object, and we that program; {weakened} programs were put to libbpf in a copy of their object whose symbols are weak.
Both sides set what objects leave open for their user space, such as `max_entries` of 0. Objects of the other byte
order are refused by both and not counted.
"""


def render_summary(found: Sequence[Comparison]) -> str:
    """A table with a line per project, and a line per difference and internal error."""
    form = "{:36} " + "{:>9}" * len(_COLUMNS)
    lines = [form.format("project", *_COLUMNS)]
    lines += [form.format(project, *_counts(group)) for project, group in _by_project(found)]
    lines += [form.format("all", *_counts(found)), _rate(found)]
    lines += [f"  {_place(program)}: {_told(program)}" for program in _differing(found)]
    lines += [f"  internal error on {one.ours.path}:\n{one.ours.internal}" for one in found if one.ours.internal]
    return "\n".join(lines)


def render_report(found: Sequence[Comparison], *, libbpf: str, release: str) -> str:
    """The same as Markdown, with the reason of each difference. ``libbpf``: its version; ``release``: the kernel's."""
    rows = ["| project | " + " | ".join(_COLUMNS) + " |", "|---|" + "---:|" * len(_COLUMNS)]
    for project, group in [*_by_project(found), ("**all**", list(found))]:
        rows.append(f"| {project} | " + " | ".join(map(str, _counts(group))) + " |")
    lines = [
        _head(found, libbpf=libbpf, release=release),
        *rows,
        "",
        f"{_rate(found).capitalize()}.",
        "",
        "## Differences",
        "",
    ]
    for reason, programs in _by_reason(found):
        lines += [fill(f"**{len(programs)} programs.** {reason}", 120), ""]
        lines += [f"- `{_place(program)}`: {program.difference}" for program in programs]
        lines.append("")
    lines += [
        "## Not compared",
        "",
        "| what libbpf says | objects | programs that we load of them |",
        "|---|---:|---:|",
    ]
    lines += [f"| {said} | {objects} | {loaded} |" for said, objects, loaded in _apart(found)]
    return "\n".join(lines) + "\n"


def _head(found: Sequence[Comparison], *, libbpf: str, release: str) -> str:
    programs = [program for one in found for program in one.programs]
    refused = [program for program in programs if program.same == "refused"]
    walked = sum(program.theirs["walked"] >= 0 <= program.ours.walked for program in refused)
    return _HEAD.format(
        objects=len(found),
        libbpf=libbpf,
        release=release.partition("-")[0],
        walked=f"{walked:,} of {len(refused):,}",
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
