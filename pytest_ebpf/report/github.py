"""Commands for the log of GitHub Actions: an error at the line of the program's source, and groups that fold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pytest_ebpf.report.document import Document
from pytest_ebpf.report.record import EVERY_KERNEL

__all__ = ["render_annotations", "render_group"]


def render_annotations(document: Document) -> list[str]:
    """One ``::error`` or ``::warning`` per test and cause, with the kernels it failed on: at the line of the eBPF
    source where it is known, else at the test. A failure that does not fail the run is a warning."""
    found: dict[tuple[str, str], list[Any]] = {}
    for result in document["results"]:
        if "failure" in result:
            found.setdefault((result["test"], result["failure"]["headline"]), []).append(result)
    return [_annotation(results) for results in found.values()]


def _annotation(results: list[Any]) -> str:
    first = results[0]
    failure = first["failure"]
    level = "error" if first["outcome"] in ("failed", "error") else "warning"
    source = failure.get("source")
    file, line = (source["file"], source["line"]) if source else (first["test"].partition("::")[0], first["line"] + 1)
    kernels = ", ".join(result["kernel"] for result in results if result["kernel"] != EVERY_KERNEL)
    name = first["test"].rpartition("::")[2]
    title = f"{name} on {kernels}" if kernels else name
    text = f"{failure['headline']}\n{failure['repeat']}"
    return f"::{level} file={_property(file)},line={line},title={_property(title)}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def render_group(title: str, text: str) -> str:
    """``text`` folded under ``title``."""
    return "\n".join(_group(title, text))


def _group(title: str, text: str) -> Iterator[str]:
    yield f"::group::{title}"
    yield text.rstrip("\n")
    yield "::endgroup::"
