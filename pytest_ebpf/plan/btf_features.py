"""The BTF features of a kernel, found by loading a small sample of each; not by version, as distributions backport."""

from __future__ import annotations

from pytest_ebpf.btf import types as t
from pytest_ebpf.btf.types import BtfType, Kind
from pytest_ebpf.btf.write import BtfBuilder
from pytest_ebpf.frozen import dataclass

__all__ = ["BTF_FEATURES", "BtfFeature"]


@dataclass(frozen=True, slots=True)
class BtfFeature:
    """``name``, the first release with it, the kernel commit, and the types of the probe, ids from 1 on."""

    name: str
    since: str
    commit: str
    types: tuple[BtfType, ...]

    def probe(self, *, byteorder: str) -> bytes:
        """BTF that loads exactly where the feature exists."""
        builder = BtfBuilder(byteorder=byteorder)
        for type_ in self.types:
            builder.add(type_)
        return builder.build()


_INT = t.Int("int", 4, 32, signed=True)
_PROTO = t.FuncProto(0, (t.Param("a", 1),))
_VAR = t.Var("x", 1)


def _section(name: str) -> t.DataSec:
    return t.DataSec(name, 4, (t.SecVar(2, 0, 4),))


# The order is that of the probes in a batch.
BTF_FEATURES: tuple[BtfFeature, ...] = (
    BtfFeature("btf", "4.18", "69b693f0aefa", (_INT,)),
    BtfFeature("func", "5.0", "2667a2626f4d", (_INT, _PROTO, t.Func("f", 2, 0))),
    BtfFeature("datasec", "5.2", "1dc92851849c", (_INT, _VAR, _section(".data"))),
    BtfFeature("func_global", "5.6", "51c39bb1d5d1", (_INT, _PROTO, t.Func("f", 2, 1))),
    BtfFeature("float", "5.13", "b1828f0b0482", (_INT, t.Float("float", 4))),
    BtfFeature("decl_tag", "5.16", "b5ea834dde6b", (_INT, _VAR, t.DeclTag("tag", 2))),
    BtfFeature("type_tag", "5.17", "8c42d2fa4eea", (_INT, t.Modifier(Kind.TYPE_TAG, 1, "tag"), t.Ptr(2))),
    BtfFeature(
        "enum64", "6.0", "6089fb325cf7", (_INT, t.Enum("e", 8, (("v", 1),), is_64=True))
    ),  # also the sign of enums
    BtfFeature(
        "datasec_name", "6.12", "bd70a8fb7ca4", (_INT, _VAR, _section("?.data/x"))
    ),  # any printable character in a section name
    BtfFeature(
        "attribute", "6.15", "53ee0d66d7a6", (_INT, t.Modifier(Kind.TYPE_TAG, 1, "attr", is_attr=True), t.Ptr(2))
    ),  # kind_flag on TYPE_TAG and DECL_TAG
)
