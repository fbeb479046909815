"""How a bundle starts: modules come from one table in memory instead of hundreds of small reads over 9p.

``vm/guest/bundle.py`` makes one byte code file of this module, a table ``{name: (is_package, byte code)}`` of
the agent and of what it uses of the standard library, and a call of ``start``. This module imports built-in ones only.
"""

import sys
from _frozen_importlib import ModuleSpec
from marshal import loads

__all__ = ["Modules", "Table", "start"]

Table = dict[str, tuple[bool, bytes]]


class Modules:
    """A finder and loader of the modules in a table."""

    __slots__ = ("_table",)

    def __init__(self, table: Table) -> None:
        self._table = table

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        """The specification of a module in the table, None for others."""
        if name not in self._table:
            return None
        return ModuleSpec(name, self, is_package=self._table[name][0])  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """The usual module will do."""

    def exec_module(self, module: object) -> None:
        """Run the byte code."""
        exec(loads(self._table[vars(module)["__name__"]][1]), vars(module))


def start(table: Table) -> int:
    """Be process 1 if that is what we are, else an agent on standard input and output."""
    import os

    sys.meta_path.insert(0, Modules(table))
    if os.getpid() == 1:
        from pytest_ebpf.agent.protocol.init import main
    else:
        from pytest_ebpf.agent.protocol.serve import main
    return main(sys.argv[1:])
