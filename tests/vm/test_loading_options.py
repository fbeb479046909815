"""What can be asked to be different when an object is loaded, on real kernels. The host unless kernels are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_ebpf import Bpf, BpfUsageError, KernelCallError, ObjectError, PlanError
from pytest_ebpf.agent.ops import Close, Data, ListDir, Made, MapCreate, Mount, ObjGet, ObjPin, Try
from pytest_ebpf.live.pin_reuse import reuse_pinned
from support.paths import TESTS

BUILT = TESTS / "objects" / "built"
OPTIONS = BUILT / "options.bpf.o"
FRAME = bytes(64)
UNPINNED = {"shared": {"pin": False}}


def pinned(bpf: Bpf, path: str) -> bool:
    (found,) = bpf.session.run([Try(ObjGet(path))])
    if isinstance(found, Made):
        bpf.session.run([Close(found.handle)])
    return isinstance(found, Made)


# -- nothing asked for


def test_as_it_is(bpf: Bpf) -> None:
    obj = bpf.load(OPTIONS)
    assert list(obj.programs) == ["use_all"]
    assert obj["use_all"].run(FRAME).retval == 0
    assert obj.globals["counter"] == 10 + 1 + 4
    assert obj.maps["shared"] == {1: 1}
    assert [problem.symbol for problem in obj.problems] == ["unknown"]  # its section costs the program, not the object
    with pytest.raises(KeyError, match="no program type goes by this section name"):
        obj["unknown"]


# -- globals


def test_constants_and_variables(bpf: Bpf) -> None:
    obj = bpf.load(OPTIONS, globals={"limit": 30, "counter": 100, "own_section": 1}, maps=UNPINNED)
    obj["use_all"].run(FRAME)
    assert obj.globals["counter"] == 131
    assert obj.maps[".data.mine"].definition.section == ".data.mine"
    obj.globals["own_section"] = 1000
    obj["use_all"].run(FRAME)
    assert obj.globals["counter"] == 131 + 1030
    with pytest.raises(BpfUsageError, match="constant"):
        obj.globals["limit"] = 2


# -- kconfig


def test_configuration_as_a_test_wants_it(bpf: Bpf) -> None:
    def load(name: str, **kconfig: object) -> int:
        return int(bpf.load(OPTIONS, only=name, kconfig=kconfig, maps=UNPINNED)[name].run(FRAME).retval)

    assert load("hz", CONFIG_HZ=123) == 123
    with pytest.raises(PlanError, match="CONFIG_HZ is y in this kernel, which its C type cannot hold"):
        load("hz", CONFIG_HZ="y")
    assert load("probed", CONFIG_NOT_THERE_AT_ALL="m", LINUX_HAS_SYSCALL_WRAPPER=0, LINUX_HAS_BPF_COOKIE=1) == 10
    assert load("probed", CONFIG_NOT_THERE_AT_ALL="TRI_YES", LINUX_HAS_SYSCALL_WRAPPER=1, LINUX_HAS_BPF_COOKIE=0) == 5
    with pytest.raises(ObjectError, match=r"(?s)no __kconfig variable 'CONFIG_HS'.*CONFIG_HZ"):
        load("hz", CONFIG_HS=1)


def test_configuration_as_the_kernel_has_it(bpf: Bpf) -> None:
    release = bpf.session.target.described.release
    major, minor = (int(part) for part in release.replace("-", ".").split(".")[:2])
    version = int(bpf.load(OPTIONS, only="version", maps=UNPINNED)["version"].run(FRAME).retval)
    assert version >> 8 == major << 8 | minor
    probed = int(bpf.load(OPTIONS, only="probed", maps=UNPINNED)["probed"].run(FRAME).retval)
    assert probed & 1  # all kernels of the matrix wrap their system calls
    assert bool(probed & 2) == ((major, minor) >= (5, 15))
    assert probed < 4  # a weak variable that no configuration has is zero


# -- maps


def test_a_map_of_another_size_and_with_contents(bpf: Bpf) -> None:
    obj = bpf.load(OPTIONS, maps={"table": {"max_entries": 3, "contents": [5, 6]}, **UNPINNED})
    assert obj["use_all"].run(FRAME).retval == 6
    assert obj.maps["table"].items() == [(0, 5), (1, 6), (2, 0)]
    obj = bpf.load(OPTIONS, maps={"shared": {"pin": False, "contents": {7: 9}}, "table": 1})
    assert obj.maps["shared"] == {7: 9}
    assert len(obj.maps["table"]) == 1


def test_a_frozen_map(bpf: Bpf) -> None:
    obj = bpf.load(OPTIONS, maps={"table": {"contents": {1: 8}, "freeze": True}, **UNPINNED})
    assert obj["use_all"].run(FRAME).retval == 8
    with pytest.raises(KernelCallError, match="EPERM"):
        obj.maps["table"][1] = 2


def test_maps_in_a_map(bpf: Bpf) -> None:
    first = bpf.load(OPTIONS, maps=UNPINNED)
    inner = first.maps["inner_one"]
    obj = bpf.load(OPTIONS, maps={"outer": {"contents": {3: inner}}, **UNPINNED})
    inner[0] = 55
    assert obj.maps["outer"][3][0] == 55
    larger = bpf.load(OPTIONS, maps={"outer": {"inner": {"value_size": 8, "max_entries": 2}}, **UNPINNED})
    with pytest.raises(KernelCallError, match="EINVAL"):
        larger.maps["outer"][0] = inner


def test_sections_of_data_can_be_shared_and_grow(bpf: Bpf) -> None:
    first = bpf.load(OPTIONS, maps=UNPINNED)
    second = bpf.load(OPTIONS, maps={".data": first.maps[".data"], **UNPINNED})
    first["use_all"].run(FRAME)
    second["use_all"].run(FRAME)
    assert first.globals["counter"] == second.globals["counter"] == 20
    larger = bpf.load(OPTIONS, maps={".data": {"value_size": 64}, **UNPINNED})
    assert larger.maps[".data"].definition.value_size == 64
    assert larger.globals["counter"] == 10


@pytest.mark.bpf_kernel(">=6.18")
def test_a_map_for_one_program_alone(bpf: Bpf) -> None:
    exclusive = {"secret": {"exclusive": "user", "contents": [40]}}
    assert bpf.load(BUILT / "one_user.bpf.o", maps=exclusive)["user"].run(FRAME).retval == 42
    with bpf.rejects("program's hash doesn't match map's excl_prog_hash"):
        bpf.load(BUILT / "one_user.bpf.o", maps=exclusive, only=["user", "intruder"])


@pytest.mark.bpf_feature("arena")
def test_variables_in_an_arena(bpf: Bpf) -> None:
    obj = bpf.load(BUILT / "arena.bpf.o")
    assert (obj.globals["first"], obj.globals["second"]) == (11, 22)
    obj.globals["second"] = 99
    assert (obj.globals["first"], obj.globals["second"]) == (11, 99)
    assert obj["distance"].run().retval == 4


# -- programs


def test_a_program_in_another_section(bpf: Bpf) -> None:
    obj = bpf.load(OPTIONS, programs={"unknown": "xdp", "use_all": False}, maps=UNPINNED)
    assert list(obj.programs) == ["unknown"]
    assert (obj["unknown"].type, int(obj["unknown"].run(FRAME).retval)) == ("xdp", 5)
    obj = bpf.load(OPTIONS, programs={"unknown": {"type": "sched_cls"}}, only="unknown", maps=UNPINNED)
    assert (obj["unknown"].type, int(obj["unknown"].run(FRAME).retval)) == ("sched_cls", 5)


def test_switched_on_and_off(bpf: Bpf) -> None:
    obj = bpf.load(OPTIONS, programs={"use_all": False, "hz": {"autoload": True}}, maps=UNPINNED)
    assert list(obj.programs) == ["hz"]


@pytest.mark.bpf_kernel(">=5.18")
def test_packets_in_pieces(bpf: Bpf) -> None:
    obj = bpf.load(OPTIONS, only="use_all", programs={"use_all": {"frags": True}}, maps=UNPINNED)
    assert obj["use_all"].run(bytes(9000)).retval == 0


@pytest.mark.bpf_feature("fentry")
def test_an_extension(bpf: Bpf) -> None:
    """Attached, the replacement answers instead of the function."""
    base = bpf.load(OPTIONS, only="calls_replaceable", maps=UNPINNED)
    assert base["calls_replaceable"].run(FRAME).retval in (1, 2)
    target = (base["calls_replaceable"], "replaceable")
    obj = bpf.load(OPTIONS, only="replacement", programs={"replacement": {"extends": target}}, maps=UNPINNED)
    assert obj["replacement"].type == "ext"
    with pytest.raises(BpfUsageError, match="there is no function 'nowhere'"):
        bpf.load(OPTIONS, programs={"replacement": {"extends": (base["calls_replaceable"], "nowhere")}})


@pytest.mark.parametrize(
    ("programs", "words"),
    [
        ({"use_al": "xdp"}, "no program 'use_al' to change"),
        ({"use_all": "xpd"}, "no section 'xpd' is known"),
        ({"use_all": {"colour": 1}}, "no 'colour'"),
        ({"use_all": {"type": "xpd"}}, "no program type 'xpd'"),
        ({"use_all": 5}, "no section name, True, False or dict"),
        ({"use_all": {"extends": 5}}, "expected a loaded program, got 5"),
    ],
)
def test_what_programs_do_not_take(bpf: Bpf, programs: dict[str, object], words: str) -> None:
    with pytest.raises((ObjectError, BpfUsageError), match=words):
        bpf.load(OPTIONS, programs=programs)


# -- types


def test_types_of_another_kernel(bpf: Bpf, tmp_path: Path) -> None:
    """CO-RE goes by what it is given: with types in which nothing exists, what the program asks for is not there."""
    from pytest_ebpf.btf import types as t
    from pytest_ebpf.btf.write import BtfBuilder

    builder = BtfBuilder()
    u32 = builder.add(t.Int("unsigned int", 4, 32))
    builder.add(t.Struct("nf_conntrack_net", 4096, (t.Member("users4", u32, 64),)))
    path = tmp_path / "elsewhere.btf"
    path.write_bytes(builder.build())
    for source in (path, str(path), builder.build()):
        obj = bpf.load(BUILT / "module_types.bpf.o", only="size_of_type", btf=source)
        assert obj["size_of_type"].run(FRAME).retval == 4096
    with pytest.raises(ObjectError, match="neither BTF nor an ELF file"):
        bpf.load(BUILT / "module_types.bpf.o", only="size_of_type", btf=b"nonsense")
    with pytest.raises(ObjectError, match="types cannot be read"):
        bpf.load(BUILT / "module_types.bpf.o", only="size_of_type", btf=tmp_path / "nowhere")


# -- pins


def test_pinned_by_name(bpf: Bpf) -> None:
    """The second load uses the map of the first; the pin goes with the object that made it."""
    first = bpf.load(OPTIONS, pin_path="/sys/fs/bpf/pytest_one/deep")
    assert pinned(bpf, "/sys/fs/bpf/pytest_one/deep/shared")
    second = bpf.load(OPTIONS, pin_path="/sys/fs/bpf/pytest_one/deep")
    first["use_all"].run(FRAME)
    assert second.maps["shared"] == {1: 1}
    second.close()
    assert pinned(bpf, "/sys/fs/bpf/pytest_one/deep/shared")
    first.close()
    assert not pinned(bpf, "/sys/fs/bpf/pytest_one/deep/shared")


def test_a_pin_of_another_map(bpf: Bpf) -> None:
    at = {"shared": {"pin": "/sys/fs/bpf/pytest_two"}}
    bpf.load(OPTIONS, maps=at)
    with pytest.raises(PlanError, match=r"pinned at /sys/fs/bpf/pytest_two has max_entries 8 instead of 9"):
        bpf.load(OPTIONS, maps={"shared": {"pin": "/sys/fs/bpf/pytest_two", "max_entries": 9}})
    with pytest.raises(PlanError, match=r"type HASH instead of ARRAY"):
        bpf.load(OPTIONS, maps={"table": {"pin": "/sys/fs/bpf/pytest_two"}, **UNPINNED})


def test_a_program_where_a_map_should_be(bpf: Bpf) -> None:
    obj = bpf.load(OPTIONS, maps=UNPINNED)
    pin = ObjPin(obj["use_all"].handle, "/sys/fs/bpf/pytest_three", undo=True)
    bpf.session.run([Mount("bpf", "/sys/fs/bpf", "bpf"), pin])
    with pytest.raises(PlanError, match="what is pinned at /sys/fs/bpf/pytest_three is no map"):
        bpf.load(OPTIONS, maps={"shared": {"pin": "/sys/fs/bpf/pytest_three"}})
    obj.close()


def test_somebody_pins_in_the_same_instant(bpf: Bpf, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pin appears between the look and the load: the load looks again, and uses it."""
    from pytest_ebpf.live import loader as pinning

    path = "/sys/fs/bpf/pytest_four"
    looks: list[int] = []

    def late(session, obj, *, options, facts):  # type: ignore[no-untyped-def]
        found = reuse_pinned(session, obj, options=options, facts=facts)
        if not looks:
            made = session.make(MapCreate(1, 4, 8, 8, name="other"))
            session.run([ObjPin(made, path, undo=True)])
        looks.append(1)
        return found

    monkeypatch.setattr(pinning, "reuse_pinned", late)
    obj = bpf.load(OPTIONS, maps={"shared": {"pin": path}})
    assert len(looks) == 2
    assert obj.maps["shared"] == {}


def test_a_pin_that_cannot_be(bpf: Bpf) -> None:
    with pytest.raises(KernelCallError, match="ObjPin"):
        bpf.load(OPTIONS, maps={"shared": {"pin": "/proc/pytest_five"}})
    with pytest.raises(ObjectError, match="expected an absolute path"):
        bpf.load(OPTIONS, maps={"shared": {"pin": "relative"}})


# -- several objects


@pytest.mark.parametrize("names", [("link_code", "link_test"), ("link_test", "link_code")], ids="-".join)
def test_linked(bpf: Bpf, names: tuple[str, str]) -> None:
    """The numbers are those of the same files linked by ``bpftool gen object``."""
    obj = bpf.load([BUILT / f"{name}.bpf.o" for name in names])
    assert [int(obj[name].run(FRAME).retval) for name in ("prog", "test", "test2")] == [414, 16006, 60]
    assert obj.globals["calls"] == 5
    assert obj.globals["zeroed"] == [0, 101, 0]
    assert obj.maps["seen"] == {1: 1, 2: 1}


# -- open, change, load


def test_a_specification(bpf: Bpf) -> None:
    spec = bpf.open(OPTIONS)
    assert spec.maps["table"].max_entries == 2
    assert spec.programs["hz"].autoload is False
    assert spec.programs["use_all"].type == 6
    spec.maps["table"].max_entries = 9
    spec.maps["table"].contents = {1: 66, 8: 1}
    spec.maps["shared"].pin = False
    spec.globals["limit"] = 30
    spec.programs["hz"].autoload = True
    spec.kconfig["CONFIG_HZ"] = 7
    obj = spec.load()
    assert (int(obj["use_all"].run(FRAME).retval), int(obj["hz"].run(FRAME).retval)) == (66, 7)
    assert obj.globals["counter"] == 44
    assert len(obj.maps["table"]) == 9
    spec.maps["table"].replace(obj.maps["table"])
    del spec.globals["limit"]
    again = spec.load()
    assert again.maps["table"][8] == 1
    again["use_all"].run(FRAME)
    assert again.globals["counter"] == 15


def test_open_asks_no_kernel(bpf: Bpf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpf.session, "run", lambda ops, **more: pytest.fail(f"ran {ops}"))
    spec = bpf.open([BUILT / "link_code.bpf.o", BUILT / "link_test.bpf.o"])
    assert set(spec.programs) == {"prog", "test", "test2"}


def test_errors_name_what_there_is(bpf: Bpf) -> None:
    spec = bpf.open(OPTIONS)
    with pytest.raises(BpfUsageError, match=r"(?s)no global variable 'limits'.*did you mean limit"):
        spec.globals["limits"] = 1
    with pytest.raises(KeyError, match="did you mean 'table'"):
        spec.maps["tabel"]
    with pytest.raises(ObjectError, match="no map 'tabel' to override"):
        bpf.load(OPTIONS, maps={"tabel": 1})
    with pytest.raises(BpfUsageError, match="no object file"):
        bpf.load([])


def test_the_machine_is_as_before(bpf: Bpf) -> None:
    """What the tests above pinned is gone with them."""
    (names,) = bpf.session.run([ListDir("/sys/fs/bpf")])
    assert isinstance(names, Data)
    left = {name.decode() for name in names.data.split(b"\0")}
    assert not left & {"pytest_one", "pytest_two", "pytest_three", "pytest_four", "shared"}
