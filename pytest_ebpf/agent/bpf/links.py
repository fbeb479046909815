"""Ops that attach programs, and pins."""

from __future__ import annotations

import contextlib
import errno
import os
import struct

from pytest_ebpf.agent import ops
from pytest_ebpf.agent.base.batch import Batch
from pytest_ebpf.agent.base.handles import Refused
from pytest_ebpf.agent.base.syscalls import Memory, address_of, bpf, perf_event_open, perf_ioctl
from pytest_ebpf.agent.bpf.info import fd_kind, kernel_id, object_info
from pytest_ebpf.agent.host.attached import attachment
from pytest_ebpf.agent.host.netns import inside
from pytest_ebpf.uapi import layouts
from pytest_ebpf.uapi.enums import AttachType, Cmd
from pytest_ebpf.uapi.numbers import BPF_F_REPLACE, PERF_EVENT_IOC_ENABLE, PERF_EVENT_IOC_SET_BPF, PERF_FLAG_FD_CLOEXEC

__all__ = [
    "iter_read",
    "link_create",
    "link_detach",
    "link_update",
    "obj_get",
    "obj_pin",
    "obj_unpin",
    "perf_attach",
    "perf_event_open_op",
    "prog_attach",
    "prog_detach",
    "prog_query",
    "raw_tracepoint_open",
]

_MAX_ATTACHED = 64  # BPF_CGROUP_MAX_PROGS; the largest list the kernel keeps
_UNION = 16  # where the union of link_create begins, behind prog_fd, target_fd, attach_type and flags
_ADDRESS, _FD = struct.Struct("=Q"), struct.Struct("=I")
_ITER_CHUNK = 1 << 16
_PERF_ATTR_SIZE = 112  # PERF_ATTR_SIZE_VER5: every kernel that has fentry knows it


def link_create(op: ops.LinkCreate, batch: Batch) -> ops.Result:
    """A link. Where the cookie goes depends on the attach type (struct link_create in bpf_attr)."""
    prog = batch.entry(op.prog)
    perf = op.attach_type == AttachType.PERF_EVENT
    attr = layouts.ATTR_LINK_CREATE.pack(
        prog_fd=batch.fd(op.prog),
        target_fd=batch.fd(op.target),
        attach_type=op.attach_type,
        flags=op.flags,
        **{"perf_cookie": op.cookie} if perf else {"target_btf_id": op.target_btf_id, "tracing_cookie": op.cookie},
    )
    kept: list[Memory] = []
    if op.extra:
        attr = attr[:_UNION].ljust(_UNION, b"\0") + _with_pointers(op, batch, kept=kept)
    fd = inside(batch, op.netns, call=lambda: bpf(Cmd.LINK_CREATE, attr))
    entry = batch.own(fd, "link", name=prog.handle.name, site=op.site)
    prog.held.add(entry.handle.serial)
    return ops.Made(entry.handle)


def _with_pointers(op: ops.LinkCreate, batch: Batch, *, kept: list[Memory]) -> bytearray:
    """``extra`` with addresses filled in. They hold as long as ``kept`` does."""
    extra = bytearray(op.extra)
    for pointer in op.pointers:
        if not 0 <= pointer.offset <= len(extra) - _ADDRESS.size:
            raise Refused(f"{len(extra)} bytes have no place for an address at byte {pointer.offset}")
        memory = _texts(pointer.texts, kept=kept) if pointer.texts else _bytes(pointer, batch)
        kept.append(memory)
        _ADDRESS.pack_into(extra, pointer.offset, memory.address)
    return extra


def _bytes(pointer: ops.PointerAt, batch: Batch) -> Memory:
    memory = Memory(max(len(pointer.data), 1))
    memory.view[: len(pointer.data)] = pointer.data
    for place in pointer.fds:
        if not 0 <= place.offset <= len(pointer.data) - _FD.size:
            raise Refused(f"{len(pointer.data)} bytes have no place for an fd at byte {place.offset}")
        _FD.pack_into(memory.view, place.offset, batch.fd(place.target))
    return memory


def _texts(texts: tuple[str, ...], *, kept: list[Memory]) -> Memory:
    raw = [text.encode() + b"\0" for text in texts]
    joined = Memory(sum(map(len, raw)))
    kept.append(joined)
    addresses, at = Memory(_ADDRESS.size * len(raw)), 0
    for index, text in enumerate(raw):
        joined.view[at : at + len(text)] = text
        _ADDRESS.pack_into(addresses.view, index * _ADDRESS.size, joined.address + at)
        at += len(text)
    return addresses


def iter_read(op: ops.IterRead, batch: Batch) -> ops.Result:
    """Everything an iterator has to say, from its beginning."""
    fd = bpf(Cmd.ITER_CREATE, layouts.ATTR_ITER_CREATE.pack(link_fd=batch.fd(op.link)).ljust(8, b"\0"))
    whole = bytearray()
    try:
        while part := _read_on(fd):
            whole += part
            if len(whole) > op.limit:
                raise Refused(f"the iterator wrote more than {op.limit} bytes")
    finally:
        os.close(fd)
    return ops.Data(bytes(whole))


def _read_on(fd: int) -> bytes:
    """EAGAIN: a million objects were skipped without a message (MAX_ITER_OBJECTS in kernel/bpf/bpf_iter.c)."""
    while True:
        try:
            return os.read(fd, _ITER_CHUNK)
        except BlockingIOError:
            continue


def raw_tracepoint_open(op: ops.RawTracepointOpen, batch: Batch) -> ops.Result:
    """A raw tracepoint, or whatever a BTF-typed program was loaded for."""
    prog = batch.entry(op.prog)
    name = op.name.encode()
    attr = layouts.ATTR_RAW_TRACEPOINT_OPEN.pack(name=address_of(name), prog_fd=batch.fd(op.prog), cookie=op.cookie)
    fd = bpf(Cmd.RAW_TRACEPOINT_OPEN, attr.ljust(12, b"\0"))
    entry = batch.own(fd, "link", name=prog.handle.name, site=op.site)
    prog.held.add(entry.handle.serial)
    return ops.Made(entry.handle)


def link_update(op: ops.LinkUpdate, batch: Batch) -> ops.Result:
    """Put another program in. ``old`` asks the kernel to refuse unless that one is there."""
    link = batch.entry(op.link)
    flags = op.flags | (BPF_F_REPLACE if op.old is not None else 0)
    bpf(
        Cmd.LINK_UPDATE,
        layouts.ATTR_LINK_UPDATE.pack(
            link_fd=link.fd, new_prog_fd=batch.fd(op.prog), flags=flags, old_prog_fd=batch.fd(op.old)
        ),
    )
    batch.entry(op.prog).held.add(link.handle.serial)
    return ops.Done()


def link_detach(op: ops.LinkDetach, batch: Batch) -> ops.Result:
    """Detach now, while the handle stays."""
    bpf(Cmd.LINK_DETACH, layouts.ATTR_LINK_UPDATE.pack(link_fd=batch.fd(op.link)))
    return ops.Done()


def prog_attach(op: ops.ProgAttach, batch: Batch) -> ops.Result:
    """Attach without a link: it holds until PROG_DETACH or the target's end, so it counts as a leak after that."""
    prog = batch.entry(op.prog)
    attr = layouts.ATTR_PROG_ATTACH.pack(
        target_fd=batch.fd(op.target),
        attach_bpf_fd=batch.fd(op.prog),
        attach_type=op.attach_type,
        attach_flags=op.flags,
        replace_bpf_fd=batch.fd(op.replace),
        relative_id=op.relative,
    )
    inside(batch, op.netns, call=lambda: bpf(Cmd.PROG_ATTACH, attr))
    prog.attached[_target_key(batch, op.target), op.attach_type] = _words(batch, op.target)
    _in_ledger(batch, op, strike=False)
    return ops.Done()


def prog_detach(op: ops.ProgDetach, batch: Batch) -> ops.Result:
    """Undo PROG_ATTACH."""
    attr = layouts.ATTR_PROG_ATTACH.pack(
        target_fd=batch.fd(op.target), attach_bpf_fd=batch.fd(op.prog), attach_type=op.attach_type
    )
    inside(batch, op.netns, call=lambda: bpf(Cmd.PROG_DETACH, attr))
    batch.entry(op.prog).attached.pop((_target_key(batch, op.target), op.attach_type), None)
    _in_ledger(batch, op, strike=True)
    return ops.Done()


def _in_ledger(batch: Batch, op: ops.ProgAttach | ops.ProgDetach, *, strike: bool) -> None:
    """What was opened by its path outlives this process: a cgroup that nobody here made, a device."""
    ledger = batch.table.ledger
    if ledger is None or isinstance(op.target, int) or (target := batch.entry(op.target)).kind not in ("dir", "file"):
        return
    words = attachment(target.handle.name, op.attach_type, prog_id=kernel_id(batch.fd(op.prog), "prog"))
    (ledger.strike if strike else ledger.note)("attachment", words)


def _target_key(batch: Batch, target: ops.Obj | int) -> object:
    return target if isinstance(target, int) else batch.entry(target).handle


def _words(batch: Batch, target: ops.Obj | int) -> str:
    return f"ifindex {target}" if isinstance(target, int) else batch.entry(target).label


def prog_query(op: ops.ProgQuery, batch: Batch) -> ops.Result:
    """What is attached. Kernels before 6.6 have no room for links in the question."""
    target = batch.fd(op.target)
    try:
        return inside(batch, op.netns, call=lambda: _query(op, target, with_links=True))
    except OSError as error:
        if error.errno not in (errno.E2BIG, errno.EINVAL):
            raise
    return inside(batch, op.netns, call=lambda: _query(op, target, with_links=False))


def _query(op: ops.ProgQuery, target: int, *, with_links: bool) -> ops.Queried:
    ids, links = Memory(4 * _MAX_ATTACHED), Memory(4 * _MAX_ATTACHED)
    attr = layouts.ATTR_PROG_QUERY.pack(
        target_fd=target,
        attach_type=op.attach_type,
        query_flags=op.flags,
        prog_ids=ids.address,
        prog_cnt=_MAX_ATTACHED,
        link_ids=links.address if with_links else 0,
    ).ljust(layouts.ATTR_PROG_QUERY.size, b"\0")  # the revision is written behind whatever was handed in
    bpf(Cmd.PROG_QUERY, attr)
    count = layouts.ATTR_PROG_QUERY.get(attr, name="prog_cnt")
    return ops.Queried(
        progs=struct.unpack_from(f"={count}I", ids.view),
        links=struct.unpack_from(f"={count}I", links.view) if with_links else (),
        flags=layouts.ATTR_PROG_QUERY.get(attr, name="attach_flags"),
        revision=layouts.ATTR_PROG_QUERY.get(attr, name="revision"),
    )


def perf_event_open_op(op: ops.PerfEventOpen, batch: Batch) -> ops.Result:
    """A perf event to hang a program on."""
    path = op.config1.encode() if isinstance(op.config1, str) else b""
    attr = layouts.PERF_EVENT_ATTR.pack(
        type=op.type,
        size=_PERF_ATTR_SIZE,
        config=op.config,
        sample_period=op.sample_period,
        config1=address_of(path) if isinstance(op.config1, str) else op.config1,
        config2=op.config2,
        bits=op.bits,
        bp_type=op.breakpoint,
    ).ljust(_PERF_ATTR_SIZE, b"\0")
    fd = perf_event_open(attr, pid=op.pid, cpu=op.cpu, flags=op.flags | PERF_FLAG_FD_CLOEXEC)
    name = op.config1 if isinstance(op.config1, str) else f"type {op.type} config {op.config}"
    return ops.Made(batch.own(fd, "perf_event", name=name, site=op.site).handle)


def perf_attach(op: ops.PerfAttach, batch: Batch) -> ops.Result:
    """Attach without a link. It ends with the event's fd."""
    event = batch.entry(op.event)
    perf_ioctl(batch.fd(op.event), PERF_EVENT_IOC_SET_BPF, value=batch.fd(op.prog))
    perf_ioctl(event.fd, PERF_EVENT_IOC_ENABLE)
    batch.entry(op.prog).held.add(event.handle.serial)
    return ops.Done()


def obj_pin(op: ops.ObjPin, batch: Batch) -> ops.Result:
    """Pin at a path of a bpf file system."""
    entry = batch.entry(op.obj)
    path = os.fsencode(op.path)
    bpf(Cmd.OBJ_PIN, layouts.ATTR_OBJ.pack(pathname=address_of(path), bpf_fd=batch.fd(op.obj)))
    entry.pins.append(op.path)
    if op.undo:
        batch.undo(entry, lambda: _unpin(path), kind="pin", name=op.path)
    elif batch.table.ledger is not None:
        batch.table.ledger.note("pin", op.path)
    return ops.Done()


def obj_unpin(op: ops.ObjUnpin, batch: Batch) -> ops.Result:
    """A path that is not a pin is left alone."""
    path = os.fsencode(op.path)
    os.close(bpf(Cmd.OBJ_GET, layouts.ATTR_OBJ.pack(pathname=address_of(path)).ljust(12, b"\0")))
    os.unlink(path)
    if batch.table.ledger is not None:
        batch.table.ledger.strike("pin", op.path)
    return ops.Done()


def _unpin(path: bytes) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def obj_get(op: ops.ObjGet, batch: Batch) -> ops.Result:
    """Open what is pinned at a path."""
    path = os.fsencode(op.path)
    fd = bpf(Cmd.OBJ_GET, layouts.ATTR_OBJ.pack(pathname=address_of(path)).ljust(12, b"\0"))
    kind = fd_kind(fd)
    if not kind:
        os.close(fd)
        raise Refused(f"{op.path} is pinned, but it is not a map, program or link")
    info = object_info(fd)
    named = {"map": layouts.MAP_INFO, "prog": layouts.PROG_INFO}.get(kind)
    name = named.text(info, name="name") if named is not None else ""
    entry = batch.own(fd, kind, name=name or op.path, site=op.site, own=False)
    entry.id = layouts.LINK_INFO.get(info, name="id") if kind == "link" else 0
    return ops.Made(entry.handle)
