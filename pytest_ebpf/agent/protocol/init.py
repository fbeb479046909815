"""Process 1 of a guest: makes a usable machine of a bare kernel, runs the agent on a virtio port, reaps the dead.

The host says what it wants in one line of JSON on the port (``Wishes``), before anything else; the answer, once the
agent is about to listen, is one line of JSON too: ``{"release", "python", "uptime": {stage: s}, "problems": [text]}``.
From then on the port belongs to ``serve``. When the agent ends, or the host closes the port, the machine ends.

A machine whose state is to be saved says one line before (see ``parked``), and waits for the host's, which comes when
it has been restored.

Nothing here may raise past ``main``: the end of process 1 is a kernel panic, which would hide what went wrong.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from pytest_ebpf.agent.host.sysctls import read_settings
from pytest_ebpf.agent.protocol.parked import freshen, park
from pytest_ebpf.agent.protocol.setup import Wishes, bring_up, enter_host, first_mounts, load_modules, settle, write
from pytest_ebpf.agent.protocol.shell import Patient, start_shells

__all__ = ["find_port", "main", "read_wishes"]

_MODPROBE = "/proc/sys/kernel/modprobe"
_PORTS = "/sys/class/virtio-ports"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def main(argv: list[str]) -> int:
    """``argv``: the name of the agent's port, and ``park`` for a machine whose state is to be saved. Returns only when
    this is not process 1 (in the agent's process)."""
    os.environ.update(PATH=_PATH, HOME="/tmp", LANG="C.UTF-8", TERM="dumb")
    stages = {"python": _uptime()}
    try:
        first_mounts()
        load_modules()
        port = os.open(find_port(argv[0]), os.O_RDWR | os.O_CLOEXEC)
        # While its files are at hand: those of the host are slow to read.
        from pytest_ebpf.agent.protocol.serve import serve

        stages["imports"] = _uptime()
        settings: dict[str, bytes] = {}
        if "park" in argv:
            settings = read_settings()  # the first look at them is slow: it is in what is saved
        wishes, problems = _wake(port) if "park" in argv else _start(port)
        time.clock_settime(time.CLOCK_REALTIME, wishes.now)
        enter_host(wishes)
        problems += settle(wishes)
        stages["machine"] = _uptime()
        child = os.fork()
        if child == 0:
            settings.update(read_settings([_MODPROBE]) if settings else {})  # it was set since
            stay = bool(wishes.shell)
            return _agent(port, serve=serve, stages=stages, problems=problems, stay=stay, settings=settings)
        os.close(port)
        if wishes.shell:
            start_shells(wishes.shell)
        _reap(child)
        while wishes.shell:  # it stays for those who are in it
            os.wait()
    except BaseException as error:
        print(f"pytest-ebpf: process 1: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    _power_off()
    return 1


def _start(port: int) -> tuple[Wishes, list[str]]:
    wishes = read_wishes(port)
    return wishes, bring_up()


def _wake(port: int) -> tuple[Wishes, list[str]]:
    problems = park(port)
    wishes = read_wishes(port)
    freshen(wishes)
    return wishes, problems


def find_port(name: str, *, ports: str = _PORTS, patience: float = 10.0) -> str:
    """The device of the virtio port ``name``. Ports appear a moment after their driver, and their names after them."""
    deadline = time.monotonic() + patience
    while True:
        for device in os.listdir(ports) if os.path.isdir(ports) else ():
            with suppress(FileNotFoundError), open(f"{ports}/{device}/name", encoding="ascii") as file:
                if file.read().strip() == name:
                    return f"/dev/{device}"
        if time.monotonic() > deadline:
            raise FileNotFoundError(f"no virtio port is called {name}")
        time.sleep(0.01)


def read_wishes(port: int) -> Wishes:
    """The host's line, waiting for it. Byte by byte: what follows the line belongs to the agent."""
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = os.read(port, 1)
        if not byte:
            raise EOFError("the host closed the port")
        line += byte
    known = json.loads(line)
    return Wishes(**known | {"keep": tuple(known["keep"])})


def _agent(
    port: int,
    *,
    serve: Callable[..., None],
    stages: dict[str, float],
    problems: list[str],
    stay: bool,
    settings: dict[str, bytes],
) -> int:
    """The agent's process: say that it is there, then serve until the host closes the port."""
    os.setsid()
    with suppress(OSError):
        write("/proc/self/oom_score_adj", "-1000")  # memory that runs out costs a command of a test, not the guest
    stages["agent"] = _uptime()
    version = ".".join(str(part) for part in sys.version_info[:3])
    hello = {"release": os.uname().release, "python": version, "uptime": stages, "problems": problems}
    with open(port, "rb", buffering=0) as stream_in, open(os.dup(port), "wb", buffering=0) as stream_out:
        stream_out.write(json.dumps(hello).encode() + b"\n")
        serve(Patient(stream_in) if stay else stream_in, stream_out, settings=settings)
    return 0


def _reap(child: int) -> None:
    """Wait for orphans until the agent's process is among the dead."""
    while True:
        pid, status = os.wait()
        if pid == child:
            if status:
                print(f"pytest-ebpf: the agent ended with wait status {status:#x}", file=sys.stderr, flush=True)
            return


def _power_off() -> None:
    """With QEMU's -no-reboot a restart is an end, and the quickest."""
    write("/proc/sysrq-trigger", "b")
    while True:
        time.sleep(1)


def _uptime() -> float:
    return round(time.clock_gettime(time.CLOCK_BOOTTIME), 3)
