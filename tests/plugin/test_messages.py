"""Messages of failures, as a terminal shows them: B5 of "the plugin tells the truth"."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from pytest_ebpf.agent.ops import Kmsg, KmsgSince
from pytest_ebpf.agent.protocol.execute import EXECUTE
from pytest_ebpf.errors import GuestLost
from pytest_ebpf.live.maps.map import Map


@pytest.mark.parametrize("in_ci", [False, True])
def test_b5_the_short_summary_has_short_names(
    pytester: pytest.Pytester, objects: Callable[..., None], monkeypatch: pytest.MonkeyPatch, in_ci: bool
) -> None:
    # pytest shortens the lines of the summary, but where one of these is set
    for name in ("CI", "BUILD_NUMBER"):
        monkeypatch.delenv(name, raising=False)
    if in_ci:
        monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("COLUMNS", "200")
    objects("config", "reject_null_value")
    pytester.makepyfile(
        """
        def test_a(bpf):
            bpf.load("config.bpf.o", programs={"police": "kproeb/vfs_read"})
        def test_b(bpf):
            bpf.load("confg.bpf.o")
        def test_c(bpf):
            bpf.load("reject_null_value.bpf.o")
        """
    )
    result = pytester.runpytest("--bpf-kernels=host", "-rf", "--no-header")
    text = result.stdout.str().partition("short test summary info")[2]
    assert "::test_a[host] - ObjectError: config.bpf.o: police: no section 'kproeb/vfs_read'" in text
    assert "::test_b[host] - ObjectError: confg.bpf.o: no such file" in text
    assert "::test_c[host] - ProgramRejected: unchecked_value: R0 invalid mem access" in text
    assert "pytest_ebpf." not in text
    assert str(pytester.path) not in text
    assert "\\n" not in text
    result.stdout.fnmatch_lines(["*did you mean 'kprobe/vfs_read'?*", "*did you mean config.bpf.o?*"])


EVIDENCE = """
    import pytest
    from pytest_ebpf import IP, UDP, XDP, Eth, assert_packet

    @pytest.fixture
    def changed(bpf):
        obj = bpf.load("map_kinds.bpf.o")
        obj["account"].run(bytes(12) + b"\\x88\\xb5" + bytes(50))
        yield obj
        obj.maps["last_seen"].clear()
    def test_verdict(bpf):
        assert bpf.load("config.bpf.o")["police"].run(bytes(100)).retval == XDP.DROP
    def test_packets(bpf):
        packet = Eth() / IP(proto=4) / IP() / UDP()
        assert_packet(bpf.load("xdp_decap.bpf.o")["decap"].run(packet), packet)
    def test_maps(changed):
        assert changed.maps["last_seen"] == {}
    def test_many(bpf):
        last_seen = bpf.load("map_kinds.bpf.o").maps["last_seen"]
        last_seen.update({(bytes([n] * 6),): n for n in range(1, 40)})
        assert not last_seen
    def test_shared(bpf_shared):
        bpf_shared.load("config.bpf.o")["police"].run(bytes(100))
    def test_shared_later(bpf_shared):
        bpf_shared.load("config.bpf.o")
        assert 0
    def test_closed(bpf):
        bpf.load("config.bpf.o").close()
        assert 0
    def test_none(bpf):
        assert 0
"""


def sections_of(text: str, test: str) -> str:
    """What the report of a test shows behind its traceback."""
    report = re.split(r"^(?:_{3,}|={3,}) ", text, flags=re.MULTILINE)
    (found,) = (part for part in report if part.startswith(f"{test}[host]"))
    return found[found.index("- what broke -") :]


def titles_of(sections: str) -> list[str]:
    return re.findall(r"^-{5,} (.*?) -{5,}$", sections, re.MULTILINE)


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that says one line at each look."""
    said: list[str] = []

    def read(op: KmsgSince, batch: object) -> Kmsg:
        if op.mark >= 0:
            said.append(f"[    {len(said)}.0] line {len(said)}")
        return Kmsg(len(said), tuple(said[op.mark :]) if op.mark >= 0 else (), 0, (1,) * max(len(said) - op.mark, 0))

    monkeypatch.setitem(EXECUTE, KmsgSince, read)


@pytest.mark.usefixtures("quiet")
def test_b5_a_failure_shows_the_last_run_and_small_maps(
    pytester: pytest.Pytester, objects: Callable[..., None]
) -> None:
    objects("config", "map_kinds", "xdp_decap")
    pytester.makepyfile(EVIDENCE)
    text = pytester.runpytest("--bpf-kernels=host", "--no-header", "--tb=short", "-p", "no:randomly").stdout.str()
    verdict, packets, maps = (sections_of(text, name) for name in ("test_verdict", "test_packets", "test_maps"))
    assert "police returned XDP.PASS (2), 100 bytes in, 100 bytes out" in verdict
    assert ".bss (array):\n  accepted = 1\n" in verdict
    assert "decap returned XDP.PASS (2), 62 bytes in, 42 bytes out" in packets
    assert "packet differs in " in packets
    assert "\n  {'octets': '00:00:00:00:00:00'}: 64\n" in maps, "as it was before the fixture's teardown"
    many = sections_of(text, "test_many")
    assert many.count("'octets'") == 16
    assert "… and 23 more" in many
    assert "accepted = 1" in sections_of(text, "test_shared_later")
    assert "return value" not in sections_of(text, "test_shared_later"), "that run was of another test"
    for name in ("test_closed", "test_none"):
        assert titles_of(sections_of(text, name)) == ["kernel messages since the test began", "repeat"]


@pytest.mark.usefixtures("quiet")
def test_b5_the_first_line_does_not_send_people_to_an_assertion_that_there_is_not(
    pytester: pytest.Pytester, objects: Callable[..., None]
) -> None:
    objects("config", "fentry_counter")
    pytester.makepyfile(
        """
        from pytest_ebpf import ProgramRejected
        from pytest_ebpf.verifier.verifier_log import VerifierLog
        def test_no_target(bpf):
            bpf.load("fentry_counter.bpf.o", programs={"count_exit": "fentry/no_such_function"})
        def test_refused(bpf):
            bpf.load("config.bpf.o", globals={"budgets": 1})
        def test_wrong_type(bpf):
            bpf.load("config.bpf.o", programs={"police": {"autoload": "yes"}})
        def test_no_log(bpf):
            log = VerifierLog("")
            raise ProgramRejected("police was refused", program="police", errno=1, log=log, hint="Ask root.")
        """
    )
    text = pytester.runpytest("--bpf-kernels=host", "--no-header").stdout.str()
    first = {name: " ".join(sections_of(text, f"test_{name}").split()) for name in ("refused", "wrong_type", "no_log")}
    assert "missing-feature: " in sections_of(text, "test_no_target")
    assert "compare the assertion" not in text
    assert "autoload is True or False -> change the call in the test, or what it was given" in first["wrong_type"]
    assert "- failed: config.bpf.o: no global variable 'budgets' to set -> did you mean budget?" in first["refused"]
    assert "rejected: police was refused -> Ask root" in first["no_log"]


@pytest.mark.usefixtures("quiet")
def test_b5_the_sections_of_a_failure_have_one_order(pytester: pytest.Pytester, objects: Callable[..., None]) -> None:
    objects("config", "xdp_decap", "reject_null_value")
    pytester.makepyfile(
        """
        from pytest_ebpf import IP, UDP, Eth
        def test_it(bpf):
            bpf.load("config.bpf.o")
            bpf.load("xdp_decap.bpf.o")["decap"].run(Eth() / IP(proto=4) / IP() / UDP())
            bpf.load("reject_null_value.bpf.o")
        """
    )
    text = pytester.runpytest("--bpf-kernels=host", "--no-header").stdout.str()
    titles = titles_of(sections_of(text, "test_it"))
    expected = ["why ", "return value", "packet: ", "maps", "kernel messages since", "verifier log", "repeat"]
    assert [title.startswith(one) for title, one in zip(titles, expected, strict=True)] == [True] * 7, titles


@pytest.mark.parametrize("error", [OSError(5, "no"), GuestLost("guest 6.1 is gone")])
def test_b5_a_map_that_cannot_be_read_costs_its_lines_only(
    pytester: pytest.Pytester, objects: Callable[..., None], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refused(map: Map, *, limit: int = 0) -> None:
        raise error

    objects("config")
    pytester.makepyfile('def test_it(bpf):\n    bpf.load("config.bpf.o")["police"].run(bytes(64))\n    assert 2 == 1')
    monkeypatch.setattr(Map, "dump", refused)
    result = pytester.runpytest("--bpf-kernels=host", "--no-header")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*assert 2 == 1", "police returned XDP.PASS (2), *"])
    assert (".bss (array): not read: " in result.stdout.str()) == isinstance(error, OSError)
