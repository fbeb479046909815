"""``pytest-ebpf kernels``: list, fetch, prepare, locate and remove kernel images."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pytest_ebpf.errors import BpfUsageError
from pytest_ebpf.frozen import asdict
from pytest_ebpf.suggest import did_you_mean

if TYPE_CHECKING:
    from pytest_ebpf.vm.images.listing import Row

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


@kernels.command("prepare")
@click.argument("specs", nargs=-1, required=True, metavar="SPEC…")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing unless something fails.")
@click.option("--accel", type=click.Choice(("auto", "kvm", "tcg")), default="auto", help="As --bpf-accel of pytest.")
@click.option("--memory", default="1G", metavar="SIZE", help="As --bpf-memory of pytest.")
@click.option("--cpus", type=click.IntRange(0, 64), default=0, help="As --bpf-cpus of pytest.")
@click.option("--cmdline", default="", metavar="WORDS", help="As --bpf-cmdline of pytest.")
@_mirror_option
@_cache_option
def _prepare(specs: tuple[str, ...], quiet: bool, mirror: str, cache: Path | None, **guest: Any) -> None:
    """Fetch each SPEC if it is missing, and save the state of a booted guest, from which test runs start.

    It holds for guests with the same options. Exit status 1 if a guest cannot be saved: test runs boot it cold.
    """
    from pytest_ebpf.kernels.boot import prepare_guest
    from pytest_ebpf.kernels.config import PoolConfig

    words = tuple(guest.pop("cmdline").split())
    config = PoolConfig(cache=cache, mirror=mirror, kernel_args=words, **guest)
    ready = [prepare_guest(spec, config=config) for spec in specs if spec != "host"]
    for one in ready:
        if not quiet or one.problem:
            click.echo(str(one), err=bool(one.problem))
    sys.exit(1 if any(one.problem for one in ready) else 0)


@kernels.command("path")
@click.argument("spec")
@_cache_option
def _path(spec: str, cache: Path | None) -> None:
    """Print the directory of SPEC's image: vmlinux, bzImage, vmlinux.btf, config, lib/modules. Fetches nothing."""
    from pytest_ebpf.vm.images.image import ImageConfig
    from pytest_ebpf.vm.images.resolve import resolve

    click.echo(str(resolve(spec, config=ImageConfig(cache=cache)).vmlinux.parent))


@kernels.command("list")
@click.argument("specs", nargs=-1, metavar="[SPEC]…")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "gha"]),
    default="table",
    show_default=True,
    help="gha: lines for GITHUB_OUTPUT, a matrix of kernels and a key for the cache.",
)
@click.option("--refresh", is_flag=True, help="Ask the archive what is newest (otherwise: as last known).")
@_mirror_option
@_cache_option
def _list(specs: tuple[str, ...], form: str, refresh: bool, mirror: str, cache: Path | None) -> None:
    """Show each series (or those of each SPEC): the release in the cache, the size of its saved states, and the newest
    in the archive."""
    from pytest_ebpf.vm.images.image import ImageConfig
    from pytest_ebpf.vm.images.listing import overview

    config = ImageConfig(mirror, cache, max_age=0 if refresh else float("inf"))
    rows = _chosen(overview(config, ask_archive=refresh), specs)
    if form == "table":
        _print_table([row for _, row in rows])
    elif form == "json":
        click.echo(json.dumps([asdict(row) for _, row in rows], indent=1))
    else:
        click.echo(_github_output(rows), nl=False)


def _chosen(rows: Sequence[Row], specs: tuple[str, ...]) -> list[tuple[str, Row]]:
    """The rows with the name that each was asked for by; ``BpfUsageError`` for a name that no series has."""
    if not specs:
        return [(row.series, row) for row in rows]
    by_name = {name: row for row in rows for name in (row.series, *row.aliases)}
    for spec in specs:
        if spec not in by_name:
            raise BpfUsageError(f"no series {spec!r} in the catalogue", hint=did_you_mean(spec, by_name))
    return [(spec, by_name[spec]) for spec in specs]


def _github_output(rows: Sequence[tuple[str, Row]]) -> str:
    """``matrix=`` for ``strategy.matrix: ${{ fromJSON(…) }}``; ``key=`` changes when a newer kernel is known."""
    known = "\n".join(f"{name} {row.newest or row.cached}" for name, row in rows)
    names = json.dumps({"kernel": [name for name, _ in rows]}, separators=(",", ":"))
    return f"matrix={names}\nkey=kernels-{hashlib.sha256(known.encode()).hexdigest()[:12]}\n"


def _print_table(rows: list[Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from pytest_ebpf.vm.images.progress import megabytes

    table = Table(box=None, pad_edge=False)
    for heading in ("series", "also called", "in the cache", "newest in the archive", "saved states"):
        table.add_column(heading)
    for row in rows:
        saved = megabytes(row.saved) if row.saved else "–"
        table.add_row(row.series, ", ".join(row.aliases), row.cached or "–", row.newest or "?", saved)
    # in a file or pipe there is no width to fit
    Console(width=None if sys.stdout.isatty() else 120).print(table)


@kernels.command("prune")
@click.option("--all", "everything", is_flag=True, help="Remove every image, not only superseded ones.")
@_cache_option
def _prune(everything: bool, cache: Path | None) -> None:
    """Remove images that are not the newest of their series, saved states of guests, which are made again when a guest
    is started, and what interrupted runs left behind."""
    from pytest_ebpf.vm.images.image import ImageConfig
    from pytest_ebpf.vm.images.prune import prune, prune_all

    store = ImageConfig(cache=cache).store
    result = prune_all(store) if everything else prune(store)
    from pytest_ebpf.vm.images.progress import megabytes

    for name in result.kept_in_use:
        click.echo(f"kept {name}: it is in use", err=True)
    saved = f" and {result.states} saved states" if result.states else ""
    click.echo(f"removed {len(result.removed)} images{saved}, freed {megabytes(result.freed)}")
