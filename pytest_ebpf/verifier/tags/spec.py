"""What the tags of a program ask for, as a value: how it is loaded, what has to come out, and where it applies.

Rules: parse_test_spec() in tools/testing/selftests/bpf/test_loader.c, Linux 6.12 to 7.2. What an unprivileged load
does not set itself, it takes from the privileged one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.frozen import dataclass
from pytest_ebpf.suggest import did_you_mean
from pytest_ebpf.uapi.capabilities import Capability
from pytest_ebpf.uapi.flags import ProgFlag
from pytest_ebpf.verifier.log.expect import Wanted
from pytest_ebpf.verifier.log.pattern import compile_pattern
from pytest_ebpf.verifier.tags.tags import TAGS, Tag, read_tags

__all__ = ["ANY_VALUE", "MACHINES", "PROG_FLAGS", "Expectation", "TestSpec", "make_spec"]

ANY_VALUE = "any"  # __retval(POINTER_VALUE): run it and accept any value

PROG_FLAGS = {f"BPF_F_{flag.name}": int(flag) for flag in ProgFlag}
MACHINES = {  # value of an __arch_* tag -> uname -m
    "X86_64": "x86_64",
    "ARM64": "aarch64",
    "RISCV64": "riscv64",
    "S390X": "s390x",
    "LOONGARCH": "loongarch64",
    "POWERPC64": "ppc64le",
}
_CAPABILITIES = {
    f"CAP_{one.name}": int(one)
    for one in (Capability.NET_ADMIN, Capability.SYS_ADMIN, Capability.PERFMON, Capability.BPF)
}
_VALUES = {"INT_MIN": -(1 << 31), "_INT_MIN": -(1 << 31), "TEST_DATA_LEN": 64}
_POINTERS = ("POINTER_VALUE", "0xcafe4all", "0xbadcafe")  # the macro, and what it stood for
_LOAD_MODES = {"jited": "jited", "no_jited": "interpreted"}
_RELEASES = re.compile(r"\s*(?:[<>=!~]=|[<>])\s*\d+(?:\.\d+)*(?:\.\*)?\s*")
_LISTS = {
    "expect_msg": "messages",
    "expect_not_msg": "messages",
    "expect_regex": "messages",
    "expect_xlated": "xlated",
    "expect_stderr": "stderr",
    "expect_stdout": "stdout",
}
_LINE_BY_LINE = frozenset({"expect_xlated", "expect_stderr", "expect_stdout"})


@dataclass(frozen=True, slots=True)
class Expectation:
    """What one load has to give. ``retval``: None when the program is not run, a number (32 bits, signed), or
    ``ANY_VALUE``. ``jited``: by machine (uname -m). ``caps``: numbers that an unprivileged load keeps."""

    rejected: bool = False
    messages: tuple[Wanted, ...] = ()
    xlated: tuple[Wanted, ...] = ()
    jited: tuple[tuple[str, tuple[Wanted, ...]], ...] = ()
    stderr: tuple[Wanted, ...] = ()
    stdout: tuple[Wanted, ...] = ()
    retval: int | str | None = None
    caps: tuple[int, ...] = ()

    def jited_on(self, machine: str) -> tuple[Wanted, ...]:
        """What the machine code for a machine has to hold."""
        return dict(self.jited).get(machine, ())


@dataclass(frozen=True, slots=True)
class TestSpec:
    """The tags of one program. ``priv``, ``unpriv``: None when it is not loaded that way. ``auxiliary`` programs are no
    tests but are loaded with those of the ways they name ("priv", "unpriv").

    ``log_level`` 0: not given. ``flags`` are added to the load, ``no_flags`` taken away. ``machines`` empty: any;
    ``load_mode``: "jited", "interpreted" or "" for either. ``kernels``: version specifiers, all of which must fit.
    ``unknown``: test tags that are not known. ``problems``: what is wrong with the tags, as messages.
    """

    __test__ = False  # its name must not make pytest collect it

    program: str
    priv: Expectation | None = None
    unpriv: Expectation | None = None
    auxiliary: frozenset[str] = frozenset()
    description: str = ""
    log_level: int = 0
    flags: int = 0
    no_flags: int = 0
    machines: tuple[str, ...] = ()
    load_mode: str = ""
    linear_size: int = 0
    btf_path: str = ""
    btf_func_path: str = ""
    kconfig: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def make_spec(program: str, texts: Iterable[str]) -> TestSpec:
    """The spec of a program from the texts of its declaration tags. Never raises: what is wrong is in ``problems``.

    A program without any tag has to load, as in the kernel's own runner."""
    return _Maker(program, read_tags(texts)).spec()


class _Way:
    """One way of loading, while its tags are read."""

    def __init__(self) -> None:
        self.asked = False
        self.results: list[bool] = []  # rejected?
        self.retvals: list[int | str] = []
        self.lists: dict[str, list[Wanted]] = {}
        self.jited: dict[str, list[Wanted]] = {}
        self.adjacent: dict[str, bool] = {}

    def push_line(self, pattern: str, into: list[Wanted], *, key: str) -> None:
        """Lines follow each other unless ``...`` stands between them."""
        if pattern == "...":
            self.adjacent[key] = False
            return
        into.append(Wanted(pattern, next_line=self.adjacent.get(key, True) and bool(into)))
        self.adjacent[key] = True

    def expectation(self, other: _Way, *, caps: tuple[int, ...]) -> Expectation:
        """``other``: the source of values that this way does not set."""
        results, retvals = self.results or other.results, self.retvals or other.retvals
        lists = {name: tuple(self.lists.get(name) or other.lists.get(name) or ()) for name in set(_LISTS.values())}
        jited = tuple((machine, tuple(lines)) for machine, lines in (self.jited or other.jited).items())
        return Expectation(
            rejected=bool(results) and results[-1],
            retval=retvals[-1] if retvals else None,
            jited=jited,
            caps=caps,
            **lists,
        )


class _Maker:
    """Reads tags one by one."""

    def __init__(self, program: str, tags: Sequence[Tag]) -> None:
        self._program = program
        self._ways = {"priv": _Way(), "unpriv": _Way()}
        self._machines: list[str] = []
        self._plain: dict[str, str] = {}
        self._flags = [0, 0]
        self._caps: list[int] = []
        self._auxiliary: set[str] = set()
        self._collected: dict[str, list[str]] = {"kernel": [], "kconfig": []}
        self._unknown: list[str] = []
        self._problems: list[str] = []
        for tag in tags:
            self._take(tag)
        self._contradictions()

    def spec(self) -> TestSpec:
        priv, unpriv = self._ways["priv"], self._ways["unpriv"]
        both_silent = not priv.asked and not unpriv.asked
        return TestSpec(
            program=self._program,
            priv=priv.expectation(_Way(), caps=()) if priv.asked or both_silent else None,
            unpriv=unpriv.expectation(priv, caps=tuple(self._caps)) if unpriv.asked else None,
            auxiliary=frozenset(self._auxiliary),
            description=self._plain.get("description", ""),
            log_level=self._number("log_level"),
            flags=self._flags[0],
            no_flags=self._flags[1],
            machines=tuple(dict.fromkeys(self._machines)),
            load_mode=self._load_mode(),
            linear_size=self._number("linear_size"),
            btf_path=self._plain.get("btf_path", ""),
            btf_func_path=self._plain.get("btf_func_path", ""),
            kconfig=tuple(self._collected["kconfig"]),
            kernels=tuple(self._collected["kernel"]),
            unknown=tuple(self._unknown),
            problems=tuple(self._problems),
        )

    def _take(self, tag: Tag) -> None:
        info = TAGS.get(tag.name)
        if info is None or (tag.unpriv and not info.unpriv):
            self._unknown.append(tag.text)
            return
        way_name = "unpriv" if tag.unpriv else "priv"
        way = self._ways[way_name]
        if info.unpriv and tag.name not in ("expect_stderr", "expect_stdout"):
            way.asked = True
        reader = getattr(self, f"_read_{tag.name}", None)
        if tag.name in _LISTS:
            self._message(tag, way)
        elif tag.name == "auxiliary":
            self._auxiliary.add(way_name)
        elif reader is not None:
            reader(tag, way)
        else:
            self._plain[tag.name] = tag.value

    def _read_expect_success(self, tag: Tag, way: _Way) -> None:
        way.results.append(False)

    def _read_expect_failure(self, tag: Tag, way: _Way) -> None:
        way.results.append(True)

    def _message(self, tag: Tag, way: _Way) -> None:
        pattern = f"{{{{{tag.value}}}}}" if tag.name == "expect_regex" else tag.value
        if not self._checked(tag, pattern):
            return
        if tag.name in _LINE_BY_LINE:
            lines = way.lists.setdefault(_LISTS[tag.name], [])
            way.push_line(pattern, lines, key=tag.name)
        else:
            wanted = Wanted(pattern, absent=tag.name == "expect_not_msg")
            way.lists.setdefault(_LISTS[tag.name], []).append(wanted)

    def _read_jited(self, tag: Tag, way: _Way) -> None:
        if not self._machines:
            self._problems.append(
                f"{_macro(tag)} stands before any __arch_* macro: put the macro of its machine before it"
            )
        elif self._checked(tag, tag.value):
            machine = self._machines[-1]
            way.push_line(tag.value, way.jited.setdefault(machine, []), key=f"jited {machine}")

    def _read_arch(self, tag: Tag, way: _Way) -> None:
        machine = MACHINES.get(tag.value.upper())
        if machine is None:
            self._problems.append(f"__arch {tag.value!r}: {_nearest(tag.value.upper(), MACHINES)}")
            return
        self._machines.append(machine)
        for each in self._ways.values():  # lines of another machine begin anew
            each.adjacent.pop(f"jited {machine}", None)

    def _read_retval(self, tag: Tag, way: _Way) -> None:
        value = tag.value.strip()
        if value in _POINTERS:
            way.retvals.append(ANY_VALUE)
            return
        number = _VALUES.get(value)
        if number is None:
            number = _int(value)
        if number is None or not -(1 << 31) <= number < 1 << 32:
            self._problems.append(
                f"{_macro(tag)} wants a number of 32 bits, INT_MIN, TEST_DATA_LEN or POINTER_VALUE, not {value!r}"
            )
            return
        way.retvals.append((number + (1 << 31)) % (1 << 32) - (1 << 31))

    def _read_prog_flags(self, tag: Tag, way: _Way) -> None:
        name = tag.value.strip()
        clear = name.startswith("!")
        name = name.removeprefix("!").strip()
        number = PROG_FLAGS.get(name)
        if number is None:
            number = _int(name)
        if number is None:
            self._problems.append(f"__flag({tag.value}): {_nearest(name, PROG_FLAGS)}")
            return
        self._flags[clear] |= number
        self._flags[not clear] &= ~number

    def _read_caps_unpriv(self, tag: Tag, way: _Way) -> None:
        self._ways["unpriv"].asked = True
        for word in tag.value.split("|"):
            number = _CAPABILITIES.get(word.strip())
            number = _int(word.strip()) if number is None else number
            if number is None or not 0 <= number < 64:
                self._problems.append(f"__caps_unpriv({tag.value}): {_nearest(word.strip(), _CAPABILITIES)}")
            else:
                self._caps.append(number)

    def _read_kernel(self, tag: Tag, way: _Way) -> None:
        if all(_RELEASES.fullmatch(part) for part in tag.value.split(",")):
            self._collected["kernel"].append(tag.value.strip())
        else:
            self._problems.append(f'__kernel("{tag.value}"): write releases as in __kernel(">=5.15,<6.12")')

    def _read_kconfig(self, tag: Tag, way: _Way) -> None:
        self._collected["kconfig"].append(tag.value.strip())

    def _load_mode(self) -> str:
        given = self._plain.get("load_mode", "")
        if given and given not in _LOAD_MODES:
            self._problems.append(f"load_mode={given}: {_nearest(given, _LOAD_MODES)}")
        return _LOAD_MODES.get(given, "")

    def _number(self, name: str) -> int:
        text = self._plain.get(name, "0").strip()
        number = _int(text)
        if number is None or number < 0:
            self._problems.append(f"__{name}({text}) wants a number")
            return 0
        return number

    def _checked(self, tag: Tag, pattern: str) -> bool:
        try:
            compile_pattern(pattern)
        except BpfUsageError as error:
            self._problems.append(f"{_macro(tag)}: {error.message}")
            return False
        return True

    def _contradictions(self) -> None:
        for name, way in self._ways.items():
            suffix = "_unpriv" if name == "unpriv" else ""
            if len(set(way.results)) > 1:
                self._problems.append(f"both __success{suffix} and __failure{suffix}: a program cannot do both")
            if len(set(way.retvals)) > 1:
                self._problems.append(
                    f"__retval{suffix} has the values {' and '.join(map(str, way.retvals))}: give one value"
                )


def _macro(tag: Tag) -> str:
    name = TAGS[tag.name].macro.partition("(")[0]
    return f"{name}_unpriv" if tag.unpriv else name


def _int(text: str) -> int | None:
    try:
        return int(text, 16 if text.lower().lstrip("+-").startswith("0x") else 10)
    except ValueError:
        return None


def _nearest(name: str, known: Iterable[str]) -> str:
    return f"there is no {name!r}; {did_you_mean(name, known, most=1)}"
