#!/bin/sh
# Expected: pytest-xdist's --dist loadgroup runs all tests with the same xdist_group mark in one worker, as documented.
# True: with pytest 9.2.0 the marks have no effect, and nobody says so. xdist 3.8.0 tells its scheduler the group by
# appending "@group" to item._nodeid, and pytest 9.2 makes Item.nodeid of something else: the ids that reach the scheduler
# have no group, so each test is a group of its own. With pytest 8.4.2 the same tests stay together.
# Seen with pytest 9.2.0 and 8.4.2, pytest-xdist 3.8.0, Python 3.11.
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat > test_groups.py <<'PY'
import time
import pytest

@pytest.mark.parametrize("n", range(8))
@pytest.mark.xdist_group("one")
def test_together(n, worker_id):
    with open("workers-" + pytest.__version__, "a") as file:
        file.write(worker_id + "\n")
    time.sleep(0.2)
PY

status=0
while read -r version wanted; do
    python3 -m pip install -q --disable-pip-version-check --target "at-$version" "pytest==$version" pytest-xdist==3.8.0
    PYTHONPATH=at-$version python3 -m pytest -q -p no:cacheprovider -n2 --dist loadgroup test_groups.py > "log-$version" 2>&1 ||
        { cat "log-$version" >&2; exit 2; }
    seen=$(sort -u "workers-$version" | wc -l | xargs)
    echo "pytest $version, xdist 3.8.0: the tests of one group ran in $seen worker(s)"
    [ "$seen" = "$wanted" ] || { echo "  expected: $wanted" >&2; status=1; }
done <<'ROWS'
8.4.2 1
9.2.0 2
ROWS
exit $status
