"""A sound object, cut at any length, gets a message."""

from __future__ import annotations

import pytest

from pytest_ebpf.errors import ObjectError
from pytest_ebpf.obj.parse import parse_object
from support.sample_object import sample


def error_of(data: bytes) -> ObjectError:
    with pytest.raises(ObjectError) as caught:
        parse_object(data, name="prog.o")
    return caught.value


def test_cut_at_any_length_is_an_error_never_anything_else() -> None:
    data = sample()
    for length in range(0, len(data), 7):
        error_of(data[:length])
