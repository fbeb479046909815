"""What obj.attach() returns, objects as mappings, and programs opened from their pins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from uuid import uuid4

import pytest

from pytest_ebpf import Bpf, BpfUsageError, KernelCallError, open_kernel

OBJECTS = Path(__file__).parents[3] / "sample_programs" / "built"
PACKET = bytes(64)


@pytest.fixture(scope="module")
def bpf() -> Iterator[Bpf]:
    with open_kernel("host", directories=[OBJECTS]) as bpf:
        yield bpf


def test_an_object_is_a_mapping_of_programs(bpf: Bpf) -> None:
    with bpf.load("xdp_firewall.bpf.o") as obj:
        assert isinstance(obj, Mapping)
        assert list(obj) == list(obj.keys()) == ["firewall"]
        assert "firewall" in obj
        assert "firewal" not in obj
        assert len(obj) == 1
        assert obj.get("nothing") is None
        assert dict(obj.items())["firewall"] is obj["firewall"]
        with pytest.raises(KeyError, match="did you mean 'firewall'"):
            obj["firewal"]
        assert {obj: 1}[obj] == 1  # two objects are never equal
        with bpf.load("xdp_firewall.bpf.o") as other:
            assert obj != other


def test_the_end_of_attachments_leaves_the_object_loaded(bpf: Bpf) -> None:
    obj = bpf.load("xdp_firewall.bpf.o")
    with obj.attach(interface="lo", mode="skb") as attached:
        (link,) = attached.links
        assert link.attached
        assert attached.object is obj
        assert attached["firewall"] is obj["firewall"]
        assert (list(attached), len(attached), "firewall" in attached) == (["firewall"], 1, True)
        assert (attached.maps, attached.globals, attached.programs) == (obj.maps, obj.globals, obj.programs)
        assert (attached.name, repr(attached)) == ("xdp_firewall.bpf.o", "<Attachments of xdp_firewall.bpf.o: 1 links>")
    assert not link.attached
    assert obj["firewall"].run(PACKET).retval is not None
    with obj.attach(interface="lo", mode="skb") as again:
        assert again.links[0].attached
    obj.close()


def test_unloading_an_object_detaches_what_it_attached(bpf: Bpf) -> None:
    with bpf.load("xdp_firewall.bpf.o") as obj:
        attached = obj.attach(interface="lo", mode="skb")
        assert obj.links == list(attached.links)
    assert not attached.links[0].attached
    attached.detach()  # twice is harmless
    attached.close()


def test_a_pinned_program_runs_and_attaches(bpf: Bpf) -> None:
    name = f"pytest-ebpf-{uuid4().hex}"
    with bpf.load("xdp_firewall.bpf.o") as obj:
        obj["firewall"].pin(name)
        number = obj["firewall"].id
    with bpf.pinned_program(name) as program:
        assert (program.id, program.type, program.name) == (number, "xdp", "firewall")
        assert program.run(PACKET).retval is not None
        assert program.maps
        assert program.info.id == number
        with program.attach(interface="lo", mode="skb") as link:
            assert link.attached
        with pytest.raises(BpfUsageError, match="opened from its pin"):
            _ = program.trace
        with pytest.raises(BpfUsageError, match="is a xdp program"):
            bpf.pinned_program(name, section="kprobe")
        with pytest.raises(BpfUsageError, match="expected one of a map"):
            bpf.pinned_map(name)


def test_unpin_removes_the_pin_of_a_program(bpf: Bpf) -> None:
    name = f"pytest-ebpf-{uuid4().hex}"
    with bpf.load("xdp_firewall.bpf.o") as obj:
        obj["firewall"].pin(name).unpin()
        with pytest.raises(KernelCallError, match="ENOENT"):
            bpf.pinned_program(name)
        obj["firewall"].close()
        obj["firewall"].close()  # twice is harmless


def test_a_loader_closes_at_the_end_of_its_block(bpf: Bpf) -> None:
    with Bpf(bpf.session.target, directories=[OBJECTS]) as other:
        other.load("xdp_firewall.bpf.o")
    with pytest.raises(BpfUsageError, match="is closed"):
        other.load("xdp_firewall.bpf.o")
