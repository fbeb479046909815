"""The BTF declaration tags of a function, as the kernel's selftests write them: texts -> named values in order.

Three spellings exist, and objects of all of them are about:

- Linux 6.1 to 6.10: ``comment:test_expect_msg=text``
- Linux 6.11 to 7.0: ``comment:test_expect_msg=N=text`` where a tag may come several times, ``comment:test_retval=0``
  where it may not
- since Linux 7.1: ``comment:N:test_expect_msg=text`` for every tag

``N`` is the compiler's ``__COUNTER__``: compilers are free to emit tags in any order, the number gives the order of
the source back. Sources: bpf_misc.h, test_loader.c under tools/testing/selftests/bpf.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from pytest_ebpf.frozen import dataclass

__all__ = ["REPEATED", "TAGS", "Tag", "TagInfo", "is_test_tag", "read_tags"]

_PREFIX = "comment:"
_NUMBERED = re.compile(r"comment:(\d+):(.*)", re.DOTALL)
_COUNTER = re.compile(r"(\d+)=(.*)", re.DOTALL)
_OURS = re.compile(r"(?:test_[a-z_]+|load_mode)(?:=|$)")


@dataclass(frozen=True, slots=True)
class TagInfo:
    """One row of the grammar. ``macro``: how it is written in C. ``unpriv``: has a form for unprivileged loads."""

    macro: str
    meaning: str
    unpriv: bool = False
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Tag:
    """``name``: without ``test_`` and ``_unpriv`` ("expect_msg"); ``value``: the text behind it, "" for none.
    ``text``: the whole tag as the object has it."""

    name: str
    value: str
    unpriv: bool
    text: str


TAGS: dict[str, TagInfo] = {
    "expect_success": TagInfo("__success", "the program loads", unpriv=True),
    "expect_failure": TagInfo("__failure", "the kernel refuses the program", unpriv=True),
    "expect_msg": TagInfo('__msg("…")', "a text in the verifier log, in this order", unpriv=True, repeated=True),
    "expect_not_msg": TagInfo(
        '__not_msg("…")', "no such text between the messages around it", unpriv=True, repeated=True
    ),
    "expect_regex": TagInfo('__regex("…")', "a regular expression in the verifier log", unpriv=True, repeated=True),
    "expect_xlated": TagInfo(
        '__xlated("…")', 'lines of the rewritten program, one after the other; "..." skips some', True, True
    ),
    "jited": TagInfo('__jited("…")', "lines of the machine code, likewise; behind an __arch_*", True, True),
    "expect_stderr": TagInfo('__stderr("…")', "lines that the run writes to BPF stream 2, likewise", True, True),
    "expect_stdout": TagInfo('__stdout("…")', "lines that the run writes to BPF stream 1, likewise", True, True),
    "retval": TagInfo("__retval(N)", "run it once: the value it returns", unpriv=True),
    "description": TagInfo('__description("…")', "a title; -k finds it"),
    "log_level": TagInfo("__log_level(N)", "the verifier's log level: 1, 2, 4 or a sum of them"),
    "prog_flags": TagInfo("__flag(F)", "a flag of the load, by name or number; __flag(!F): not", repeated=True),
    "auxiliary": TagInfo("__auxiliary", "not a test: loaded with every test of the object", unpriv=True),
    "arch": TagInfo("__arch_x86_64 …", "only on this machine (several: on any of them)", repeated=True),
    "caps_unpriv": TagInfo("__caps_unpriv(A|B)", "capabilities that the unprivileged load keeps"),
    "load_mode": TagInfo("__load_if_JITed() …", "only where the kernel compiles programs, or only where not"),
    "linear_size": TagInfo("__linear_size(N)", "bytes of the packet that lie in the linear part"),
    "btf_path": TagInfo('__btf_path("…")', "types for CO-RE to use instead of the kernel's"),
    "btf_func_path": TagInfo('__btf_func_path("…")', "types with the parameter names of naked functions"),
    "kconfig": TagInfo('__kconfig_check("CONFIG_…")', "only on kernels built with this option", repeated=True),
    "kernel": TagInfo('__kernel(">=6.1")', "only on kernels of these releases (pytest-ebpf's own)", repeated=True),
}  # fmt: skip
REPEATED = frozenset(name for name, info in TAGS.items() if info.repeated)
_ALIASES = {"caps": "caps_unpriv"}  # "test_caps_unpriv" is not the unprivileged form of another tag


def is_test_tag(text: str) -> bool:
    """Whether a declaration tag belongs to this grammar, be it known or not."""
    numbered = _NUMBERED.match(text)
    body = numbered[2] if numbered else text.removeprefix(_PREFIX)
    return text.startswith(_PREFIX) and _OURS.match(body) is not None


def read_tags(texts: Iterable[str]) -> tuple[Tag, ...]:
    """The test tags of one function in the order of its source; declaration tags of other kinds are left out."""
    found: list[tuple[int, Tag]] = []
    for text in texts:
        if is_test_tag(text):
            found.append(_read(text))
    return tuple(tag for _, tag in _in_order(found))


def _read(text: str) -> tuple[int, Tag]:
    """The tag and its place in the source, -1 where it is not known."""
    place, body = -1, text.removeprefix(_PREFIX)
    if numbered := _NUMBERED.match(text):
        place, body = int(numbered[1]), numbered[2]
    name, _, value = body.partition("=")
    name = name.removeprefix("test_")
    unpriv = name.endswith("_unpriv")
    name = name.removesuffix("_unpriv")
    if unpriv and name in _ALIASES:
        name, unpriv = _ALIASES[name], False
    if place < 0 and name in REPEATED and (counter := _COUNTER.match(value)):
        place, value = int(counter[1]), counter[2]
    return place, Tag(name, value, unpriv, text)


def _in_order(found: list[tuple[int, Tag]]) -> list[tuple[int, Tag]]:
    """Numbered tags by number. Where only some have one, these trade places among themselves; a list that is the
    wrong way round as a whole is turned."""
    places = [place for place, _ in found if place >= 0]
    if places == sorted(places):
        return found
    if places == sorted(places, reverse=True):
        return found[::-1]
    sorted_ones = iter(sorted((one for one in found if one[0] >= 0), key=lambda one: one[0]))
    return [next(sorted_ones) if one[0] >= 0 else one for one in found]
