"""Builds the program before the tests, so that pytest never runs an old one."""

import subprocess
from pathlib import Path

import pytest


def pytest_sessionstart(session):
    if hasattr(session.config, "workerinput"):
        return  # a worker of pytest-xdist: it was built already
    made = subprocess.run(
        ["cargo", "build", "--release"], cwd=Path(__file__).parent.parent, capture_output=True, text=True
    )
    if made.returncode:
        pytest.exit(f"cargo failed:\n{made.stdout}{made.stderr}", returncode=2)
