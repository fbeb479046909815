"""What attaching needs of a loaded program, and what a link needs of whatever is attached.

Protocols, so that this room does not import the classes of live/ that import it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from pytest_ebpf.agent.ops import Handle

if TYPE_CHECKING:
    from pytest_ebpf.btf.parse import Btf
    from pytest_ebpf.live.maps.map import Map
    from pytest_ebpf.obj.object import ProgramDef

__all__ = ["Attachable", "AttachableProgram"]


class Attachable(Protocol):
    """What is attached through a link: a program, a struct_ops table, or a program of another process."""

    @property
    def name(self) -> str: ...


class AttachableProgram(Protocol):
    """A loaded program, as ``Program`` is one."""

    @property
    def name(self) -> str: ...
    @property
    def handle(self) -> Handle: ...
    @property
    def id(self) -> int: ...
    @property
    def type(self) -> str: ...
    @property
    def type_number(self) -> int: ...
    @property
    def btf(self) -> Btf | None: ...
    @property
    def maps(self) -> Mapping[str, Map]: ...
    @property
    def definition(self) -> ProgramDef:
        """Its section, type and attach type, as the object file has them."""
        ...
