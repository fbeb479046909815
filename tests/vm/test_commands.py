"""``pytest-ebpf run`` and ``attach`` in a guest, as one types them at a terminal (issue 18, 5)."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys

import pytest

from support.paths import ROOT

pytestmark = pytest.mark.slow

BUILT = ROOT / "sample_programs/built"
COMMAND = [sys.executable, "-c", "import sys; from pytest_ebpf.cli import main; sys.argv[0] = 'pytest-ebpf'; main()"]


def at_a_terminal(*words: str) -> tuple[int, str]:
    """Run it at a terminal, with Ctrl-C once something is attached: exit status and what the terminal shows."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "dumb"}
    process = subprocess.Popen(
        [*COMMAND, *words], stdin=theirs, stdout=theirs, stderr=theirs, env=environment, preexec_fn=own_terminal
    )
    os.close(theirs)
    shown, interrupted = b"", False
    with process, contextlib.suppress(OSError):  # EIO: nobody has it open any more
        while data := os.read(ours, 1 << 16):
            shown += data
            if b"Ctrl-C ends it" in shown and not interrupted:
                interrupted = True
                os.write(ours, b"\x03")
    os.close(ours)
    return process.returncode, shown.decode().replace("\r\n", "\n")


def own_terminal() -> None:
    """In the child: Ctrl-C on its standard input is for it."""
    os.setsid()
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_run_in_a_guest() -> None:
    status, shown = at_a_terminal("run", str(BUILT / "config.bpf.o"), "police", "-k", "6.1,host", "-p", "00" * 100)
    assert status == 0, shown
    lines = shown.splitlines()
    assert lines[0] == "booting 6.1"
    for kernel in ("6.1", "host"):
        at = next(at for at, line in enumerate(lines) if f"{kernel}:" in line)
        assert lines[at + 1].startswith("  XDP.PASS (2), 100 bytes in, 100 out, ")
        assert lines[at + 2] == "  map .rodata"


def test_attach_in_a_guest_until_interrupted() -> None:
    status, shown = at_a_terminal("attach", str(BUILT / "exec_tracer.bpf.o"), "-k", "6.1")
    assert status == 0, shown
    assert "Traceback" not in shown
    booting, attached, *_, last = shown.splitlines()
    assert booting == "booting 6.1"
    assert attached.startswith("6.1: 1 attached (")
    assert last == "detached"


def test_attach_in_a_guest_while_a_command_runs() -> None:
    command = [*COMMAND, "attach", str(BUILT / "exec_tracer.bpf.o"), "-k", "6.1", "--json"]
    done = subprocess.run(
        [*command, "--", "/bin/sh", "-c", "/bin/true; uname -r; exit 3"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    events = [json.loads(line)["what"] for line in done.stdout.splitlines()]
    assert [event["comm"] for event in events] == ["sh", "true", "uname"]
    assert done.stderr.splitlines()[-1].startswith("6.1.")
