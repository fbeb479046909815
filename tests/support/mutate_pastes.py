"""Pastes made out of logs: what people, loaders, CI systems and journals do to a verifier log.

``KEEPING`` leaves the message whole, so the verdict and the class have to stay the same; ``LOSING`` takes something
away.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from random import Random

__all__ = ["KEEPING", "LOSING", "REFUSED", "mutate"]

Mutation = Callable[[str, Random], str]

_PROSE = (
    "Hello, this program does not load any more since we updated the kernel.",
    "I build it with clang 18 and -O2 and load it with our own loader.",
    "Does anybody see what is wrong here? The pointer was checked two lines above.",
    "It works on the other machine; uname says 6.8.0-45-generic there.",
    "Steps: 1. make 2. sudo ./run 3. look at the output",
)


def _each_line(log: str, prefix: Callable[[int], str]) -> str:
    return "".join(f"{prefix(at)}{line}\n" for at, line in enumerate(log.splitlines()))


def journal(log: str, random: Random) -> str:
    host, name, pid = (
        random.choice(["node-3", "web"]),
        random.choice(["agent", "systemd", "kernel"]),
        random.randint(1, 9999),
    )
    return _each_line(log, lambda at: f"Nov 21 11:{at % 60:02}:{at % 57:02} {host} {name}[{pid}]: ")


def dmesg(log: str, random: Random) -> str:
    start = random.randint(1, 900)
    return _each_line(log, lambda at: f"[{start + at / 1000:12.6f}] ")


def iso_time(log: str, random: Random) -> str:
    tail = random.choice(["", "   ", " stderr F ", " [INFO] "])
    return _each_line(log, lambda at: f"2026-03-02T10:11:{at % 60:02}.{at * 7919 % 10000000:07}Z {tail}")


def container(log: str, random: Random) -> str:
    return _each_line(log, lambda at: "probe-1             | ")


def indent(log: str, random: Random) -> str:
    blank = random.choice(["    ", "\t", "        ", "\t\t", "   "])
    return _each_line(log, lambda at: blank)


def quote(log: str, random: Random) -> str:
    mark = random.choice(["> ", "// ", "# ", " * ", "> > "])
    return _each_line(log, lambda at: mark)


def fence(log: str, random: Random) -> str:
    return f"```{random.choice(['', 'text', 'console'])}\n{log}```\n"


def table(log: str, random: Random) -> str:
    return "".join(f"| {line:<60} |\n" for line in log.splitlines())


def crlf(log: str, random: Random) -> str:
    return log.replace("\n", "\r\n")


def colours(log: str, random: Random) -> str:
    return "".join(f"\x1b[31m{line}\x1b[0m\n" for line in log.splitlines())


def json_string(log: str, random: Random) -> str:
    return json.dumps({"level": "error", "ts": 1716880011.5, "msg": "load failed", "error": log}) + "\n"


def json_lines(log: str, random: Random) -> str:
    return "".join(
        json.dumps({"log": line + "\n", "stream": "stderr", "time": f"2026-03-02T10:11:{at % 60:02}Z"}) + "\n"
        for at, line in enumerate(log.splitlines())
    )


def go_string(log: str, random: Random) -> str:
    return "error: load: " + json.dumps(log) + "\n"


def logfmt(log: str, random: Random) -> str:
    return "".join(f"level=warning msg={json.dumps(line)} subsys=loader\n" for line in log.splitlines())


def as_html(log: str, random: Random) -> str:
    return f"<pre>{html.escape(log)}</pre>\n"


def prose_around(log: str, random: Random) -> str:
    before = "\n".join(random.sample(_PROSE, random.randint(1, 3)))
    after = "\n".join(random.sample(_PROSE, random.randint(1, 3)))
    return f"{before}\n\n{log}\n{after}\n"


def cut_before(log: str, random: Random) -> str:
    lines = log.splitlines(keepends=True)
    last = max((at for at, line in enumerate(lines) if line[:1].isdigit() and ": (" in line[:8]), default=0)
    return "".join(lines[random.randint(0, last) :])


def libbpf(log: str, random: Random) -> str:
    return (
        "libbpf: prog 'walk_it': BPF program load failed: Permission denied\n"
        f"libbpf: prog 'walk_it': -- BEGIN PROG LOAD LOG --\n{log}-- END PROG LOAD LOG --\n"
        "libbpf: prog 'walk_it': failed to load: -13\nlibbpf: failed to load object 'walk.bpf.o'\n"
    )


def libbpf_old(log: str, random: Random) -> str:
    return (
        "libbpf: load bpf program failed: Permission denied\nlibbpf: -- BEGIN DUMP LOG ---\nlibbpf: \n"
        f"{log}\nlibbpf: -- END LOG --\nlibbpf: failed to load program 'walk_it'\nlibbpf: failed to load object 'w.o'\n"
    )


def aya(log: str, random: Random) -> str:
    return (
        f"Error: the BPF_PROG_LOAD syscall failed. Verifier output: {log}\n\n"
        "Caused by:\n    Permission denied (os error 13)\n"
    )


def cilium(log: str, random: Random) -> str:
    return "load objects: program walk_it: load program: permission denied:\n" + _each_line(log, lambda at: "\t")


def bcc(log: str, random: Random) -> str:
    return (
        f"bpf: Failed to load program: Permission denied\n{log}\nHINT: The invalid mem access error can happen.\n\n"
        'Traceback (most recent call last):\n  File "t.py", line 3, in <module>\n'
        "Exception: Failed to load BPF program b'walk_it': Permission denied\n"
    )


def tc(log: str, random: Random) -> str:
    before = "\nProg section 'cls' rejected: Permission denied (13)!\n - Type:         3\n - License:      GPL\n\n"
    return f"{before}Verifier analysis:\n\n{log}\nError fetching program/map!\nUnable to load program\n"


def bpftrace(log: str, random: Random) -> str:
    before = "ERROR: Error loading BPF program for walk_it.\nKernel error log:\n"
    return f"{before}{log}\nERROR: Loading BPF object(s) failed.\n"


def cut_behind(log: str, random: Random) -> str:
    return log[: random.randint(0, len(log))]


def lines_lost(log: str, random: Random) -> str:
    return "".join(line for line in log.splitlines(keepends=True) if random.random() > 0.2)


def characters_lost(log: str, random: Random) -> str:
    at = random.randint(0, len(log))
    return log[:at] + log[at + random.randint(1, 40) :]


def shuffled(log: str, random: Random) -> str:
    lines = log.splitlines(keepends=True)
    at = random.randint(0, len(lines))
    return "".join(lines[at:] + lines[:at])


LOADERS: tuple[Mutation, ...] = (libbpf, libbpf_old, aya, cilium, bcc, tc, bpftrace)
AROUND: tuple[Mutation, ...] = (
    *(journal, dmesg, iso_time, container, indent, quote, fence, table, crlf, colours, json_string, json_lines),
    *(go_string, logfmt, as_html, prose_around),
)
KEEPING: tuple[Mutation, ...] = (*LOADERS, *AROUND, cut_before)
LOSING: tuple[Mutation, ...] = (cut_behind, lines_lost, characters_lost, shuffled)
REFUSED = LOADERS


def mutate(log: str, random: Random, *, losing: bool) -> tuple[str, str]:
    """A paste of a log, and what was done to it. One that loses something keeps its loader's words, if it has any."""
    steps: list[Mutation] = []
    if losing:
        steps += [random.choice(LOSING), random.choice(LOADERS)]
    elif random.random() < 0.3:
        steps.append(cut_before)
    if not losing and random.random() < 0.6:
        steps.append(random.choice(LOADERS))
    steps += random.sample(AROUND, random.choice([0, 1, 1, 2]) if steps else random.choice([1, 2]))
    for step in steps:
        log = step(log, random)
    return log, " -> ".join(step.__name__ for step in steps)
