#!/usr/bin/env python3
"""Writes examples/c and examples/rust: what `pytest-ebpf new` gives, as a repository of its own would have it."""

from __future__ import annotations

import shutil
from pathlib import Path

from pytest_ebpf.cli.new import write_project

__all__: list[str] = []

EXAMPLES = Path(__file__).parent.parent / "examples"
PROJECTS = {"c": "port_guard", "rust": "port_guard"}


def main() -> None:
    for lang, name in PROJECTS.items():
        place = EXAMPLES / lang
        shutil.rmtree(place, ignore_errors=True)
        write_project(place / name, lang=lang)
        for path in sorted((place / name).iterdir()):
            path.rename(place / path.name)
        (place / name).rmdir()


if __name__ == "__main__":
    main()
