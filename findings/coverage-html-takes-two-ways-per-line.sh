#!/usr/bin/env bash
# One would expect: a plugin of coverage.py may report any number of branch exits for a line (a `switch`, or a line of C with
# several conditions); reports show those that were not taken.
# True: `coverage report` and `coverage xml` do, but `coverage html` stops with an AssertionError ("Had long annotations")
# when two or more exits of one line, and not all of them, were not taken: it is built for Python lines with two exits.
# A plugin has to fold the exits of a line into two. coverage.py 7.17.5.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q coverage==7.17.5
cat > three_ways.py <<'PY'
from coverage import CoveragePlugin, FileReporter


class Reporter(FileReporter):
    def lines(self):
        return {1}

    def arcs(self):
        return {(-1, 1), (1, -1), (1, -2), (1, -3)}

    def exit_counts(self):
        return {1: 3}


class Plugin(CoveragePlugin):
    def file_reporter(self, filename):
        return Reporter(filename)


def coverage_init(reg, options):
    reg.add_file_tracer(Plugin())
PY
printf '[run]\nplugins = three_ways\nbranch = true\n' > .coveragerc
echo 'switch (x) { case 1: a(); case 2: b(); default: c(); }' > x.c
PYTHONPATH=. venv/bin/python - <<'PY'
import os
from coverage import CoverageData

data = CoverageData()
file = os.path.abspath("x.c")
data.add_arcs({file: [(-1, 1), (1, -1)]})
data.add_file_tracers({file: "three_ways.Plugin"})
data.write()
PY
venv/bin/coverage --version | head -1
PYTHONPATH=. venv/bin/coverage report | grep x.c
if PYTHONPATH=. venv/bin/coverage html > html.log 2>&1; then
    echo "coverage html takes a line with three exits now"
    exit 1
fi
grep -o "Had long annotations.*" html.log
