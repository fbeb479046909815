"""Attaching to USDT probes, so that programs written with libbpf's usdt.bpf.h find their arguments.

Such a program asks a map for what its probe looks like: ``__bpf_usdt_specs`` holds where each argument is, and the
attachment's cookie is the index in it. Kernels without cookies (before 5.15) have a second map from the address of the
instruction to that index. What lies where in an entry is read out of the object's own BTF, so that any release of
usdt.bpf.h will do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from pytest_ebpf.errors import BpfUsageError, KernelCallError, ObjectError, PlanError
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.link import Link
from pytest_ebpf.live.attach.uprobe import number_of
from pytest_ebpf.live.attach.uprobe_open import UprobePlace, attach_places
from pytest_ebpf.live.inspect.executables import check_pid, find_binary, mapped_at, read_binary
from pytest_ebpf.live.session import Session
from pytest_ebpf.obj.usdt import UsdtArg, UsdtProbe, parse_usdt_args, read_usdt

if TYPE_CHECKING:
    from pytest_ebpf.live.maps.map import Map

__all__ = ["attach_usdt", "read_usdt_target"]

_SPECS, _BY_ADDRESS = "__bpf_usdt_specs", "__bpf_usdt_ip_to_spec_id"
_MAX_ARGS = 12  # BPF_USDT_MAX_ARG_CNT
_CONSTANT, _REGISTER, _MEMORY, _INDEXED = 0, 1, 2, 3  # enum __bpf_usdt_arg_type
_KINDS = {"constant": _CONSTANT, "register": _REGISTER, "memory": _MEMORY}
_U64 = (1 << 64) - 1


def read_usdt_target(target: str) -> Mapping[str, object]:
    """What ``usdt/binary:provider:name`` says, as arguments."""
    rest, _, name = target.rpartition(":")
    binary, _, provider = rest.rpartition(":")
    return {"binary": binary, "provider": provider, "name": name} if binary else {"binary": target}


def attach_usdt(session: Session, program: AttachableProgram, *, named: Mapping[str, object]) -> Link:
    """On every place of probe ``provider``:``name`` in ``binary``. ``pid``: only in that process; ``cookie``: what
    ``bpf_usdt_cookie`` gives. The probe's semaphore counts the attachment (Linux 4.20).

    ``BpfUsageError``: there is no such probe. ``PlanError``: without cookies the address of a probe in a library or in
    a position-independent program is only known of a process that runs, so that before 5.15 ``pid`` has to be given.
    """
    pid = check_pid(session, named.get("pid"), who=program.name)
    path = find_binary(session, named["binary"], who=program.name, pid=pid)
    probes = _chosen(
        program, read_usdt(read_binary(session, path, who=program.name), path=path), path=path, named=named
    )
    specs = program.maps.get(_SPECS)
    cookie = number_of(program, "cookie", named=named)
    where = f"{path}:{named['provider']}:{named['name']}"
    if specs is None:  # it asks for no argument, so that nothing has to be told
        places = [UprobePlace(probe.offset, cookie, probe.semaphore) for probe in probes]
        return attach_places(session, program, path=path, places=places, pid=pid, where=where)
    entries = [_entry(program, specs, probe=probe, cookie=cookie) for probe in probes]
    numbers = _allot(program, specs, entries=entries)
    if session.target.facts().attach_cookie:
        places = [UprobePlace(each.offset, n, each.semaphore) for each, n in zip(probes, numbers, strict=True)]
        return attach_places(session, program, path=path, places=places, pid=pid, where=where)
    base = _base(session, program, path=path, probe=probes[0], pid=pid)
    by_address: dict[object, object] = {
        base + _position(probe): number for probe, number in zip(probes, numbers, strict=True)
    }
    places = [UprobePlace(probe.offset, 0, probe.semaphore) for probe in probes]
    return _by_address(session, program, table=program.maps[_BY_ADDRESS], entries=by_address, link=lambda: (
        attach_places(session, program, path=path, places=places, pid=pid, where=where)
    ))  # fmt: skip


def _by_address(
    session: Session, program: AttachableProgram, *, table: Map, entries: Mapping[object, object], link: Any
) -> Link:
    """An attachment that has entries in the map of addresses for as long as it lasts."""
    table.update_many(entries)

    def forget() -> None:
        table.delete_many(entries)

    try:
        made: Link = link()
    except (KernelCallError, PlanError):
        forget()
        raise

    def undo() -> None:
        made.detach()
        forget()

    return Link(session, program=program, target=made.target, mechanism=made.mechanism, undo=undo)


def _chosen(
    program: AttachableProgram, probes: Sequence[UsdtProbe], *, path: str, named: Mapping[str, object]
) -> list[UsdtProbe]:
    wanted = (named["provider"], named["name"])
    chosen = [probe for probe in probes if (probe.provider, probe.name) == wanted]
    if chosen:
        return chosen
    there = list(dict.fromkeys(f"{probe.provider}:{probe.name}" for probe in probes))
    message = f"{program.name}: {path} has no USDT probe {wanted[0]}:{wanted[1]}"
    if not there:
        raise BpfUsageError(message, hint="It has no USDT probes at all: it was built without <sys/sdt.h>.")
    close = get_close_matches(f"{wanted[0]}:{wanted[1]}", there, n=3, cutoff=0.6)
    more = f" and {len(there) - 20} more" if len(there) > 20 else ""
    raise BpfUsageError(message, hint=f"did you mean {' or '.join(close)}?" if close else
                     f"it has: {', '.join(there[:20])}{more}")  # fmt: skip


def _entry(program: AttachableProgram, specs: Map, *, probe: UsdtProbe, cookie: int) -> bytes:
    """``struct __bpf_usdt_spec`` as the object has it."""
    from pytest_ebpf.btf.codec import encode

    try:
        args = parse_usdt_args(probe.args, machine=probe.machine)
    except ValueError as error:
        raise ObjectError(f"USDT probe {probe.provider}:{probe.name}: {error}", path=program.name) from error
    if len(args) > _MAX_ARGS:
        raise ObjectError(f"USDT probe {probe.provider}:{probe.name} has more than {_MAX_ARGS} arguments")
    shown = [_arg(each) for each in args] + [{}] * (_MAX_ARGS - len(args))
    try:
        assert program.btf is not None
        value = {"args": shown, "usdt_cookie": cookie, "arg_cnt": len(args)}
        return encode(program.btf, specs.definition.value_type, value=value)
    except (ValueError, TypeError) as error:
        raise PlanError(
            f"{program.name}: map {_SPECS} of this object cannot say where the arguments of "
            f"{probe.provider}:{probe.name} are: {error}",
            hint="Compile it with a newer libbpf's usdt.bpf.h: arguments at two registers need 1.7.",
        ) from error


def _arg(arg: UsdtArg) -> dict[str, object]:
    """``struct __bpf_usdt_arg_spec``; fields that are 0 are left out, as not every release has them."""
    kind = _KINDS[arg.kind] if arg.index is None else _INDEXED
    spec: dict[str, object] = {
        "val_off": arg.value & _U64,
        "arg_type": kind,
        "reg_off": arg.register,
        "arg_signed": arg.signed,
        "arg_bitshift": 64 - 8 * arg.size,
    }
    return spec if arg.index is None else spec | {"idx_reg_off": arg.index, "scale_bitshift": arg.scale}


def _allot(program: AttachableProgram, specs: Map, *, entries: Iterable[bytes]) -> list[int]:
    """An index for each entry, the same for the same bytes, so that attaching again takes no more room. The last one is
    for the entry that is all zero: it cannot be told from a free one."""
    taken = [value for _, value in specs.dump().pairs()]
    numbers: dict[bytes, int] = {bytes(len(taken[0])): len(taken) - 1} if taken else {}
    free = [number for number, value in enumerate(taken[:-1]) if not any(value)]
    numbers |= {value: number for number, value in enumerate(taken[:-1]) if any(value)}
    found = []
    for entry in entries:
        if entry not in numbers:
            if not free:
                raise BpfUsageError(
                    f"{program.name}: map {_SPECS} is full with {len(taken)} places of probes",
                    hint=f"Load with maps={{{_SPECS!r}: {len(taken) * 4}}}.",
                )
            numbers[entry] = free.pop(0)
            specs[numbers[entry]] = entry
        found.append(numbers[entry])
    return found


def _base(session: Session, program: AttachableProgram, *, path: str, probe: UsdtProbe, pid: int | None) -> int:
    """What to add to ``_position`` for the address in memory."""
    if probe.fixed:
        return 0
    base = mapped_at(session, pid, path=path) if pid is not None else None
    if base is None:
        raise PlanError(
            f"{program.name}: where {path} lies in memory is not known"
            + (f": process {pid} has it not mapped" if pid is not None else ""),
            feature="attach:perf_link",
            since="5.15",
            hint="This kernel has no cookies, so that probes are told apart by address: start the process first, and "
            "attach with pid= of it.",
        )
    return base


def _position(probe: UsdtProbe) -> int:
    return probe.address if probe.fixed else probe.offset
