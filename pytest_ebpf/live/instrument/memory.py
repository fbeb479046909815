"""The memory that rewritten programs share with the test: the one value of an array map."""

from __future__ import annotations

from pytest_ebpf.agent.ops import Close, Data, Done, Handle, MapCreate, MemRead, MemWrite, Op, Try
from pytest_ebpf.live.inspect import queries
from pytest_ebpf.live.session import Session
from pytest_ebpf.uapi.enums import MapType
from pytest_ebpf.uapi.flags import MapCreateFlag

__all__ = ["Memory"]


class Memory:
    """``size`` bytes, zero at first. Programs reach them by address (Linux 5.2), the test through a mapping (5.5)."""

    def __init__(self, session: Session, *, size: int, name: str) -> None:
        self._session = session
        self._order = session.target.described.byteorder
        self.size = max(8, size)
        self.handle: Handle = session.make(
            MapCreate(
                type=MapType.ARRAY,
                key_size=4,
                value_size=self.size,
                max_entries=1,
                flags=MapCreateFlag.MMAPABLE,
                name=name,
            )
        )

    @property
    def id(self) -> int:
        """The kernel's id of the map."""
        found: int = queries().ask_info(self._session, "map", asked=self.handle).id
        return found

    def read(self, offset: int = 0, *, size: int) -> bytes:
        """``size`` bytes from ``offset`` on."""
        return self._session.one(MemRead(self.handle, offset, size), Data).data if size else b""

    def write(self, offset: int, data: bytes) -> None:
        """Put ``data`` at ``offset``."""
        if data:
            self._session.one(self.writing(offset, data), Done)

    def writing(self, offset: int, data: bytes) -> Op:
        """The op of ``write``."""
        return MemWrite(self.handle, offset, data)

    def number(self, offset: int) -> int:
        """The u64 at ``offset``."""
        return int.from_bytes(self.read(offset, size=8), "big" if self._order == "big" else "little")

    def set_number(self, offset: int, value: int) -> None:
        """Set the u64 at ``offset``."""
        self.write(offset, self.packed(value))

    def packed(self, *values: int) -> bytes:
        """Numbers as u64 of the kernel's byte order."""
        order = "big" if self._order == "big" else "little"
        return b"".join((value & (1 << 64) - 1).to_bytes(8, "big" if order == "big" else "little") for value in values)

    def numbers(self, data: bytes) -> list[int]:
        """The u64 in ``data``."""
        order = "big" if self._order == "big" else "little"
        return [
            int.from_bytes(data[at : at + 8], "big" if order == "big" else "little") for at in range(0, len(data), 8)
        ]

    def close(self) -> None:
        """Let go of the map."""
        self._session.run([Try(Close(self.handle))])
