"""The HTML page as text; tests/browser looks at it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

from pytest_ebpf.report.history import History
from pytest_ebpf.report.html import render_html
from support.report_runs import small_run


def embedded(page: str) -> object:
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(data)


def test_nothing_is_fetched() -> None:
    class Finder(HTMLParser):
        found: list[str] = []  # noqa: RUF012  # a class of this test alone, which reads it

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.found += [
                f"{tag} {name}={value}"
                for name, value in attrs
                if name in ("src", "href") and not (value or "").startswith("#")
            ]

    page = render_html(small_run())
    Finder().feed(page)
    assert Finder.found == []
    assert "url(" not in page
    assert "@import" not in page


def test_texts_cannot_end_the_script_or_become_elements() -> None:
    page = render_html(small_run())
    data = embedded(page)
    assert isinstance(data, dict)
    failure = data["results"][2]["failure"]
    assert failure["headline"].startswith("rejected: firewall at fw.bpf.c:11: </script> & ")
    assert data["texts"][failure["sections"][0][1]] == "packet-bounds <safety>"
    assert "if (eth + 0 &gt; end) &lt;b&gt;" in page


def test_trends_over_earlier_runs() -> None:
    history = [History(created="1", insns={"fw.bpf.o/firewall@6.1": 150})]
    page = render_html(small_run(), history)
    assert "6.1: 150 → 200 in 2 runs" in page
    assert "5.10: " not in page.partition("<main>")[2].partition("Kernels</h2>")[0]
