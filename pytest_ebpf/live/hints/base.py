"""What a hint is made of: the operation that failed, and what can be found out about the kernel that refused it."""

from __future__ import annotations

from collections.abc import Callable

from pytest_ebpf.agent.ops import Described, Op
from pytest_ebpf.errors import EbpfError
from pytest_ebpf.features.base import Answer
from pytest_ebpf.features.probe import probe_feature
from pytest_ebpf.features.skip_rule import first_release, is_older
from pytest_ebpf.features.table import feature as row_of
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.live.session import Target

__all__ = ["Case", "Hint", "lacks", "this_kernel"]

_FIGURES = ("verification time ", "stack depth ", "processed ")


@dataclass(frozen=True, slots=True)
class Case:
    """A failed operation. ``log``: what the kernel wrote about it, as a rule nothing."""

    op: Op
    errno: int
    target: Target
    log: str = ""

    @property
    def silent(self) -> bool:
        """Whether the kernel wrote nothing but the figures of a verification that never began (5.10 does)."""
        lines = [line for line in self.log.splitlines() if line.strip()]
        return not lines or ("processed 0 insns" in lines[-1] and all(line.startswith(_FIGURES) for line in lines))

    @property
    def described(self) -> Described:
        return self.target.described

    def ask(self, feature: str) -> Answer | None:
        """What a probe says, None where it cannot be asked. Asked only by rows that need it."""
        try:
            return probe_feature(self.target, name=feature)
        except EbpfError:
            return None


@dataclass(frozen=True, slots=True)
class Hint:
    """One row: ``op`` is a class name, "*" every one; ``errnos`` the errors it is about, () all. ``text`` is a sentence
    saying what to do, or finds one ("" when it has none to say, and the next row is tried)."""

    op: str
    errnos: tuple[int, ...]
    text: str | Callable[[Case], str]

    def says(self, case: Case) -> str:
        """The hint for a case, "" when the row is not about it."""
        if self.op not in ("*", type(case.op).__name__) or (self.errnos and case.errno not in self.errnos):
            return ""
        return self.text if isinstance(self.text, str) else self.text(case)


def this_kernel(case: Case) -> str:
    """ "this kernel is 5.10.0-46-amd64"."""
    return f"this kernel is {case.described.release}"


def lacks(case: Case, *, feature: str, what: str, instead: str = "") -> str:
    """ "RINGBUF maps need Linux 5.8; this kernel is 5.4.0. Use a perf event array, or mark the test ..." when a probe
    says that this kernel does not have the feature; "" when it has, or when the probe cannot tell."""
    answer = case.ask(feature)
    if answer is None or answer.supported is not False:
        return ""
    row = row_of(feature)
    since = first_release(row, machine=case.described.machine)
    way_out = f"{instead[:1].upper()}{instead[1:]}, or mark" if instead else "Mark"
    mark = f'{way_out} the test @pytest.mark.bpf_feature("{feature}").'
    if since and is_older(case.described.release, since):
        return f"{what} came with Linux {since}; {this_kernel(case)}. {mark}"
    needs = f" It needs {', '.join(f'CONFIG_{option}' for option in row.config)}." if row.config else ""
    return f"{what}: this kernel does not have it ({answer.message}).{needs} {mark}"
