"""Messages of aya-log beside Aya's own logger: the same programs and packets, the text compared byte for byte.

    eval "$(ci/aya_toolchain DIRECTORY)"; python benchmarks/aya_log.py [OBJECT...] [--packets N] [--newest]

``aya_log/program`` logs every kind of value with every hint. It is built for each generation of aya-log-ebpf (0.1
writes perf event arrays, 0.2 and 0.3 ring buffers), and read by the aya-log that belongs to it (``aya_log/reader``)
with env_logger. OBJECT: other objects whose XDP programs and classifiers log. ``--newest``: aya-log 0.4 beside 0.3; it
wants Rust 1.98. Exit code 1 when one line differs. Needs root and this machine's kernel.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pytest_ebpf import IP, TCP, UDP, Eth
from pytest_ebpf.errors import EbpfError
from pytest_ebpf.events.aya_log import render_aya_line
from pytest_ebpf.kernels.config import PoolConfig
from pytest_ebpf.kernels.pool import KernelPool
from pytest_ebpf.live.loader import Bpf
from pytest_ebpf.obj.object import ProgramDef
from pytest_ebpf.obj.parse import parse_object
from pytest_ebpf.uapi.enums import MapType, ProgType

__all__ = ["main"]

_HERE = Path(__file__).parent / "aya_log"
_RUN_BY_ITSELF = (ProgType.XDP, ProgType.SCHED_CLS)
_TARGET = "bpfel-unknown-none"


@dataclass(frozen=True, slots=True)
class Generation:
    """A release of aya-log-ebpf, and which ``reader`` is of its time. ``features``: what its values may be."""

    log: str
    ebpf: str
    features: str
    reader: str


_GENERATIONS = (
    Generation("0.1", "0.1", "words", "perf"),
    Generation("=0.2.0", "=0.2.1", "pointers", "ring"),
    Generation("0.3", "0.3", "words,pointers", "ring"),
)


def main() -> int:
    """Print what was compared and what differs."""
    arguments = _arguments()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # a perf buffer is one CPU's: one of them keeps the order
    packets = list(_packets(arguments.packets))
    different = 0
    with tempfile.TemporaryDirectory(prefix="aya-log-") as where, _kernel() as bpf:
        for path, reader in _work(arguments, Path(where)):
            lines, wrong = _compare(path, bpf, reader=reader, packets=packets)
            print(f"{path.name}: {lines} lines of Aya's logger, {len(wrong)} differ", flush=True)
            for theirs, ours in wrong[:10]:
                print(f"  Aya  {theirs!r}\n  here {ours!r}")
            different += len(wrong)
    return 1 if different else 0


def _work(arguments: argparse.Namespace, where: Path) -> Iterator[tuple[Path, Path]]:
    """Objects, and the program that reads each."""
    readers: dict[str, Path] = {}

    def reader(name: str) -> Path:
        if name not in readers:
            readers[name] = _build_reader(name, where)
        return readers[name]

    for generation in () if arguments.objects else _GENERATIONS:
        path = _build_program(generation, where)
        yield path, reader(generation.reader)
        if arguments.newest and generation.reader == "ring":
            yield path, reader("newest")
    for path in arguments.objects:
        obj = parse_object(path.read_bytes(), name=path.name)
        logs = next((one.type for one in obj.maps if one.name == "AYA_LOGS"), None)
        if logs is None or not any(_runs(one) for one in obj.programs):
            print(f"{path.name}: no XDP program or classifier that logs")
            continue
        yield path, reader("perf" if logs == MapType.PERF_EVENT_ARRAY else "ring")


def _compare(path: Path, bpf: Bpf, *, reader: Path, packets: Sequence[bytes]) -> tuple[int, list[tuple[str, str]]]:
    """How many lines Aya's logger wrote, and the pairs that differ."""
    names = [one.name for one in parse_object(path.read_bytes(), name=path.name).programs if _runs(one)]
    runs = [(name, packet) for name in names for packet in packets]
    theirs, ours = _theirs(reader, path, runs), _ours(bpf, path, runs)
    lines = sum(text.count("\n[") + 1 for text in theirs if text)
    return lines, [(one, other) for one, other in zip(theirs, ours, strict=True) if one != other]


def _theirs(reader: Path, path: Path, runs: Sequence[tuple[str, bytes]]) -> list[str]:
    """What Aya's logger wrote of each run."""
    request = "".join(f"{name} {packet.hex()}\n" for name, packet in runs)
    done = subprocess.run([reader, path], input=request.encode(), capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"{path.name}: Aya's reader failed: {done.stderr.decode()[-400:]}")
    left = done.stdout.decode()
    found = []
    for number in range(len(runs)):
        text, mark, left = left.partition(f"= {number}\n")
        if not mark:
            raise SystemExit(f"{path.name}: Aya's reader said nothing of run {number}")
        found.append(text)
    return found


def _ours(bpf: Bpf, path: Path, runs: Sequence[tuple[str, bytes]]) -> list[str]:
    """What ``bpf_log.text`` would be of each run."""
    obj = bpf.load(path, only=sorted({name for name, _ in runs}))
    found = []
    for name, packet in runs:
        obj[name].run(packet)
        found.append("".join(f"{_line(record)}\n" for record in obj.aya_logs.events()))
    return found


def _line(record: object) -> str:
    return render_aya_line(record) if isinstance(record, dict) else f"not read: {record!r}"  # type: ignore[arg-type]  # a dict is an AyaRecord


def _packets(count: int) -> Iterator[bytes]:
    """Bytes that are numbers at the ends of their ranges, special floats, packets of IPv4, and random ones."""
    yield bytes(64)
    yield b"\xff" * 64
    yield b"\x00\x80" * 32
    for single, double in ((1.0, -1.5), (0.1, 0.1), (3.4028234663852886e38, 1.7976931348623157e308)):
        yield struct.pack("<f4xd", single, double).ljust(64, b"\x01")
    for single, double in ((float("inf"), float("-inf")), (float("nan"), float("nan")), (1e-45, 5e-324), (-0.0, 1e21)):
        yield struct.pack("<f4xd", single, double).ljust(64, b"\x7f")
    for port in (53, 80, 8080):
        for above in (UDP(sport=4000, dport=port), TCP(sport=4000, dport=port, flags="S")):
            yield bytes(Eth() / IP(src="192.0.2.7", dst="198.51.100.9") / above).ljust(64, b"\x00")
    random_bytes = random.Random(20261201)
    for _ in range(count):
        yield random_bytes.randbytes(64)


def _runs(program: ProgramDef) -> bool:
    return program.spec is not None and program.spec.prog_type in _RUN_BY_ITSELF


def _build_program(generation: Generation, where: Path) -> Path:
    version = generation.log.lstrip("=")
    folder = where / f"program-{version}"
    shutil.copytree(_HERE / "program", folder)
    manifest = folder / "Cargo.toml"
    text = manifest.read_text().replace('"AYA_EBPF"', f'"{generation.ebpf}"')
    manifest.write_text(text.replace('"AYA_LOG_EBPF"', f'"{generation.log}"'))
    options = ["-Zbuild-std=core", "--target", _TARGET, "--features", generation.features, "--ignore-rust-version"]
    _cargo(options, folder, target=where / "target-bpf", flags="-Cdebuginfo=2 -Clink-arg=--btf")
    made = where / f"every_value-{version}.bpf.o"
    shutil.copy(where / "target-bpf" / _TARGET / "release" / "every_value", made)
    return made


def _build_reader(name: str, where: Path) -> Path:
    folder = where / f"reader-{name}"
    shutil.copytree(_HERE / "reader", folder)
    _cargo(["--features", name], folder, target=where / "target")
    made = where / f"read-{name}"
    shutil.copy(where / "target" / "release" / "reader", made)
    return made


def _cargo(options: Sequence[str], folder: Path, *, target: Path, flags: str = "") -> None:
    env = os.environ | {"CARGO_TARGET_DIR": str(target), "RUSTFLAGS": flags or os.environ.get("RUSTFLAGS", "")}
    done = subprocess.run(["cargo", "build", "--release", "--quiet", *options], cwd=folder, env=env, check=False)
    if done.returncode:
        raise SystemExit(f"{folder.name} could not be built; a program wants what ci/aya_toolchain brings")


@contextmanager
def _kernel() -> Iterator[Bpf]:
    pool = KernelPool(PoolConfig())
    try:
        with_loader = Bpf(pool.get("host"))
        try:
            yield with_loader
        finally:
            with_loader.close()
    except EbpfError as error:
        raise SystemExit(str(error)) from error
    finally:
        pool.close()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "objects", type=Path, nargs="*", help="objects that log, in place of the program of this folder"
    )
    parser.add_argument("--packets", type=int, default=40, help="random packets for each program, besides chosen ones")
    parser.add_argument("--newest", action="store_true", help="aya-log 0.4 too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
