"""What a test that asks for a feature deserves on a kernel whose probe said no: a skip, or a failure.

A skip has to prove itself. The kernel truly lacks the feature when it is older than the first release that has it, when
it was configured without it, when it is switched off at boot or in a module that is not loaded, or when this machine
forbids it. A kernel that is new enough and has no such excuse has lost the feature (or the probe is broken): a failure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from pytest_ebpf.features.base import Answer, Feature
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.plan.kconfig import config_value

__all__ = ["Circumstances", "Verdict", "first_release", "is_older", "judge_feature"]


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is known of a kernel besides the probe. ``kconfig``: its configuration, "" where it does not show it.

    ``own``: the kernel of this very machine, on which others decide what is allowed; a guest is ours alone.
    ``reduced``: somebody listed it as built without things.
    """

    release: str
    machine: str
    kconfig: str = ""
    own: bool = False
    reduced: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """``why``: the probe's own message, and the reason for the verdict."""

    outcome: Literal["run", "skip", "fail", "error"]
    why: str = ""


def judge_feature(row: Feature, answer: Answer, *, kernel: Circumstances) -> Verdict:
    """The verdict for one feature on one kernel. The first rule that holds counts."""
    if answer.supported:
        return Verdict("run")
    if answer.supported is None:
        return Verdict("error", f"the probe cannot tell: {answer.message}")
    since = first_release(row, machine=kernel.machine)
    if not since:
        return Verdict("skip", answer.message)
    if is_older(kernel.release, since):
        return Verdict("skip", f"{answer.message}; it came with Linux {since}")
    return _excuse(row, answer, kernel=kernel) or Verdict("fail", _lost(row, answer, kernel=kernel, since=since))


def _excuse(row: Feature, answer: Answer, *, kernel: Circumstances) -> Verdict | None:
    if answer.cause in ("off", "module"):
        return Verdict("skip", answer.message)
    missing = _switched_off(row.config, kconfig=kernel.kconfig)
    if missing:
        unsaid = [option for option in missing if option not in answer.message]
        return Verdict(
            "skip", "; this kernel has no ".join([answer.message, *([" and no ".join(unsaid)] if unsaid else [])])
        )
    if answer.cause == "denied" and kernel.own:
        return Verdict("skip", f"{answer.message}; this machine forbids it")
    if kernel.reduced:
        return Verdict("skip", f"{answer.message}; the kernel is in bpf_reduced_kernels")
    return None


def _switched_off(options: Sequence[str], *, kconfig: str) -> list[str]:
    """The options of a row that a configuration does not have; none when the configuration is not known."""
    if not kconfig:
        return []
    return [f"CONFIG_{option}" for option in options if config_value(kconfig, f"CONFIG_{option}") in (None, "n")]


def _lost(row: Feature, answer: Answer, *, kernel: Circumstances, since: str) -> str:
    source = f" (commit {row.source})" if row.source else ""
    lines = [f"{answer.message}, yet Linux {since} brought it{source} and this is {kernel.release}"]
    if row.config:
        options = ", ".join(f"CONFIG_{option}" for option in row.config)
        known = "has" if kernel.kconfig else "does not show whether it has"
        lines.append(f"The kernel {known} {options}.")
    lines.append("If it was built without the feature, list it in the ini key bpf_reduced_kernels; else it lost it.")
    return "\n".join(lines)


def first_release(row: Feature, *, machine: str) -> str:
    """The first release with the feature on this kind of machine, "" where that is not documented."""
    if not row.machines:
        return row.since
    return dict(row.machines).get(machine, "")


def is_older(release: str, since: str) -> bool:
    """Whether a release ("5.10.0-46-amd64") comes before a series ("5.15"). One that says nothing is not older."""
    found = re.match(r"(\d+)\.(\d+)", release)
    if found is None:
        return False
    return (int(found[1]), int(found[2])) < tuple(int(part) for part in since.split("."))
