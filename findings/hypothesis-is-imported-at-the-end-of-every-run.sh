#!/bin/sh
# Expected: Hypothesis's pytest plugin, a small module of its own, imports the package only when a test uses it; so a run
# without properties does not pay for Hypothesis.
# True: at the end of every run, whatever the tests were, its summary hook asks hypothesis.internal.observability whether
# files were written, and that imports the whole package (with engine, shrinker and strategies). Measured beside it, that is
# about a third of what a run of one empty test takes. With -p no:hypothesispytest it is not imported.
# Seen with pytest 9.2.0, Hypothesis 6.170.17, Python 3.11.
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat > test_nothing.py <<'PY'
import sys

def test_nothing():
    assert "hypothesis" not in sys.modules
PY
cat > conftest.py <<'PY'
import sys

def pytest_unconfigure():
    print("modules of hypothesis:", sum(name.partition(".")[0] == "hypothesis" for name in sys.modules))
PY
python3 -m pip install -q --disable-pip-version-check --target at pytest==9.2.0 hypothesis==6.170.17

status=0
count() {
    PYTHONPATH=at python3 -m pytest -q -p no:cacheprovider "$@" test_nothing.py > log 2>&1 || { cat log >&2; exit 2; }
    sed -n 's/^modules of hypothesis: //p' log
}
with=$(count)
without=$(count -p no:hypothesispytest)
echo "modules of Hypothesis after a run without it: $with; with -p no:hypothesispytest: $without"
[ "$with" -gt 50 ] || { echo "  expected: more than 50" >&2; status=1; }
[ "$without" -eq 0 ] || { echo "  expected: 0" >&2; status=1; }
exit $status
