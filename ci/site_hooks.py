"""Hooks of mkdocs: links of the pages that lead out of docs/ lead to the repository."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["on_page_markdown"]

_OUT = re.compile(r"\]\(\.\./([^)]*)\)")


def on_page_markdown(markdown: str, config: Any, **_: Any) -> str:
    """``[x](../sample_programs/README.md)`` -> the file in the repository."""
    return _OUT.sub(lambda match: f"]({config['repo_url']}/blob/main/{match[1]})", markdown)
