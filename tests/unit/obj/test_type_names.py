"""Types as text that is an enum."""

from __future__ import annotations

from enum import IntEnum, StrEnum

import pytest

from pytest_ebpf.obj.type_names import attach_type_text, link_type_text, map_type_text, prog_type_text
from pytest_ebpf.uapi.enums import AttachType, MapType, ProgType
from pytest_ebpf.uapi.links import LinkType
from pytest_ebpf.uapi.names import AttachTypeName, LinkTypeName, MapTypeName, ProgTypeName


@pytest.mark.parametrize(
    ("numbers", "names", "text"),
    [
        (ProgType, ProgTypeName, prog_type_text),
        (MapType, MapTypeName, map_type_text),
        (AttachType, AttachTypeName, attach_type_text),
        (LinkType, LinkTypeName, link_type_text),
    ],
)
def test_each_number_has_its_name(numbers: type[IntEnum], names: type[StrEnum], text: object) -> None:
    assert callable(text)
    assert [text(number.value) for number in numbers] == list(names)
    assert all(text(number.value) is names[number.name] for number in numbers)
    assert all(str(text(number.value)) == number.name.lower() for number in numbers)


def test_a_number_without_a_name_is_text() -> None:
    assert prog_type_text(999) == "999"
    assert map_type_text(-1) == "-1"
    assert link_type_text(999) == "999"
