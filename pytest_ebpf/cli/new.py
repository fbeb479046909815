"""``pytest-ebpf new``: a small working project to start from."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import click

__all__ = ["new", "write_project"]

_NAME = "@NAME@"  # in files and in names of files
_DOTTED = "dot-"  # "dot-github" is written as ".github": wheels keep such names, and linters of this project skip none


@click.command("new")
@click.argument("directory", metavar="NAME")
@click.option(
    "--lang", type=click.Choice(["c", "rust"]), default="c", show_default=True, help="C with clang; Rust with Aya."
)
def new(directory: str, lang: str) -> None:
    """Write a small working project into the new directory NAME: an XDP program, its build, tests, a CI workflow.

    \b
    pytest-ebpf new demo
    cd demo
    pytest                       on the running kernel; --bpf-kernels=6.1 boots a guest
    """
    place = Path(directory)
    names = write_project(place, lang=lang)
    click.echo("\n".join(f"  {place / name}" for name in names))
    needs = {
        "c": "clang and libbpf-dev (Debian, Ubuntu: apt-get install clang libbpf-dev make)",
        "rust": "a nightly Rust with rust-src, and bpf-linker (cargo install bpf-linker)",
    }
    click.echo(f"\nIt is built with {needs[lang]}. Then:\n")
    click.echo("  pytest" if place.samefile(".") else f"  cd {directory}\n  pytest")


def write_project(place: Path, *, lang: str) -> list[str]:
    """Write the project; the paths of its files below ``place``. ``BpfUsageError``: the directory is not empty, or its
    name cannot be that of a program."""
    from pytest_ebpf.errors import BpfUsageError

    name = re.sub(r"\W", "_", place.absolute().name)
    if not name.isidentifier() or keyword.iskeyword(name) or not name.isascii() or len(name) > 15:
        hint = "It becomes the name of the eBPF program: letters, digits and _, at most 15."
        raise BpfUsageError(f"{place.absolute().name!r} cannot be the name of a project", hint=hint)
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise BpfUsageError(f"{place} exists and is not empty", hint="Name a directory that does not exist yet.")
    templates = files("pytest_ebpf.cli").joinpath("templates")
    written = []
    for root in (templates / "common", templates / lang):
        for path, text in _texts(root):
            target = place / path.replace(_NAME, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text.replace(_NAME, name), encoding="utf-8")
            written.append(str(target.relative_to(place)))
    return sorted(written)


def _texts(root: Traversable, below: str = "") -> Iterator[tuple[str, str]]:
    for entry in sorted(root.iterdir(), key=lambda one: one.name):
        name = entry.name.replace(_DOTTED, ".", 1) if entry.name.startswith(_DOTTED) else entry.name
        if entry.is_dir():
            yield from _texts(entry, f"{below}{name}/")
        else:
            yield f"{below}{name.removesuffix('.tmpl')}", entry.read_text(encoding="utf-8")
