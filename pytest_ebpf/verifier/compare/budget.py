"""Budgets: limits for the cost of verifying a program, absolute or relative to a baseline."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.suggest import did_you_mean

if TYPE_CHECKING:
    from pytest_ebpf.verifier.log.values import VerifierStats

__all__ = ["METRICS", "Bound", "Budget", "Excess", "excesses", "figures_of", "growths", "parse_budget", "parse_share"]

# What can be bounded, with a description. "limit" is a share, the others are counts.
METRICS: Mapping[str, str] = {
    "insns": "instructions walked",
    "states": "states kept (total_states)",
    "peak_states": "states at once",
    "max_states_per_insn": "states of one instruction",
    "stack": "bytes of stack of the deepest call chain",
    "time_us": "microseconds the kernel took to verify",
    "size": "bytes of the program as the kernel keeps it (xlated)",
    "jited": "bytes of machine code",
    "limit": "of the instructions that the verifier walks at most",
}
_GROW = ("insns", "states")  # what growth="5%" is about
_SPELLINGS = {"time": "time_us", "verification_time": "time_us", "stack_depth": "stack", "verification time": "time_us"}
_SHARE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*%\s*")
_DEFAULT_LIMIT = 1_000_000  # BPF_COMPLEXITY_LIMIT_INSNS, kernel/bpf/verifier.c since 5.2


@dataclass(frozen=True, slots=True)
class Bound:
    """``metric`` may be ``most``. ``growth``: ``most`` is a share by which it may exceed the baseline."""

    metric: str
    most: float
    growth: bool = False


@dataclass(frozen=True, slots=True)
class Budget:
    """``bounds`` on the kernel at hand. ``programs``: names of those it is about, empty for all."""

    bounds: tuple[Bound, ...]
    programs: tuple[str, ...] = ()

    @property
    def grows(self) -> bool:
        """Whether a baseline is needed."""
        return any(bound.growth for bound in self.bounds)


@dataclass(frozen=True, slots=True)
class Excess:
    """A figure beyond its bound; ``used`` None: this kernel does not report it."""

    metric: str
    used: int | None
    text: str


def figures_of(stats: VerifierStats, *, size: int = 0, jited: int = 0) -> dict[str, int]:
    """The figures that are known: of the log's statistics, and the sizes where the kernel gave them (not 0)."""
    known = {
        "insns": stats.insns,
        "states": stats.states,
        "peak_states": stats.peak_states,
        "max_states_per_insn": stats.max_states_per_insn,
        "stack": stats.stack_max if stats.stack_max is not None else sum(stats.stack) if stats.stack else None,
        "time_us": stats.time_us,
        "size": size or None,
        "jited": jited or None,
    }
    if stats.insns is not None:
        known["limit"] = round(stats.insns * 100 / (stats.limit or _DEFAULT_LIMIT))
    return {name: value for name, value in known.items() if value is not None}


def parse_share(value: object, *, name: str) -> float:
    """ "5%" -> 0.05. ``BpfUsageError`` for anything else; ``name`` is the argument it was given for."""
    found = _SHARE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise BpfUsageError(f"{name}= expected a share, got {value!r}", hint=f'Write {name}="5%".')
    return float(found[1]) / 100


def parse_budget(given: Mapping[str, object], *, fits: Callable[[str], bool]) -> Budget:
    """The arguments of a marker or of ``prog.within``: ``insns=4000``, ``limit="50%"``, ``growth="5%"``,
    ``insns={"6.1": 4000, ">=6.12": 3000}``, ``prog="name"``. ``fits`` returns whether the current kernel matches a
    version ("6.1", ">=6.12,<7", "*"); of several the first counts. ``BpfUsageError`` names what there is."""
    values = dict(given)
    programs = _programs(values.pop("prog", ()))
    bounds: list[Bound] = []
    for name, value in values.items():
        metric = _SPELLINGS.get(name, name)
        if metric != "growth" and metric not in METRICS:
            known = [*METRICS, "growth", "prog"]
            hint = did_you_mean(name, known, most=1, otherwise="")
            raise BpfUsageError(f"no budget for {name!r}", hint=f"{hint} Budgets: {', '.join(known)}.".strip())
        if metric == "growth" and isinstance(value, Mapping) and value and set(value) <= set(METRICS):
            bounds += [Bound(each, parse_share(share, name="growth"), growth=True) for each, share in value.items()]
            continue
        chosen = _on_this_kernel(value, name=name, fits=fits)
        if chosen is not None:
            bounds += _bounds(metric, chosen)
    if not values:
        raise BpfUsageError(
            "a budget that bounds nothing", hint='Write bpf_budget(insns=4000) or bpf_budget(growth="5%").'
        )
    return Budget(tuple(bounds), programs)


def _programs(given: object) -> tuple[str, ...]:
    names = (given,) if isinstance(given, str) else given
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise BpfUsageError(f"prog= expected the name of a program, got {given!r}")
    return tuple(names)


def _on_this_kernel(value: object, *, name: str, fits: Callable[[str], bool]) -> object:
    if not isinstance(value, Mapping):
        return value
    for version, bound in value.items():
        if version == "*" or fits(version if version[:1] in "<>=!~" else f"=={version}"):
            return bound
    return None


def _bounds(metric: str, value: object) -> list[Bound]:
    if metric == "growth":
        share = parse_share(value, name=metric)
        return [Bound(name, share, growth=True) for name in _GROW]
    if metric == "limit":
        return [Bound(metric, parse_share(value, name=metric))]
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise BpfUsageError(f"{metric}={value!r} is no number", hint=f"Write {metric}=4000 ({METRICS[metric]}).")
    return [Bound(metric, value)]


def excesses(budget: Budget, figures: Mapping[str, int], *, limit: int | None = None) -> list[Excess]:
    """Where the figures of a program are beyond the budget, or unknown. ``limit``: instructions allowed there."""
    found = []
    for bound in budget.bounds:
        if bound.growth:
            continue
        used = figures.get("insns" if bound.metric == "limit" else bound.metric)
        most = bound.most * (limit or _DEFAULT_LIMIT) if bound.metric == "limit" else bound.most
        if used is None:
            found.append(Excess(bound.metric, None, f"{bound.metric}: this kernel does not report it"))
        elif used > most:
            found.append(Excess(bound.metric, used, _over(bound, used=used, limit=limit or _DEFAULT_LIMIT)))
    return found


def _over(bound: Bound, *, used: int, limit: int) -> str:
    if bound.metric == "limit":
        return f"limit: {used / limit:.2%} used ({used} of {limit} instructions), {_percent(bound.most)} allowed"
    times = f", {used / bound.most:.1f} times as many" if bound.most and used >= 2 * bound.most else ""
    return f"{bound.metric}: {used} used, {bound.most:g} allowed{times} ({METRICS[bound.metric]})"


def _percent(share: float) -> str:
    return f"{share * 100:g}%"


def growths(budget: Budget, figures: Mapping[str, int], *, baseline: Mapping[str, int]) -> list[Excess]:
    """Where the figures grew beyond what the budget allows over those of the baseline. A figure that either does not
    have is passed over."""
    found = []
    for bound in budget.bounds:
        used, before = figures.get(bound.metric), baseline.get(bound.metric)
        if not bound.growth or used is None or before is None or used <= before * (1 + bound.most):
            continue
        more = f", {(used - before) / before:.1%} more than" if before else ", and"
        text = f"{bound.metric}: {used} used{more} {before} in the baseline, {_percent(bound.most)} allowed"
        found.append(Excess(bound.metric, used, text))
    return found
