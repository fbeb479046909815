"""Programs on USDT probes. Those written with libbpf's usdt.bpf.h find the arguments of the probe.

Such a program looks its probe up in a map: ``__bpf_usdt_specs`` holds where each argument is, and the attachment's
cookie is the index in it. For kernels without cookies (before 5.15) a second map leads from the address of the
instruction to that index. The layout of an entry is taken from the object's own BTF, so that any release of usdt.bpf.h
works.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from pytest_ebpf.btf.codec import encode
from pytest_ebpf.errors import BpfUsageError, KernelCallError, ObjectError, PlanError
from pytest_ebpf.live.attach.attachable import AttachableProgram
from pytest_ebpf.live.attach.link import Link
from pytest_ebpf.live.attach.options import U64, int_option
from pytest_ebpf.live.attach.uprobe import UprobePlace, attach_places
from pytest_ebpf.live.inspect.executables import check_pid, find_binary, mapped_at, read_binary
from pytest_ebpf.live.maps.map import Map
from pytest_ebpf.live.session import Session
from pytest_ebpf.obj.usdt import UsdtArg, UsdtProbe, parse_usdt_args, read_usdt
from pytest_ebpf.suggest import did_you_mean

__all__ = ["attach_usdt", "read_usdt_target"]

_SPECS, _BY_ADDRESS = "__bpf_usdt_specs", "__bpf_usdt_ip_to_spec_id"
_MAX_ARGS = 12  # BPF_USDT_MAX_ARG_CNT
_CONSTANT, _REGISTER, _MEMORY, _INDEXED = 0, 1, 2, 3  # enum __bpf_usdt_arg_type
_KINDS = {"constant": _CONSTANT, "register": _REGISTER, "memory": _MEMORY}
_U64 = (1 << 64) - 1


def read_usdt_target(target: str) -> Mapping[str, object]:
    """The options that ``usdt/binary:provider:name`` states."""
    rest, _, name = target.rpartition(":")
    binary, _, provider = rest.rpartition(":")
    return {"binary": binary, "provider": provider, "name": name} if binary else {"binary": target}


def attach_usdt(
    session: Session,
    program: AttachableProgram,
    *,
    binary: str,
    provider: str,
    name: str,
    pid: int | None = None,
    cookie: int = 0,
) -> Link:
    """On every place of probe ``provider``:``name`` in ``binary``. ``pid``: only in that process; ``cookie``: what
    ``bpf_usdt_cookie`` returns. The probe's semaphore counts the attachment (Linux 4.20).

    ``BpfUsageError``: there is no such probe. ``PlanError``: without cookies the address of a probe in a library or in
    a position-independent program is only known for a running process, so before 5.15 ``pid`` is needed.
    """
    process = check_pid(session, pid, who=program.name)
    path = find_binary(session, binary, who=program.name, pid=process)
    found = read_usdt(read_binary(session, path, who=program.name), path=path)
    probes = _chosen(program, found, path=path, probe=f"{provider}:{name}")
    specs = program.maps.get(_SPECS)
    int_option(program.name, "cookie", value=cookie, limit=U64)
    place = partial(attach_places, session, program, path=path, pid=process, where=f"{path}:{provider}:{name}")
    if specs is None:  # the program reads no argument, so no map has to describe them
        return place(places=[UprobePlace(probe.offset, cookie, probe.semaphore) for probe in probes])
    entries = [_entry(program, specs, probe=probe, cookie=cookie) for probe in probes]
    numbers = _allot(program, specs, entries=entries)
    if session.target.facts().attach_cookie:
        return place(
            places=[UprobePlace(each.offset, n, each.semaphore) for each, n in zip(probes, numbers, strict=True)]
        )
    base = _base(session, program, path=path, probe=probes[0], pid=process)
    by_address: dict[object, object] = {
        base + _position(probe): number for probe, number in zip(probes, numbers, strict=True)
    }
    places = [UprobePlace(probe.offset, 0, probe.semaphore) for probe in probes]
    attach = partial(place, places=places)
    return _by_address(session, program, table=program.maps[_BY_ADDRESS], entries=by_address, attach=attach)


def _by_address(
    session: Session,
    program: AttachableProgram,
    *,
    table: Map,
    entries: Mapping[object, object],
    attach: Callable[[], Link],
) -> Link:
    """An attachment with entries in the map of addresses until it ends."""
    table.update(entries)

    def forget() -> None:
        table.delete_many(entries)

    try:
        made = attach()
    except (KernelCallError, PlanError):
        forget()
        raise

    def undo() -> None:
        made.detach()
        forget()

    return Link(session, program=program, target=made.target, mechanism=made.mechanism, undo=undo)


def _chosen(program: AttachableProgram, probes: Sequence[UsdtProbe], *, path: str, probe: str) -> list[UsdtProbe]:
    chosen = [each for each in probes if f"{each.provider}:{each.name}" == probe]
    if chosen:
        return chosen
    message = f"{program.name}: {path} has no USDT probe {probe}"
    if not probes:
        raise BpfUsageError(message, hint="It has no USDT probes at all: it was built without <sys/sdt.h>.")
    raise BpfUsageError(message, hint=did_you_mean(probe, (f"{each.provider}:{each.name}" for each in probes)))


def _entry(program: AttachableProgram, specs: Map, *, probe: UsdtProbe, cookie: int) -> bytes:
    """The ``struct __bpf_usdt_spec`` of a probe, in the layout of the object."""
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
            f"{program.name}: map {_SPECS} of this object cannot express where the arguments of "
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
    """An index for each entry, the same for the same bytes, so that attaching again takes no more entries. The last
    index is for the entry that is all zero, which looks like a free one."""
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
    """The difference between ``_position`` and the address in memory."""
    if probe.fixed:
        return 0
    base = mapped_at(session, pid, path=path) if pid is not None else None
    if base is None:
        raise PlanError(
            f"{program.name}: the address of {path} in memory is not known"
            + (f": process {pid} has not mapped it" if pid is not None else ""),
            feature="attach:perf_link",
            since="5.15",
            hint="This kernel has no cookies, so probes are identified by address: start the process first, and attach "
            "with its pid=.",
        )
    return base


def _position(probe: UsdtProbe) -> int:
    return probe.address if probe.fixed else probe.offset
