"""What each kind of failure prints in 80 columns, held against tests/data/failures.txt.

After a wanted change: UPDATE_TEXTS=1 pytest tests/plugin/test_failure_texts.py, and read the difference. The texts of
the explanation and of the verifier's log are not part of it: they have tests of their own.
"""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Callable, Iterator

import pytest

from pytest_ebpf.outcome import Outcome
from support.paths import ROOT

Objects = Callable[..., None]
TEXTS = ROOT / "tests/data/failures.txt"
SUITE = """
    import pytest
    from pytest_ebpf import IP, UDP, XDP, BootFailed, Eth, GuestLost, ImageError, PlanError, assert_packet
    from pytest_ebpf.outcome import Outcome, with_outcome

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
    # What cannot be had from the kernel of a developer's machine: the text alone is looked at.
    @pytest.mark.parametrize("kind", ["panic", "hang", "splat", "leak", "flaky", "quarantined"])
    def test_made(bpf, kind):
        message = {
            "panic": "the kernel of guest 6.1 panicked: Fatal exception in interrupt",
            "hang": "guest 6.1 gave no sign of life for 60 s in BPF_PROG_TEST_RUN of firewall",
            "splat": "the kernel warned: WARNING: CPU: 0 PID: 1 at kernel/bpf/verifier.c:1",
            "leak": "1 kernel object outlived this test:\\n  prog 'police'",
            "flaky": "guest 6.1: QEMU ended with SIGKILL",
            "quarantined": "assert 2 == 1",
        }[kind]
        error = AssertionError(message)
        error.bpf_sections = [("kernel messages", "[1.0] last words")] if kind in ("panic", "splat") else []
        raise with_outcome(error, Outcome(kind))
"""
FAILURE = re.compile(r"^_{3,} (?:ERROR at \w+ of )?(test_\w+)\[(?:host-?)?(\w*)\] _{3,}$", re.MULTILINE)
SECTION = re.compile(r"^-{3,} (.*?) -{3,}$", re.MULTILINE)
NOT_HERE = ("verifier log", "why ", "maps")  # of maps: on which processor a program ran


@pytest.fixture
def failures(pytester: pytest.Pytester, objects: Objects, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    objects("config", "reject_packet_bounds", "map_kinds", "xdp_firewall")
    pytester.makepyfile(test_kinds=SUITE)
    text = pytester.runpytest("--bpf-kernels=host", "--tb=short", "--no-header").stdout.str()
    parts = FAILURE.split(re.split(r"=== (?:eBPF matrix|warnings summary) =", text)[0])
    return {
        (kind or name): "".join(sections(body))
        for name, kind, body in zip(parts[1::3], parts[2::3], parts[3::3], strict=True)
    }


def sections(body: str) -> Iterator[str]:
    """From "what broke" on, without what differs between kernels."""
    parts = SECTION.split(body)
    for title, text in zip(parts[1::2], parts[2::2], strict=True):
        if title == "kernel messages since the test began":
            continue  # of others on this machine
        shown = "\n[...]\n" if title.startswith(NOT_HERE) else re.sub(r"^=+.*", "", text, flags=re.MULTILINE)
        if title == "what broke":  # wrapped again: a release may be longer
            shown = "\n" + textwrap.fill(" ".join(text.split()).replace(os.uname().release, "RELEASE"), 80)
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
        assert title == "---- what broke ----", name
        kinds.add(first.partition(":")[0])
        assert " -> " in " ".join(text.partition("---- repeat")[0].split()), name
    assert kinds == set(Outcome) - {Outcome.PASSED}
