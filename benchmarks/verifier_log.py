"""How fast verifier logs are read: the verdict from the tail, the whole trace, a rejection explained, a huge log.

    python benchmarks/verifier_log.py [--size=500]

Logs are made from real ones of the test data (level 2, six kernels) and from what a straight program of 100,000
instructions prints. Times are processor time of this process; memory is the greatest resident size of a fresh one.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from measure import Target, best_ms, render_targets

from pytest_ebpf.verifier.digest import digest_log
from pytest_ebpf.verifier.explain.text import render_explanation
from pytest_ebpf.verifier.log.trace import parse_trace
from pytest_ebpf.verifier.verifier_log import parse_log

LOGS = Path(__file__).parent.parent / "tests" / "data" / "verifier-logs"
ACCEPTED = "asm-6.18/ok_branches.l2", "c-6.18/iter_ok.l2", "c-6.12/tc_ok.l6", "cbase-5.10/tc_ok.l6", "c-7.2/iter_ok.l6"
REJECTED = "c-6.18/signed_index.l2"
STRAIGHT = "{n}: (07) r1 += 1                       ; R1=scalar(smin={n},smax=umax={n},var_off=(0x0; 0xffffffff))\n"
PLAIN = "{n}: (b7) r{r} = 1                       ; R{r}=1\n"
ERROR = (
    "100000: (79) r0 = *(u64 *)(r1 +0)\nR1 invalid mem access 'scalar'\n"
    "processed 100001 insns (limit 1000000) max_states_per_insn 0 total_states 1 peak_states 1 mark_read 0\n"
)
CHUNK = 1 << 20


def text_of(name: str) -> str:
    """A log of the test data."""
    return (LOGS / f"{name}.log").read_text(errors="surrogateescape")


def long_log(shape: str) -> str:
    """The log of a rejected program of 100,000 instructions in a row, a line of that shape each."""
    return "0: R1=ctx() R10=fp0\n" + "".join(shape.format(n=n, r=n % 10) for n in range(100_000)) + ERROR


def speed(what: str, text: str) -> Target:
    """Seconds per 50 MB against the target of one."""
    milliseconds = best_ms(lambda: parse_trace(text), rounds=5)
    rate = len(text) / 1e6 / (milliseconds / 1000)
    return Target(f"whole trace of {what}, {rate:.0f} MB/s: 50 MB take", 50_000 / rate, 1000)


def chunks_of(size: int) -> Iterator[bytes]:
    """A level-2 log of that many megabytes, made as it is read, with a rejection at the end."""
    block = "".join(map(text_of, ACCEPTED)).encode() * 40
    done = 0
    while done < size << 20:
        yield block
        done += len(block)
    yield text_of(REJECTED).encode()


def read_huge(path: Path) -> None:
    """In a process of its own: read the file as the command does, and print what it says and the memory it took."""
    import resource

    with path.open("rb") as file:
        digest = digest_log(iter(lambda: file.read(CHUNK), b""))
    explanation = digest.log.explanation
    assert explanation is not None
    render_explanation(explanation)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime, digest.lines, digest.unknown_lines)


def huge(size: int) -> list[Target]:
    """A file of ``size`` megabytes: memory, and speed of going through all of it."""
    with tempfile.NamedTemporaryFile(suffix=".log") as file:
        written = 0
        for chunk in chunks_of(size):
            written += file.write(chunk)
        file.flush()
        command = [sys.executable, __file__, "--read", file.name]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    memory, seconds = float(printed[0]), float(printed[1])
    print(f"{written / 1e6:.0f} MB, {printed[2]} lines, {printed[3]} of them unknown, {seconds:.1f} s")
    return [
        Target(f"memory for a log of {written / 1e6:.0f} MB", memory, 150, "MB"),
        Target(f"going through it, {written / 1e6 / seconds:.0f} MB/s: 50 MB take", 50e9 / (written / seconds), 1000),
    ]


def main() -> None:
    """Print a line per target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=500, help="megabytes of the huge log")
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read is not None:
        read_huge(options.read)
        return
    mixed = "".join(map(text_of, ACCEPTED)) * 200
    straight, plain = long_log(STRAIGHT), long_log(PLAIN)
    rejected = mixed + text_of(REJECTED)
    parse_log(rejected).rejection  # noqa: B018 - the rules' patterns are compiled once per process
    targets = [
        Target(
            f"verdict, class and statistics of {len(rejected) / 1e6:.0f} MB, from the tail",
            best_ms(lambda: parse_log(rejected).rejection, rounds=20),
            1,
        ),
        speed(f"level 2, {len(mixed) / 1e6:.0f} MB of six kernels", mixed),
        speed("100,000 instructions with states", straight),
        speed("100,000 instructions, short lines", plain),
        Target(
            "a rejected program of 100,000 instructions explained",
            best_ms(lambda: render_explanation(parse_log(straight).explanation), rounds=3),  # type: ignore[arg-type]
            1000,
        ),
        *huge(options.size),
    ]
    print(render_targets(targets))
    sys.exit(0 if all(target.met for target in targets) else 1)


if __name__ == "__main__":
    main()
