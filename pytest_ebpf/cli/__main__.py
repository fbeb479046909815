"""``python -m pytest_ebpf.cli`` is ``pytest-ebpf``."""

from __future__ import annotations

from pytest_ebpf.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
