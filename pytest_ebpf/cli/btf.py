"""``pytest-ebpf btf``: types of kernels and object files as C headers and Python classes."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pytest_ebpf.btf.parse import Btf

__all__ = ["btf", "open_btf", "select_types"]

_HOST = Path("/sys/kernel/btf")
_ELF = b"\x7fELF"
_BPF = (0, 247)  # ELF machines: none, EM_BPF


@click.group("btf", help="Types of kernels and object files.")
def btf() -> None:
    """The group."""


@btf.command("dump")
@click.argument("source", metavar="FILE|host|MODULE|KERNEL")
@click.argument("types", nargs=-1, metavar="[TYPE]…")
@click.option("--format", "format_", type=click.Choice(["c", "python"]), default="c", show_default=True)
@click.option("--base", "base", type=click.Path(path_type=Path), help="BTF that split BTF (of a module) continues.")
@click.option("--guard", default="", metavar="MACRO", help="Include guard of the header (default: from the source).")
@click.option(
    "--preserve-access-index/--no-preserve-access-index",
    "relocatable",
    default=None,
    help="Make accesses to the structs CO-RE relocations (default: for kernels, not for object files).",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write there instead of to standard output.")
def _dump(
    source: str,
    types: tuple[str, ...],
    format_: str,
    base: Path | None,
    guard: str,
    relocatable: bool | None,
    output: Path | None,
) -> None:
    """Write types as source text: all of them, or each TYPE ("task_struct", "union bpf_attr", "bpf_*", the name of a
    kfunc) with what it needs.

    The source is an object file or raw BTF, "host" for the running kernel, the name of a module that it has loaded, or
    a kernel such as 6.1 whose image is in the cache (or will be fetched).
    """
    found, is_kernel = open_btf(source, base=base)
    ids = select_types(found, types, source=source) if types else None
    if format_ == "python":
        from pytest_ebpf.btf.py_source import render_python

        text = render_python(found, ids)
    else:
        from pytest_ebpf.btf.c_header import CHeaderStyle, render_c

        style = CHeaderStyle(
            guard or _guard(source, is_kernel),
            preserve_access_index=is_kernel if relocatable is None else relocatable,
            helper_types=is_kernel and ids is not None,
        )
        text = render_c(found, ids, style=style)
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text)


def _guard(source: str, is_kernel: bool) -> str:
    if is_kernel:
        return "__VMLINUX_H__"
    return "__" + re.sub(r"\W", "_", Path(source).name.split(".")[0].upper()) + "_H__"


def open_btf(source: str, *, base: Path | None) -> tuple[Btf, bool]:
    """The BTF, and whether it is a kernel's."""
    from pytest_ebpf.btf.parse import parse_btf
    from pytest_ebpf.btf.source import find_btf
    from pytest_ebpf.errors import ObjectError
    from pytest_ebpf.obj.read import read_bytes, read_object

    below = parse_btf(read_bytes(base)) if base else None
    if source == "host":
        return parse_btf(read_bytes(_HOST / "vmlinux")), True
    path = Path(source)
    if not path.exists() and re.fullmatch(r"\w+", source) and (_HOST / source).exists():
        path, below = _HOST / source, below or parse_btf(read_bytes(_HOST / "vmlinux"))
    if not path.exists():
        if re.fullmatch(r"\.[A-Za-z]\w*", path.suffix):  # a kernel ends with a number
            raise ObjectError("no such file", path=source, hint="or a kernel: host, 6.1, newest")
        return parse_btf(read_bytes(_image_btf(source))), True
    data = read_bytes(path)
    if data.startswith(_ELF) and int.from_bytes(data[18:20], "little" if data[5:6] == b"\1" else "big") not in _BPF:
        return parse_btf(find_btf(data, name=str(path)), base=below), True  # a vmlinux or a module, of any machine
    if data.startswith(_ELF):
        found = read_object(path).btf
        if found is None:
            raise ObjectError("has no BTF", path=str(path), hint="Compile it with -g.")
        return found, False
    return parse_btf(data, base=below), True


def _image_btf(spec: str) -> Path:
    from pytest_ebpf.errors import ImageError
    from pytest_ebpf.vm.images.resolve import resolve

    image = resolve(spec)
    if image.btf is None:
        raise ImageError(f"the image of kernel {spec} has no BTF")
    return image.btf


def select_types(found: Btf, names: tuple[str, ...], *, source: str) -> list[int]:
    """The ids of the requested types, each once, in the order of the names."""
    ids: dict[int, None] = {}
    for name in names:
        some = _matching(found, name)
        if not some:
            raise _no_such_type(found, name, source=source)
        ids |= dict.fromkeys(some)
    return list(ids)


def _matching(found: Btf, name: str) -> list[int]:
    from pytest_ebpf.btf.types import Kind
    from pytest_ebpf.btf.value_type import find_types

    if not any(sign in name for sign in "*?["):
        return [*find_types(found, name)] or [*found.find(name, Kind.FUNC)]
    keyword, _, pattern = name.rpartition(" ")
    candidates = {found.name(type_id) for type_id in range(1, len(found))}
    wanted = sorted(one for one in candidates if one and fnmatchcase(one, pattern))
    return [type_id for one in wanted for type_id in find_types(found, f"{keyword} {one}".strip())]


def _no_such_type(found: Btf, name: str, *, source: str) -> Exception:
    from pytest_ebpf.errors import BpfUsageError
    from pytest_ebpf.suggest import did_you_mean

    tag = name.split(" ")[-1]
    names = {found.name(type_id) for type_id in range(1, len(found))}
    hint = did_you_mean(tag, [one for one in names if one[:2] == tag[:2]], otherwise="")
    return BpfUsageError(f"{source} has no type {name!r}", hint=hint)
