"""Results of the kernel's selftests: counts, and the reason of each item that did not pass."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Item", "needs_module", "reason_of", "render_report", "render_summary", "share"]

MODULE = "needs the test module bpf_testmod"
_IN_C = "its runner expects a rejection in C (prog_tests/bpf_nf.c), and no tag says so"
_NOT_OURS = "not for this machine"
_SHUT_OUT = "a policy of this machine forbids tracing and LSM programs"
_CONNTRACK = "needs nf_conntrack, which the selftests' configuration builds in and this kernel has as a module"
_BUILD = "no endbr64 in the machine code: the kernel or the machine has no indirect branch tracking"
_NEAR = "the variable is in the first chunk of per-CPU memory here; its address fits into 32 bits: a shorter move"
_REGISTER = "this build of the kernel names the other one of two registers"

_STACK = "newer messages for stack accesses: `invalid read from stack`, `invalid write to stack`"
_BARRIER = "newer kernels insert speculation barriers instead of rejecting it"
_PRECISION = "the precision marks are on other registers"
_INLINED = "the kernel replaces this helper with other instructions"
_FIXED = "the verifier of this release decides differently"
_REFERENCE = "newer messages for leaked references and locks"

_OTHERWISE = (
    "iters::iter_err_too_permissive[23]$|verifier_map_ptr::read_non_existent_field_rejected$|"
    "uninit_stack::helper_uninit_to_misc$|verifier_map_in_map::map_in_map_state_pruning$|"
    "verifier_bounds_deduction::deducing_bounds_from_const_10"
)

# (object::item, words of the outcome) -> why. The first row that fits is it; an item that none fits is shown with its
# own words under a heading of its own.
_REASONS: tuple[tuple[str, str, str], ...] = (
    ("", r"bpf_testmod|bpf_iter_testmod|testmod", MODULE),
    ("", r"(?:kernel function|kfunc|invalid func) bpf_kfunc_\w+", MODULE),  # only the test module has names like these
    ("kfunc_implicit_args", r"expected \"cannot find address for kernel function bpf_kfunc_", MODULE),
    ("", r"kernel function bpf_(?:skb|xdp)_ct_\w+", _CONNTRACK),
    ("", r"^only for ", _NOT_OURS),
    ("test_bpf_nf_fail", r"expected to load, but rejected", _IN_C),
    ("verifier_mtu", r"the kernel loaded it", "its runner drops CAP_PERFMON first, which the tags do not express"),
    ("", r"kernel refused it without a word \(EPERM\)", _SHUT_OUT),
    ("verifier_percpu_addr", r"movabsq", _NEAR),
    ("", r"\tendbr64|\tmovq\t|\tpushq", _BUILD),
    ("verifier_bounds_deduction|verifier_map_ptr", r"EXPECTED +\"R1 has pointer with unsupported", _REGISTER),
    ("verifier_map_ptr", r"EXPECTED +\"R0 has pointer with unsupported", _REGISTER),
    ("", r"invalid (?:indirect|(?:unbounded )?variable-offset) .*stack(?s:.*)invalid .*(?:read|write) ", _STACK),
    ("", r"EXPECTED +\"invalid indirect (?:read|access) (?:from|to) stack", _STACK),
    (".*@unpriv", r"the kernel loaded it|(?:pointer comparison prohibited|invalid mem access 'scalar')", _BARRIER),
    ("verifier_(?:scalar_ids|subprog_precision)", r"regs=|propagating|R6_w=scalar", _PRECISION),
    ("verifier_bpf_fastcall", r"w0 =|stack depth", _INLINED),
    ("verifier_(?:ref_tracking|spin_lock)", r"BPF_LD_|unlock is missing|Unreleased", _REFERENCE),
    (_OTHERWISE, r"", _FIXED),
)


@dataclass(frozen=True, slots=True)
class Item:
    """One item on one kernel. ``outcome``: passed, failed, error, skipped; ``text``: its words, "" when it passed."""

    object: str
    name: str
    kernel: str
    outcome: str
    text: str = ""

    @property
    def words(self) -> str:
        """The first expectation that was not met, else the first line."""
        unmet = re.search(r"^ +(EXPECTED|UNEXPECTED|WRONG LINE) +(.*)\n((?: {14}.*\n?)*)", self.text, re.MULTILINE)
        if unmet:
            there = [line.strip() for line in unmet[3].splitlines()]
            return f"{unmet[1].lower()} {unmet[2]}" + (f"; there is: {there[-1]}" if there else "")
        return (
            next((line.strip() for line in self.text.splitlines() if line.strip()), "").partition(": ")[2] or self.text
        )


def reason_of(item: Item) -> str:
    """Why an item did not pass, "" where no row says it."""
    for name, words, reason in _REASONS:
        if re.match(name, f"{item.object}::{item.name}") and re.search(words, item.text.partition("\n---")[0]):
            return reason
    return ""


def needs_module(item: Item) -> bool:
    """Whether nothing but the test module would make it pass."""
    return item.outcome != "passed" and reason_of(item) == MODULE


def share(items: Sequence[Item], kernel: str) -> float:
    """Passed, of those that need no test module and are for this machine."""
    counted = [item for item in items if item.kernel == kernel and _counts(item)]
    return sum(item.outcome == "passed" for item in counted) / len(counted) if counted else 0.0


def _counts(item: Item) -> bool:
    return item.outcome == "passed" or reason_of(item) not in (MODULE, _NOT_OURS)


def _kernels(items: Sequence[Item]) -> list[str]:
    return list(dict.fromkeys(item.kernel for item in items))


def render_summary(items: Sequence[Item]) -> str:
    """A line per kernel."""
    lines = []
    for kernel in _kernels(items):
        mine = [item for item in items if item.kernel == kernel]
        passed = sum(item.outcome == "passed" for item in mine)
        lines.append(
            f"{kernel}: {len(mine)} items, {passed} passed, {sum(map(needs_module, mine))} need the test module: "
            f"{share(items, kernel):.1%} of the others pass"
        )
    return "\n".join(lines)


def render_report(items: Sequence[Item], *, tests: str) -> str:
    """The page docs/selftests.md."""
    objects = len({item.object for item in items})
    lines = [
        "# The kernel's own selftests",
        "",
        "Written by `benchmarks/selftests.py`; do not edit.",
        "",
        f"The objects of `tools/testing/selftests/bpf/progs`{f' of Linux {tests}' if tests else ''} that carry "
        f"expectations ({objects} objects), compiled and then run unchanged: `pytest FOLDER` collects each program as "
        "an item. In guests the modules nf_conntrack and nf_nat are loaded first, which the selftests' configuration "
        "builds in. The tests are written for their own release; newer kernels word some messages differently, and "
        "accept or reject some programs that older ones did not.",
        "",
        "| kernel | items | passed | failed | skipped | need the test module | passed of the others |",
        "|---|---|---|---|---|---|---|",
    ]
    for kernel in _kernels(items):
        mine = [item for item in items if item.kernel == kernel]
        count = Counter(item.outcome for item in mine)
        lines.append(
            f"| {_label(kernel)} | {len(mine)} | {count['passed']} | {count['failed'] + count['error']} "
            f"| {count['skipped']} | {sum(map(needs_module, mine))} | **{share(items, kernel):.1%}** |"
        )
    for kernel in _kernels(items):
        lines += ["", f"## {_label(kernel)}: every item that did not pass", ""]
        lines += _listed([item for item in items if item.kernel == kernel and item.outcome != "passed"])
    return "\n".join(lines) + "\n"


def _label(kernel: str) -> str:
    return f"host (Linux {os.uname().release.partition('-')[0]})" if kernel == "host" else kernel


def _listed(items: Sequence[Item]) -> list[str]:
    """By reason, those with a reason first; items without one with their own words."""
    by_reason: dict[str, list[Item]] = {}
    for item in items:
        by_reason.setdefault(reason_of(item), []).append(item)
    lines = []
    for reason, group in sorted(by_reason.items(), key=lambda pair: (not pair[0], -len(pair[1]))):
        lines += [f"**{reason or 'the kernel says or does something else'}** ({len(group)})", ""]
        if reason:
            names: dict[str, list[str]] = {}
            for item in group:
                names.setdefault(item.object, []).append(item.name)
            lines += [f"- `{obj}`: {', '.join(found)}" for obj, found in names.items()]
        else:
            lines += [f"- `{item.object}`: {item.name}: {_cell(item.words)}" for item in group]
        lines.append("")
    return lines


def _cell(text: str) -> str:
    return " ".join(text.split())[:240].replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
