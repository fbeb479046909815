"""Extraction of every log in the test data, and of every text in the corpus that people paste from."""

from __future__ import annotations

import json
import subprocess
import sys

from pytest_ebpf.verifier.extract.extract import extract_logs
from pytest_ebpf.verifier.extract.verdict import judge
from pytest_ebpf.verifier.verifier_log import parse_log
from support.paths import ROOT
from support.verifier_logs import all_logs

LOGS = all_logs()


def test_a_bare_log_stays_as_it_is() -> None:
    """Its error, place and figures survive extraction."""
    for name, text in LOGS.items():
        if "processed" not in text:
            continue
        before, after = parse_log(text), parse_log(extract_logs(text)[-1].text)
        assert (after.error, after.error_insn, after.stats) == (before.error, before.error_insn, before.stats), name


def test_accepted_logs_stay_accepted() -> None:
    for name, text in LOGS.items():
        if not parse_log(text).rejected:
            assert [judge(found).verdict for found in extract_logs(text)] == ["accepted"], name


def test_the_corpus_is_read_right() -> None:
    """The part that people work with; the other is for the end."""
    script = str(ROOT / "benchmarks" / "pasted_logs.py")
    done = subprocess.run([sys.executable, script, "--set", "seen", "--json"], stdout=subprocess.PIPE, check=True)
    report = json.loads(done.stdout)["seen"]
    assert report["wrong"] == []
    assert report["scores"]["class"][1] > 100
