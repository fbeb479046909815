"""One module per line of the list of loader faults: test_NN_<topic>.py is about line NN.

Objects are in tests/objects/built (of real compilers) or written by tests/support/fault_objects.py. A test with the
fixture ``bpf`` needs a kernel: the host, unless kernels are named.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.obj.read import read_object

BUILT = Path(__file__).parents[1] / "objects" / "built"


@pytest.fixture
def built() -> Path:
    """The directory of compiled objects."""
    return BUILT


@pytest.fixture
def parsed() -> object:
    """Parses a compiled object by its name without ".bpf.o"."""

    def parse(name: str) -> ObjectFile:
        return read_object(BUILT / f"{name}.bpf.o")

    return parse
