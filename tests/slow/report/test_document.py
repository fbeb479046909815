"""The record of a large run as JSON."""

from __future__ import annotations

import json

import jsonschema

from pytest_ebpf.report.document import schema_text
from support.report_runs import large_run


def test_a_large_document_fits_the_schema() -> None:
    jsonschema.validate(json.loads(json.dumps(large_run())), json.loads(schema_text()))
