"""The table of helpers is the one that its script writes."""

from __future__ import annotations

import subprocess
import sys

from support.paths import ROOT


def test_the_table_of_helpers_is_the_generated_one() -> None:
    code = "import sys; sys.path.insert(0, 'ci'); import gen_helper_versions as g; "
    code += "assert g.render() == g.TARGET.read_text()"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
