"""The headers this package knows, as one table. A protocol is a row; building and parsing read the row.

Field names are the ones scapy users know."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pytest_ebpf.packets.rows_link import LINK_ROWS
from pytest_ebpf.packets.rows_network import NETWORK_ROWS
from pytest_ebpf.packets.rows_transport import TRANSPORT_ROWS
from pytest_ebpf.packets.spec import HeaderSpec

__all__ = ["PROTOCOLS"]

PROTOCOLS: Mapping[str, HeaderSpec] = MappingProxyType(
    {row.key: row for row in (*LINK_ROWS, *NETWORK_ROWS, *TRANSPORT_ROWS)}
)
