"""``pytest-ebpf btf bindings``: chosen types as C, Rust or Python: aya-tool, without bpftool and bindgen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pytest_ebpf.cli.btf import btf, open_btf, select_types

if TYPE_CHECKING:
    from pytest_ebpf.btf.parse import Btf

__all__ = ["bindings"]

_C, _RUST, _PYTHON = "c", "rust", "python"


@btf.command("bindings")
@click.argument("types", nargs=-1, metavar="[TYPE]…")
@click.option("--lang", type=click.Choice([_C, _RUST, _PYTHON]), default=_RUST, show_default=True)
@click.option(
    "--btf",
    "-k",
    "--kernel",
    "source",
    default="host",
    show_default=True,
    metavar="FILE|host|MODULE|KERNEL",
    help="Where the types are: an object file or raw BTF, the running kernel, a module of it, or a kernel such as 6.1.",
)
@click.option("--input-file", type=click.Path(path_type=Path), help="A C header with the types, read with clang.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write there instead of to standard output.")
def bindings(types: tuple[str, ...], lang: str, source: str, input_file: Path | None, output: Path | None) -> None:
    """Write each TYPE ("task_struct", "union bpf_attr", "bpf_*") and the types in it as source text.

    The target of a pointer is only declared, unless it is asked for too. The text for Rust needs no crate and holds the
    sizes and offsets as assertions, which the compiler checks.
    """
    found = _types_of_header(input_file) if input_file else open_btf(source, base=None)[0]
    chosen = _all_of(found) if input_file and not types else types
    if not chosen:
        raise click.UsageError("name the types to write: pytest-ebpf btf bindings task_struct")
    text = _render(found, select_types(found, tuple(chosen), source=str(input_file or source)), lang=lang)
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text)


def _render(found: Btf, ids: list[int], *, lang: str) -> str:
    if lang == _PYTHON:
        from pytest_ebpf.btf.py_source import render_python

        return render_python(found, ids)
    if lang == _RUST:
        from pytest_ebpf.btf.rust_source import render_rust

        return render_rust(found, ids)
    from pytest_ebpf.btf.c_header import CHeaderStyle, render_c

    return render_c(found, ids, style=CHeaderStyle("__BINDINGS_H__", helper_types=True))


def _types_of_header(path: Path) -> Btf:
    from pytest_ebpf.errors import ObjectError
    from pytest_ebpf.live.typed.object_types import read_types
    from pytest_ebpf.tools.headers import compile_header

    if not path.is_file():
        raise ObjectError("no such file", path=str(path), hint="--input-file takes a C header.")
    found = read_types(compile_header(path)[0], name=str(path))
    if found is None:
        raise ObjectError("no types in this header", path=str(path), hint="Define the structs in it, not only names.")
    return found


def _all_of(found: Btf) -> Sequence[str]:
    """The structs, unions and enums of a header."""
    from pytest_ebpf.btf.types import Enum, Struct

    return sorted({one.name for _, one in found if isinstance(one, Struct | Enum) and one.name})
