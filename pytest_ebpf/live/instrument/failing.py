"""Calls that fail: ``with obj.faults("bpf_map_update_elem", errno="E2BIG", after=3):``."""

from __future__ import annotations

import errno as _errno
from collections.abc import Mapping, Sequence

from pytest_ebpf.agent.ops import Handle
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.live.instrument.args import ArgumentMap, cleared_by, map_of
from pytest_ebpf.live.instrument.memory import Memory
from pytest_ebpf.live.instrument.parts import Parts
from pytest_ebpf.live.session import Session
from pytest_ebpf.rewrite.asm import KEPT
from pytest_ebpf.rewrite.edit import Edit, RewriteError
from pytest_ebpf.rewrite.faults import FAILED, FAULT_SIZE, Fault, fault_edit
from pytest_ebpf.rewrite.sites import CallSite
from pytest_ebpf.suggest import did_you_mean
from pytest_ebpf.uapi.enums import ProgType
from pytest_ebpf.uapi.verdicts import TC

__all__ = ["ActiveFault", "FaultPlan", "fault_layer"]

_ALWAYS = (1 << 63) - 1
_KEYED = "*key"


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """What a test asked for. ``errno``: a name or a number; "" for the usual one. ``after``: how many calls pass first.
    ``times``: how many fail, None for all that come. ``key``: of the map, None for any. ``program`` and ``slot``: one
    call site alone."""

    function: str
    errno: str | int = ""
    after: int = 0
    times: int | None = None
    key: object = None
    program: str = ""
    slot: int = -1


class ActiveFault:
    """A fault while it is on: ``failed`` counts the calls that it made fail, ``function`` names what is called."""

    def __init__(
        self, session: Session, plan: FaultPlan, *, parts: Mapping[str, Parts], maps: Mapping[Handle, ArgumentMap]
    ) -> None:
        self.plan = plan
        self.function = plan.function
        self._maps = maps
        self._sites = {
            (name, site.slot) for name, found in parts.items() for site in found.sites if self._fits(name, site)
        }
        if not self._sites:
            known = sorted({site.function for found in parts.values() for site in found.sites})
            raise BpfUsageError(f"no program calls {plan.function!r}", hint=did_you_mean(plan.function, known))
        if plan.after < 0:
            raise BpfUsageError(f"after={plan.after}: it is how many calls pass before one fails")
        self._errno = _number(plan.errno)
        self._placed = False
        self._why = ""
        self._memory = Memory(session, size=FAULT_SIZE, name="pe_faults")
        self._memory.write(0, self._memory.packed(plan.after, _ALWAYS if plan.times is None else plan.times, 0))

    @property
    def failed(self) -> int:
        """How many calls failed because of it."""
        return self._memory.number(FAILED)

    def check(self) -> None:
        """``BpfUsageError`` when no call could be made to fail."""
        if not self._placed:
            message = f"no call of {self.function} is known to be about the key {self.plan.key!r}"
            raise BpfUsageError(message, hint=f"{self._why[:1].upper()}{self._why[1:]}.")

    def concerns(self, parts: Parts) -> bool:
        """Whether the program has such a call."""
        return any(name == parts.name for name, _ in self._sites)

    def edit(self, parts: Parts, site: CallSite, *, under: Edit) -> Edit | None:
        """The edit of a call, None for one that does not fail. ``under``: what stands there otherwise."""
        if (parts.name, site.slot) not in self._sites:
            return None
        key = self._key(parts, site)
        if key is None:
            return None
        self._placed = True
        try:
            return fault_edit(
                site,
                Fault(0, self._retval(parts, site), key, cleared_by(parts, site)),
                target=self._memory.handle,
                flow=parts.flow,
                call=under.instead,
            )
        except RewriteError as error:
            raise BpfUsageError(f"{parts.name}: {self.function} cannot be made to fail: {error}") from None

    def _fits(self, program: str, site: CallSite) -> bool:
        plan = self.plan
        return site.function == plan.function and plan.program in ("", program) and plan.slot in (-1, site.slot)

    def _key(self, parts: Parts, site: CallSite) -> bytes | None:
        if self.plan.key is None:
            return b""
        if _KEYED not in site.signature.params[1:2]:
            raise BpfUsageError(f"{self.function} takes no key", hint="key= is for calls on an element of a map.")
        used = map_of(parts, site, maps=self._maps)
        if used is None:
            self._why = f"{_where(site)}: the map is chosen while the program runs"
            return None
        try:
            return used.codec.raw_key(self.plan.key)
        except (TypeError, ValueError) as error:  # the key of another map that this function is called with
            self._why = str(error)
            return None

    def _retval(self, parts: Parts, site: CallSite) -> int:
        returns = site.signature.returns
        if returns in ("pointer", "void"):
            return 0
        if self._errno:
            return -self._errno
        if site.is_verdict:
            return 0 if parts.op.type == ProgType.XDP else TC.SHOT
        if returns == "unsigned":
            raise BpfUsageError(
                f"{self.function} returns no error: say what it returns with doubles={{{self.function!r}: ...}}"
            )
        return -_USUAL.get(site.function, _errno.EINVAL)


_USUAL = {
    "bpf_map_update_elem": _errno.E2BIG,
    "bpf_map_push_elem": _errno.E2BIG,
    "bpf_map_delete_elem": _errno.ENOENT,
    "bpf_map_pop_elem": _errno.ENOENT,
    "bpf_map_peek_elem": _errno.ENOENT,
    "bpf_ringbuf_output": _errno.EAGAIN,
    "bpf_perf_event_output": _errno.ENOSPC,
    "bpf_probe_read_kernel": _errno.EFAULT,
    "bpf_probe_read_user": _errno.EFAULT,
    "bpf_skb_load_bytes": _errno.EFAULT,
    "bpf_skb_store_bytes": _errno.EFAULT,
}


def _number(name: str | int) -> int:
    if isinstance(name, int):
        return abs(name)
    if not name:
        return 0
    number = getattr(_errno, name, None)
    if not isinstance(number, int):
        known = list(_errno.errorcode.values())
        raise BpfUsageError(f"errno={name!r} is no error", hint=did_you_mean(name, known, otherwise='Write "EINVAL".'))
    return number


def _where(site: CallSite) -> str:
    return f"{site.line.file.rpartition('/')[2]}:{site.line.line}" if site.line else f"instruction {site.slot}"


def fault_layer(parts: Parts, faults: Sequence[ActiveFault], *, under: dict[int, Edit]) -> dict[int, Edit]:
    """``under`` (doubles) with the faults above it: a double can be made to fail, too."""
    edits = dict(under)
    for site in parts.sites:
        for fault in faults:
            edit = fault.edit(parts, site, under=edits.get(site.slot, Edit(instead=(KEPT,))))
            if edit is not None:
                edits[site.slot] = edit
    return edits
