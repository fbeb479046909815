"""What each kind of failure prints in 80 columns, held against tests/data/failures.txt.

After a wanted change: UPDATE_TEXTS=1 pytest tests/plugin/test_failure_texts.py, and read the difference. The texts of
the explanation and of the verifier's log are not part of it: they have tests of their own.
"""

from __future__ import annotations

import os
import re
import subprocess
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_ebpf.agent.ops import KmsgSince
from pytest_ebpf.agent.protocol.execute import EXECUTE
from pytest_ebpf.outcome import Outcome
from support.fake_guests import Fate, install
from support.kernel_log import Log
from support.paths import ROOT

Objects = Callable[..., None]
TEXTS = ROOT / "tests/data/failures.txt"
SUITE = """
    import pytest
    from pytest_ebpf import IP, UDP, XDP, BootFailed, Eth, ImageError, PlanError, assert_packet
    from pytest_ebpf.agent.ops import ObjPin

    def test_rejected(bpf):
        bpf.load("reject_packet_bounds.bpf.o")
    def test_wrong_verdict(bpf):
        assert bpf.load("config.bpf.o")["police"].run(bytes(100)).retval == XDP.DROP
    def test_packet_diff(bpf):
        result = bpf.load("xdp_firewall.bpf.o")["firewall"].run(Eth() / IP() / UDP(dport=53))
        assert_packet(result, Eth() / IP(ttl=63) / UDP(dport=53))
    def test_map_diff(bpf):
        obj = bpf.load("map_kinds.bpf.o")
        obj["account"].run(bytes(12) + b"\\x88\\xb5" + bytes(50))
        assert obj.maps["last_seen"] == {(bytes(6),): 65}
    @pytest.mark.bpf_budget(insns=10)
    def test_budget(bpf):
        bpf.load("config.bpf.o")
    def test_baseline(bpf, bpf_baseline):
        bpf_baseline.check(bpf.load("config.bpf.o"))
    def test_missing_feature(bpf):
        raise PlanError("the kernel has no ring buffers", feature="map:ringbuf", since="5.8")
    def test_boot_failure(bpf):
        raise BootFailed("guest 6.1 did not reach its agent in 20 s", console="[0.1] hello")
    def test_no_image(bpf):
        raise ImageError("no kernel 6.1 in the cache", hint="Run pytest-ebpf kernels fetch 6.1.")
    def test_leak(bpf):
        bpf.session.run([ObjPin(bpf.load("config.bpf.o")["police"].handle, "PLACE/leak")])
    def test_splat(bpf, log):
        log.warn()
    @pytest.mark.bpf_quarantine(reason="issue 7", expires="2999-01-01")
    def test_quarantined(bpf):
        assert bpf.load("config.bpf.o")["police"].run(bytes(100)).retval == XDP.DROP
"""
LOST = """
    from pytest_ebpf.agent.ops import Describe
    def test_HOW(bpf_vm, bpf_kernel, at):
        at("between calls")
        bpf_kernel.running.kernel.run([Describe()])
"""
FAILURE = re.compile(r"^_{3,} (?:ERROR at \w+ of )?(test_\w+)\[\S+\] _{3,}$", re.MULTILINE)
SECTION = re.compile(r"^-{3,} (.*?) -{3,}$", re.MULTILINE)
NOT_HERE = ("verifier log", "why ", "maps")  # of maps: on which processor a program ran


@pytest.fixture
def bpffs(tmp_path: Path) -> Iterator[Path]:
    """A bpf file system that stays when a test ends."""
    subprocess.run(["mount", "-t", "bpf", "bpf", tmp_path], check=True)
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


class Plugin:
    """``log.warn()``: the kernel warns."""

    def __init__(self, log: Log) -> None:
        self._log = log

    @pytest.fixture
    def log(self) -> Log:
        return self._log


@pytest.fixture
def failures(
    pytester: pytest.Pytester, objects: Objects, monkeypatch: pytest.MonkeyPatch, bpffs: Path
) -> dict[str, str]:
    """Of each kind what the terminal says. Guests are agents in processes of this machine, the kernel's log is written
    here, all else is real."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    objects("config", "reject_packet_bounds", "map_kinds", "xdp_firewall")
    quiet = ("--tb=short", "--no-header", "-p", "no:cacheprovider")
    log = Log()
    with monkeypatch.context() as patch:
        patch.setitem(EXECUTE, KmsgSince, log.read)
        pytester.makepyfile(test_kinds=SUITE.replace("PLACE", str(bpffs)))
        result = pytester.runpytest_inprocess("--bpf-kernels=host", *quiet, plugins=[Plugin(log)])
    found = failures_in(result.stdout.str().replace(str(bpffs), "/sys/fs/bpf"))
    guests = install(monkeypatch.setattr)
    for how in ("panic", "hang", "killed"):
        guests.boots = 0
        pytester.makepyfile(test_kinds=LOST.replace("HOW", how))
        fate = Fate(guests, how=how, at="between calls")
        found |= failures_in(pytester.runpytest_inprocess("--bpf-kernels=6.1", *quiet, plugins=[fate]).stdout.str())
    return found


def failures_in(text: str) -> dict[str, str]:
    """Of each test that failed its sections, and what the summary says of tests that others would have failed."""
    parts = FAILURE.split(re.split(r"=== (?:eBPF matrix|warnings summary) =", text)[0])
    found = {name: "".join(sections(body)) for name, body in zip(parts[1::2], parts[2::2], strict=True)}
    for sign, rows in re.findall(r"^(?=([fq]) \S+  )((?:.+\n)+?)(?=\1: )", text, re.MULTILINE):
        advice = next(line for line in text.splitlines() if line.startswith(f"{sign}: "))
        found["test_flaky" if sign == "f" else "test_quarantined"] = f"{rows}{advice}\n"
    return found


def sections(body: str) -> Iterator[str]:
    """From "what broke" on, without what differs between kernels."""
    parts = SECTION.split(body)
    for title, text in zip(parts[1::2], parts[2::2], strict=True):
        if title == "kernel messages since the test began":
            continue  # of others on this machine
        shown = "\n[...]\n" if title.startswith(NOT_HERE) else re.sub(r"^=+.*", "", text, flags=re.MULTILINE)
        if title == "what broke":  # wrapped again: a release or an id may be longer
            one = " ".join(text.split()).replace(os.uname().release, "RELEASE")
            shown = "\n" + textwrap.fill(re.sub(r"\(id \d+\)", "(id ID)", one), 80)
            assert max(map(len, text.splitlines())) <= 80
        yield f"---- {title} ----{shown.rstrip()}\n"


def test_every_kind_of_failure(failures: dict[str, str]) -> None:
    text = "\n".join(f"{name}\n{failures[name]}" for name in sorted(failures))
    if os.environ.get("UPDATE_TEXTS"):
        TEXTS.write_text(text, encoding="utf-8")
    assert text == TEXTS.read_text(encoding="utf-8")
    assert max(map(len, text.splitlines())) <= 80


def test_the_first_line_says_kind_and_what_to_do(failures: dict[str, str]) -> None:
    kinds = set()
    for name, text in failures.items():
        title, first, *_ = text.splitlines()
        if name in ("test_flaky", "test_quarantined"):  # these fail nothing, and are told behind the matrix
            kinds.add(name.removeprefix("test_"))
            assert text.splitlines()[-1].startswith(f"{name[5]}: ")
            continue
        assert title == "---- what broke ----", name
        kinds.add(first.partition(":")[0])
        assert " -> " in " ".join(text.partition("---- repeat")[0].split()), name
    assert kinds == set(Outcome) - {Outcome.PASSED}
