"""How long until a kernel's types are ready for CO-RE, cold and from the cache; libbpf in the same run.

    python benchmarks/btf.py [--libbpf PREFIX] [--rounds N]

Ready means: the bytes are read, and a name finds its types. libbpf reads the types anew for each object that needs
them; we do so once per process. Figures are processor time.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from measure import Target, best_ms, render_targets
from peer import peer

from pytest_ebpf.btf.parse import Btf, parse_btf
from pytest_ebpf.kernels.btf_cache import indexed_btf

__all__ = ["main"]

_VMLINUX = Path("/sys/kernel/btf/vmlinux")
_COLD, _CACHED = 200, 15  # milliseconds


def main() -> int:
    """Print both figures. Exit code 1 when one is above its target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--libbpf", type=Path, help="where a libbpf is installed (include/, lib/libbpf.a)")
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    with peer(arguments.libbpf) as libbpf:
        theirs = min(one["processor"] for one in libbpf.btf(rounds=arguments.rounds)["rounds"]) / 1e6
        version = libbpf.version
    targets = _measure(arguments.rounds, theirs=theirs)
    print(f"{len(parse_btf(_VMLINUX.read_bytes())):,} types in {_VMLINUX}; libbpf {version}")
    print(render_targets(targets))
    return 0 if all(target.met for target in targets) else 1


def _measure(rounds: int, *, theirs: float) -> list[Target]:
    with tempfile.TemporaryDirectory() as folder:
        cold = best_ms(lambda: _ready(parse_btf(_VMLINUX.read_bytes())), rounds=rounds)
        indexed_btf(_VMLINUX.read_bytes(), folder=Path(folder))
        cached = best_ms(lambda: _ready(indexed_btf(_VMLINUX.read_bytes(), folder=Path(folder))), rounds=rounds)
    return [
        Target("types of the kernel, cold", cold, _COLD, peer=theirs),
        Target("types of the kernel, from the cache", cached, _CACHED, peer=theirs),
    ]


def _ready(btf: Btf) -> Btf:
    assert btf.find("task_struct")
    return btf


if __name__ == "__main__":
    sys.exit(main())
