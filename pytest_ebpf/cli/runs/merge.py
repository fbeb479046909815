"""``pytest-ebpf merge``: JUnit or JSON files of several runs, shards and machines into one, and one matrix."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pytest_ebpf.cli.runs.matrix import echo_matrix

if TYPE_CHECKING:
    from pytest_ebpf.report.joined import Joined

__all__ = ["merge"]


@click.command("merge")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE…")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The joined file: JUnit or JSON, as FILE… are.",
)
@click.option(
    "--bpf-json", "json_file", type=click.Path(path_type=Path), metavar="FILE", help="The joined run as JSON."
)
@click.option("--bpf-report", "page", type=click.Path(path_type=Path), metavar="DIR", help="The joined run as HTML.")
def merge(files: tuple[Path, ...], output: Path | None, json_file: Path | None, page: Path | None) -> None:
    """Join the files that pytest --junitxml wrote (in runs, shards, machines) into one with a suite per kernel, and
    print the matrix of all. Files of --bpf-json (*.json) are joined too; they know more of each failure.

    Of a test that several files have, or that was run again, the last counts.
    """
    import json

    from pytest_ebpf.errors import BpfUsageError
    from pytest_ebpf.report.document import build_document
    from pytest_ebpf.report.html import render_html
    from pytest_ebpf.report.joined import join_junit
    from pytest_ebpf.report.junit import merge_junit, read_junit, render_junit

    of_json = {path.suffix == ".json" for path in files}
    if len(of_json) > 1:
        raise BpfUsageError("JSON and JUnit files together", hint="Name the files of one kind.")
    if output is None and json_file is None and page is None:
        raise BpfUsageError("nowhere to write to", hint="Write -o FILE, --bpf-json=FILE or --bpf-report=DIR.")
    if of_json == {True}:
        joined, text = _documents(files), ""
    else:
        merged = merge_junit([read_junit(_read(path), name=str(path)) for path in files])
        joined, text = join_junit(merged), render_junit(merged)
    created = datetime.now(UTC).isoformat(timespec="seconds")
    document = build_document(joined.records, kernels=joined.kernels, created=created, generator="pytest-ebpf merge")
    whole = json.dumps(document, indent=1) + "\n"
    for path, content in ((output, text or whole), (json_file, whole)):
        if path is not None:
            _write(path, content)
    if page is not None:
        _write(page / "index.html", render_html(document))
    _show(joined)


def _documents(files: Sequence[Path]) -> Joined:
    from pytest_ebpf.report.document import parse_document
    from pytest_ebpf.report.joined import join_documents

    texts = [(str(path), _read(path).decode(errors="replace")) for path in files]
    return join_documents([(name, parse_document(text, name=name)) for name, text in texts])


def _read(path: Path) -> bytes:
    from pytest_ebpf.errors import BpfUsageError

    try:
        return path.read_bytes()
    except OSError as error:
        raise BpfUsageError(f"{path}: {error.strerror}") from None


def _write(path: Path, content: str) -> None:
    from pytest_ebpf.errors import BpfUsageError

    try:
        if path.name == "index.html":
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        raise BpfUsageError(f"{path}: {error.strerror}") from None


def _show(joined: Joined) -> None:
    echo_matrix(joined.records, kernels=joined.kernels)
    for note in joined.notes:
        click.echo(f"note: {note}", err=True)
