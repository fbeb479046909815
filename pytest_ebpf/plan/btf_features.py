"""What BTF a kernel accepts, found by loading a little of each kind. Never by version: distributions backport."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pytest_ebpf.btf.types import Kind
from pytest_ebpf.plan.btf_blob import Strings, blob, info_word

__all__ = ["BTF_FEATURES", "BtfFeature"]


@dataclass(frozen=True, slots=True)
class BtfFeature:
    """``name``, the first release with it, the kernel commit, and a maker of the probe's type records after
    type 1 (``int``)."""

    name: str
    since: str
    commit: str
    records: Callable[[Strings], list[int]]

    def probe(self, *, byteorder: str) -> bytes:
        """BTF that loads exactly where the feature exists."""
        strings = Strings()
        words = [strings.add("int"), info_word(Kind.INT), 4, 1 << 24 | 32, *self.records(strings)]
        return blob(words, bytes(strings), byteorder=byteorder)


def _plain(strings: Strings) -> list[int]:
    return []


def _func(strings: Strings, *, linkage: int = 0) -> list[int]:
    proto = [0, info_word(Kind.FUNC_PROTO, vlen=1), 0, strings.add("a"), 1]
    return [*proto, strings.add("f"), info_word(Kind.FUNC, vlen=linkage), 2]


def _func_global(strings: Strings) -> list[int]:
    return _func(strings, linkage=1)


def _datasec(strings: Strings, *, name: str = ".data") -> list[int]:
    var = [strings.add("x"), info_word(Kind.VAR), 1, 0]
    return [*var, strings.add(name), info_word(Kind.DATASEC, vlen=1), 4, 2, 0, 4]


def _datasec_name(strings: Strings) -> list[int]:
    return _datasec(strings, name="?.data/x")


def _float(strings: Strings) -> list[int]:
    return [strings.add("float"), info_word(Kind.FLOAT), 4]


def _decl_tag(strings: Strings) -> list[int]:
    var = [strings.add("x"), info_word(Kind.VAR), 1, 0]
    return [*var, strings.add("tag"), info_word(Kind.DECL_TAG), 2, 0xFFFFFFFF]


def _type_tag(strings: Strings) -> list[int]:
    return [strings.add("tag"), info_word(Kind.TYPE_TAG), 1, 0, info_word(Kind.PTR), 2]


def _attribute(strings: Strings) -> list[int]:
    tag = info_word(Kind.TYPE_TAG, kflag=True)
    return [strings.add("attr"), tag, 1, 0, info_word(Kind.PTR), 2]


def _enum64(strings: Strings) -> list[int]:
    return [strings.add("e"), info_word(Kind.ENUM64, vlen=1), 8, strings.add("v"), 1, 0]


# The order is that of the probes in a batch.
BTF_FEATURES: tuple[BtfFeature, ...] = (
    BtfFeature("btf", "4.18", "69b693f0aefa", _plain),
    BtfFeature("func", "5.0", "2667a2626f4d", _func),
    BtfFeature("datasec", "5.2", "1dc92851849c", _datasec),
    BtfFeature("func_global", "5.6", "51c39bb1d5d1", _func_global),
    BtfFeature("float", "5.13", "b1828f0b0482", _float),
    BtfFeature("decl_tag", "5.16", "b5ea834dde6b", _decl_tag),
    BtfFeature("type_tag", "5.17", "8c42d2fa4eea", _type_tag),
    BtfFeature("enum64", "6.0", "6089fb325cf7", _enum64),  # and with it the sign of enums
    BtfFeature("datasec_name", "6.12", "bd70a8fb7ca4", _datasec_name),  # any printable character in a section name
    BtfFeature("attribute", "6.15", "53ee0d66d7a6", _attribute),  # kind_flag on TYPE_TAG and DECL_TAG
)
