"""``python -m pytest_ebpf.agent``."""

from __future__ import annotations

import sys

from pytest_ebpf.agent.protocol.serve import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
