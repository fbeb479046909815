"""The index of an interface, which counts in its own network namespace only."""

from __future__ import annotations

__all__ = ["IfIndex"]


class IfIndex(int):
    """A number that knows its namespace: without it, it would mean another interface in the machine's own."""

    netns: object

    def __new__(cls, value: int, *, netns: object) -> IfIndex:
        self = super().__new__(cls, value)
        self.netns = netns
        return self
