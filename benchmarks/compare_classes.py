"""Do verifier logs keep their class? Every log below some folders, read by this working tree and by an older one.

    python benchmarks/compare_classes.py OLDER_TREE FOLDER...

OLDER_TREE is a checkout of this repository. Each log that it gives another class is listed with both, and its message.
The exit code is 1 when there are any.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

# The name of the module differs between versions. The tree is the working directory, which comes first in sys.path.
_READ = """
import json, sys
from pathlib import Path
try:
    from pytest_ebpf.verifier.verifier_log import parse_log
except ImportError:
    from pytest_ebpf.verifier.log import parse_log
assert Path(sys.modules["pytest_ebpf"].__file__).parent.parent == Path.cwd(), sys.path
found = {}
for folder in sys.argv[1:]:
    for path in sorted(Path(folder).rglob("*.log")):
        log = parse_log(path.read_bytes().decode(errors="surrogateescape"))
        rejection = log.rejection
        text = rejection.message.encode(errors="replace").decode() if rejection else ""
        found[str(path)] = (rejection.class_id if rejection else "", text)
json.dump(found, sys.stdout)
"""


def classes_of(tree: Path, folders: list[str]) -> dict[str, list[str]]:
    """Class and message by path of the log, as a tree reads them."""
    done = subprocess.run(
        [sys.executable, "-c", _READ, *(str(Path(folder).resolve()) for folder in folders)],
        env={**os.environ, "PYTHONPATH": str(tree)},
        cwd=tree,
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def main() -> int:
    """Print the differences, and how many logs there were."""
    older, *folders = sys.argv[1:]
    before = classes_of(Path(older).resolve(), folders)
    after = classes_of(Path(__file__).resolve().parent.parent, folders)
    changed = [(path, *before[path], after[path][0]) for path in before if before[path][0] != after[path][0]]
    for path, was, message, now in changed:
        print(f"{path}: {was or 'accepted'} -> {now or 'accepted'}: {message[:100]}")
    print(f"{len(before)} logs, {len(changed)} with another class")
    return bool(changed)


if __name__ == "__main__":
    sys.exit(main())
