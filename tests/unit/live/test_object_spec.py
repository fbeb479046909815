"""A specification that is opened, changed and loaded; what was asked, in the words of options."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_ebpf.agent.ops import BtfByName, Data, Failed, Handle, ListDir, MapCreate, MapSet, ProgLoad, ReadFile, Try
from pytest_ebpf.btf import types as t
from pytest_ebpf.btf.write import BtfBuilder
from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.live.facts_cache import Knowledge, facts_for
from pytest_ebpf.live.load_request import Asked, options_of
from pytest_ebpf.live.loader import Bpf
from pytest_ebpf.live.maps.map import Map
from pytest_ebpf.obj.object import MapDef
from pytest_ebpf.obj.parse import parse_object
from pytest_ebpf.plan.options import ProgramOverride
from support.paths import TESTS

OBJECTS = TESTS / "objects" / "built"
OBJ = parse_object((OBJECTS / "options.bpf.o").read_bytes(), name="options.bpf.o")
Target = Callable[..., Any]


def options(session: Any, **asked: Any) -> Any:
    return options_of(Asked(**asked), obj=OBJ, session=session)


def created(target: Any) -> dict[str, MapCreate]:
    flat = [getattr(op, "op", op) for batch in target.kernel.batches for op in batch]
    return {op.name: op for op in flat if isinstance(op, MapCreate)}


def test_opening_runs_nothing(target_on: Target) -> None:
    target = target_on()
    bpf = Bpf(target, directories=[OBJECTS])
    before = len(target.kernel.batches)
    spec = bpf.open("options.bpf.o")
    assert repr(spec).startswith("<ObjectSpec options.bpf.o: use_all, hz,")
    assert spec.name == "options.bpf.o"
    assert [problem.symbol for problem in spec.problems] == ["unknown"]
    assert len(target.kernel.batches) == before


def test_what_is_set_is_read_back_and_asked_for(target_on: Target) -> None:
    spec = Bpf(target_on(), directories=[OBJECTS]).open("options.bpf.o")
    table, program = spec.maps["table"], spec.programs["use_all"]
    assert (table.name, table.type, table.max_entries, table.pin) == ("table", 2, 2, None)
    assert (program.name, program.type, program.autoload, program.target) == ("use_all", 6, True, "")
    table.max_entries = 7
    spec.maps["outer"].inner.max_entries = 3
    program.section = "tc"
    spec.globals["limit"] = 2
    spec.pin_path = "/sys/fs/bpf/x"
    assert (table.max_entries, table.definition.max_entries) == (7, 2)
    assert repr(table) == "<MapSpec table, max_entries=7>"
    assert repr(program) == "<ProgramSpec use_all, section='tc'>"
    asked = spec.asked()
    assert asked.maps == {"table": {"max_entries": 7}, "outer": {"inner": {"max_entries": 3}}}
    assert asked.programs == {"use_all": {"section": "tc"}}
    assert (dict(asked.globals), asked.pin_path) == ({"limit": 2}, "/sys/fs/bpf/x")


def test_a_map_in_the_place_of_another(target_on: Target, session_on: Target) -> None:
    spec = Bpf(target_on(), directories=[OBJECTS]).open("options.bpf.o")
    other = Map(session_on(), definition=MapDef("x", 2), handle=Handle(1, "b", "map"))
    spec.maps["table"].replace(other)
    assert spec.asked().maps == {"table": other}


def test_values_are_listed_once_set(target_on: Target) -> None:
    spec = Bpf(target_on(), directories=[OBJECTS]).open("options.bpf.o")
    assert (dict(spec.globals), len(spec.kconfig)) == ({}, 0)
    assert "limit" in spec.globals.names
    spec.globals["limit"] = 5
    assert dict(spec.globals) == {"limit": 5}
    del spec.globals["limit"]
    assert "limit" not in spec.globals
    with pytest.raises(BpfUsageError, match="no __kconfig variable 'CONFIG_HS'"):
        spec.kconfig["CONFIG_HS"] = 1


def test_words_become_options(session_on: Target) -> None:
    session = session_on()
    handle = Handle(1, "b", "map")
    other = Map(session, definition=MapDef("x", 2), handle=handle)
    found = options(
        session,
        maps={
            "table": {"type": "hash", "contents": {1: 5}},
            "shared": other,
            "outer": 9,
            "inner_one": {"contents": [3]},
        },
        programs={"hz": True, "unknown": "tc", "use_all": {"type": "sched_cls", "attach_type": "tcx_ingress"}},
        only="hz",
        pin_path="/x",
        log_level=2,
    )
    one = bytes((1, 0, 0, 0))
    assert found.maps == {
        "table": {"type": 1, "contents": ((one, (5).to_bytes(8, "little")),)},
        "shared": handle,
        "outer": 9,
        "inner_one": {"contents": ((bytes(4), bytes((3, 0, 0, 0))),)},
    }
    assert found.programs == {
        "hz": ProgramOverride(autoload=True),
        "unknown": ProgramOverride(section="tc"),
        "use_all": ProgramOverride(type=3, attach_type=46),
    }
    assert (found.only, found.pin_path, found.log_level) == (("hz",), "/x", 2)


def test_contents_of_a_queue_have_no_keys(session_on: Target) -> None:
    found = options(session_on(), maps={"table": {"type": "queue", "key_size": 0, "contents": [1, 2]}})
    assert [key for key, _ in found.maps["table"]["contents"]] == [b"", b""]


def test_the_one_program_may_be_given_itself(target_on: Target) -> None:
    bpf = Bpf(target_on(), directories=[OBJECTS])
    program = bpf.load("one_user.bpf.o")["user"]
    found = options(bpf.session, maps={"table": {"exclusive": program}})
    assert found.maps["table"]["exclusive"] == "user"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"maps": {"table": "big"}}, "no number of entries, dict of fields or Map"),
        ({"maps": {"table": {"type": "hsah"}}}, r"(?s)no map type 'hsah'.*HASH"),
        ({"programs": {"hz": 5}}, "no section name, True, False or dict"),
        ({"programs": {"hz": {"colour": 5}}}, r"(?s)no 'colour'.*autoload"),
        ({"programs": {"hz": {"attach_type": "nowhere"}}}, "no attach type 'nowhere'"),
        ({"programs": {"hz": {"traces": ("x", "y")}}}, "expected a loaded program"),
        ({"programs": {"hz": {"target": 5}}}, "expected a loaded program"),
        ({"programs": {"hz": {"autoload": "no"}}}, r"'autoload': 'no'}}: autoload is True or False"),
        ({"programs": {"hz": {"frags": 1}}}, "frags is True or False"),
        ({"programs": {"hz": {"type": True}}}, "type is the name of a program type, or its number"),
        ({"programs": {"hz": {"section": 7}}}, "section is the name of one"),
        ({"only": []}, r"only=\(\) would load nothing"),
    ],
)
def test_words_that_no_option_has(session_on: Target, asked: dict[str, Any], words: str) -> None:
    with pytest.raises(BpfUsageError, match=words):
        options(session_on(), **asked)


def test_a_program_as_target(target_on: Target) -> None:
    bpf = Bpf(target_on(), directories=[OBJECTS])
    base = bpf.load("options.bpf.o", only="calls_replaceable", maps={"shared": {"pin": False}})["calls_replaceable"]
    found = options(bpf.session, programs={"replacement": {"extends": (base, "replaceable")}})
    override = found.programs["replacement"]
    again = options(bpf.session, programs={"replacement": {"target": (base, "replaceable")}})
    assert again.programs["replacement"].program == override.program, "as other loaders call it"
    assert (override.type, override.program.prog) == (28, base.handle)
    assert OBJ.btf is not None
    assert OBJ.btf.name(override.program.btf_id) == "replaceable"
    with pytest.raises(BpfUsageError, match="there is no function 'nowhere' in it"):
        options(bpf.session, programs={"replacement": {"extends": (base, "nowhere")}})


# -- what is known of a kernel


def blob() -> bytes:
    builder = BtfBuilder()
    builder.add(t.Int("int", 4, 32))
    return builder.build()


def test_types_are_parsed_once(tmp_path: Path) -> None:
    knowledge = Knowledge()
    path = tmp_path / "x.btf"
    path.write_bytes(blob())
    first = knowledge.types(blob())
    assert knowledge.types(path) is knowledge.types(str(path)) is knowledge.types(first) is first


def test_modules_are_listed_when_something_is_missing(target_on: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is read once, and one that is gone is forgotten."""
    lists = [b"m\0vmlinux\0", b"m\0n\0", b"n\0"]
    reads: list[str] = []

    def read(op: ReadFile) -> Data:
        reads.append(op.path)
        return Data(module)

    vmlinux = Knowledge().types(blob())
    builder = BtfBuilder(next_id=len(vmlinux))
    module = builder.build()
    target = target_on({ListDir: lambda op: Data(lists.pop(0)), ReadFile: read})
    base = target.facts()
    from dataclasses import replace

    base = replace(base, btf=vmlinux, kconfig="", kallsyms="", signature="")
    monkeypatch.setattr(type(target), "facts", lambda self: base)
    session = Bpf(target).session
    knowledge = Knowledge()
    needs = parse_object((OBJECTS / "module_types.bpf.o").read_bytes(), name="m")
    seen = [facts_for(session, needs, knowledge=knowledge, btf=None) for _ in range(3)]
    assert [sorted(facts.modules or {}) for facts in seen] == [["m"], ["m", "n"], ["n"]]
    assert reads == ["/sys/kernel/btf/m", "/sys/kernel/btf/n"]


def test_types_from_elsewhere_make_facts_of_their_own(target_on: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    target = target_on({ReadFile: Failed("ReadFile", 2, "")})
    base = target.facts()
    monkeypatch.setattr(type(target), "facts", lambda self: base)
    session, knowledge = Bpf(target).session, Knowledge()
    plain = facts_for(session, OBJ, knowledge=knowledge, btf=None)
    other = facts_for(session, OBJ, knowledge=knowledge, btf=blob())
    assert plain.core_btf is None
    assert other.core_btf is knowledge.types(blob())
    assert facts_for(session, OBJ, knowledge=knowledge, btf=blob()) is other
    assert facts_for(session, OBJ, knowledge=knowledge, btf=None) is plain


def test_nothing_but_the_needed_is_opened(target_on: Target) -> None:
    target = target_on({ReadFile: Failed("ReadFile", 2, "")})
    Bpf(target, directories=[OBJECTS]).load("one_user.bpf.o", maps={"secret": {"contents": [1]}})
    flat = [getattr(op, "op", op) for batch in target.kernel.batches for op in batch]
    assert not any(isinstance(op, BtfByName | ListDir) for op in flat)
    assert created(target)["secret"].max_entries == 1
    assert any(isinstance(op, MapSet) and op.value == (1).to_bytes(8, "little") for op in flat)
    assert sum(isinstance(op, ProgLoad) for op in flat) == 1
    assert all(isinstance(op, Try) for op in target.kernel.batches[-1] if isinstance(getattr(op, "op", None), ProgLoad))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: setattr(s.maps["table"], "max_entrie", 4),
            "map 'table' has no 'max_entrie' to set\ndid you mean max_entries",
        ),
        (
            lambda s: setattr(s.maps["outer"].inner, "max_entris", 4),
            "has no 'max_entris' to set\ndid you mean max_entries",
        ),
        (lambda s: setattr(s, "licence", 1), "object 'options.bpf.o' has no 'licence' to set\ndid you mean license?"),
        (
            lambda s: setattr(s.programs["use_all"], "targt", "f"),
            "program 'use_all' has no 'targt' to set\ndid you mean target?",
        ),
        (lambda s: setattr(s.programs["use_all"], "zz", 1), "has no 'zz' to set\nWhat can be set: type, attach_type"),
        (lambda s: setattr(s.maps["table"], "inner", None), "'inner' of map 'table' cannot be set"),
        (lambda s: setattr(s.maps["table"], "name", "x"), "'name' of map 'table' cannot be set"),
        (lambda s: setattr(s, "maps", {}), "'maps' of object 'options.bpf.o' cannot be set"),
    ],
)
def test_c6_specs_refuse_unknown_attributes(target_on: Target, change: Any, message: str) -> None:
    spec = Bpf(target_on(), directories=[OBJECTS]).open("options.bpf.o")
    with pytest.raises(BpfUsageError) as refused:
        change(spec)
    assert message in str(refused.value)
    assert spec.asked() == Bpf(target_on(), directories=[OBJECTS]).open("options.bpf.o").asked()
