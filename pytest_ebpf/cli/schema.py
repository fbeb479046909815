"""``pytest-ebpf schema``: the JSON Schema of what ``--bpf-json`` writes."""

from __future__ import annotations

import click

__all__ = ["schema"]


@click.command("schema")
def schema() -> None:
    """Print the JSON Schema (draft 2020-12) of the file that pytest --bpf-json=FILE writes."""
    from pytest_ebpf.report.document import schema_text

    click.echo(schema_text(), nl=False)
