"""``pytest-ebpf kernels``: list, fetch, locate and remove kernel images."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

__all__ = ["kernels"]

_F = TypeVar("_F", bound=Callable[..., Any])


@click.group("kernels", help="Kernel images: what there is, what is cached, fetch and remove.")
def kernels() -> None:
    """The group."""


def _cache_option(command: _F) -> _F:
    return click.option(
        "--cache",
        type=click.Path(path_type=Path),
        help="Where images are kept (default: PYTEST_EBPF_CACHE, else the user's cache directory).",
    )(command)


def _mirror_option(command: _F) -> _F:
    return click.option(
        "--mirror",
        default="",
        metavar="URL",
        help="A Debian archive to use, optionally its security archive after a comma (default: PYTEST_EBPF_MIRROR, "
        "else what apt uses on this machine).",
    )(command)


@kernels.command("fetch")
@click.argument("specs", nargs=-1, required=True, metavar="SPEC…")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing unless something fails.")
@_mirror_option
@_cache_option
def _fetch(specs: tuple[str, ...], quiet: bool, mirror: str, cache: Path | None) -> None:
    """Get the newest image of each SPEC: a series (6.1), an alias (oldest, newest, rc), a version (6.1.176)."""
    from pytest_ebpf.vm.images.fetch import fetch
    from pytest_ebpf.vm.images.image import ImageConfig
    from pytest_ebpf.vm.images.progress import reporter_for

    try:
        with reporter_for(quiet=quiet) as reporter:
            images = fetch(specs, config=ImageConfig(mirror, cache), reporter=reporter)
    except KeyboardInterrupt:
        click.echo("interrupted; partial downloads are kept, the same command continues them", err=True)
        sys.exit(130)
    if not quiet:
        for image in images:
            click.echo(f"{image.spec}: {image.release} ({image.origin})")


@kernels.command("path")
@click.argument("spec")
@_cache_option
def _path(spec: str, cache: Path | None) -> None:
    """Print the directory of SPEC's image: vmlinux, bzImage, vmlinux.btf, config, lib/modules. Fetches nothing."""
    from pytest_ebpf.vm.images.image import ImageConfig
    from pytest_ebpf.vm.images.resolve import resolve

    click.echo(str(resolve(spec, config=ImageConfig(cache=cache)).vmlinux.parent))


@kernels.command("list")
@click.option("--refresh", is_flag=True, help="Ask the archive what is newest (otherwise: as last known).")
@_mirror_option
@_cache_option
def _list(refresh: bool, mirror: str, cache: Path | None) -> None:
    """Show each series: the release in the cache, and the newest in the archive."""
    from pytest_ebpf.vm.images.image import ImageConfig
    from pytest_ebpf.vm.images.listing import overview

    config = ImageConfig(mirror, cache, max_age=0 if refresh else float("inf"))
    _print_table(overview(config, ask_archive=refresh))


def _print_table(rows: list[Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("series", "also called", "in the cache", "newest in the archive"):
        table.add_column(heading)
    for row in rows:
        table.add_row(row.series, ", ".join(row.aliases), row.cached or "–", row.newest or "?")
    # in a file or pipe there is no width to fit
    Console(width=None if sys.stdout.isatty() else 120).print(table)


@kernels.command("prune")
@click.option("--all", "everything", is_flag=True, help="Remove every image, not only superseded ones.")
@_cache_option
def _prune(everything: bool, cache: Path | None) -> None:
    """Remove images that are not the newest of their series, and what interrupted runs left behind."""
    from pytest_ebpf.vm.images.image import ImageConfig
    from pytest_ebpf.vm.images.prune import prune, prune_all

    store = ImageConfig(cache=cache).store
    result = prune_all(store) if everything else prune(store)
    from pytest_ebpf.vm.images.progress import megabytes

    for name in result.kept_in_use:
        click.echo(f"kept {name}: it is in use", err=True)
    click.echo(f"removed {len(result.removed)} images, freed {megabytes(result.freed)}")
