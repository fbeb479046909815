"""Feature answers on disk: what a kernel image said once, it will say again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

from pytest_ebpf.features.base import Answer
from pytest_ebpf.features.probe import Features
from pytest_ebpf.files import replace_file
from pytest_ebpf.kernels.running import RunningKernel
from pytest_ebpf.vm.images.image import ImageConfig

__all__ = ["AnswerFile", "features_of_kernel"]

_ROOM = Path(__file__).parent


class AnswerFile:
    """The conclusive answers of one kernel image, in a JSON file named by the image's digest.

    Probes of another version of this package do not count. A file that cannot be written or read costs only time.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: dict[str, list[object]] | None = None

    def get(self, name: str) -> Answer | None:
        """The answer kept for a feature, None when there is none."""
        match self._read().get(name):
            case [bool() as supported, str() as message, str() as since]:
                return Answer(supported, message, since)
        return None

    def put(self, answers: Mapping[str, Answer]) -> None:
        """Keep those of the answers that are conclusive. The file is replaced in one step."""
        fresh: dict[str, list[object]] = {
            name: [a.supported, a.message, a.since] for name, a in answers.items() if a.conclusive
        }
        if not fresh:
            return
        self._rows = None  # another process may have added to it
        rows: dict[str, list[object]] = {**self._read(), **fresh}
        self._rows = rows
        with suppress(OSError):
            replace_file(self.path, json.dumps({"probes": _probes(), "answers": rows}))

    def _read(self) -> dict[str, list[object]]:
        if self._rows is None:
            try:
                kept = json.loads(self.path.read_bytes())
            except (OSError, ValueError):
                kept = None
            own = isinstance(kept, dict) and kept.get("probes") == _probes()
            rows = kept.get("answers") if own else None
            self._rows = rows if isinstance(rows, dict) else {}
        return self._rows


@cache
def _probes() -> str:
    """The version of the probes: a hash of their source."""
    state = hashlib.sha256()
    for path in (*sorted(_ROOM.glob("*.py")), _ROOM.parent / "plan" / "btf_features.py"):
        state.update(path.read_bytes())
    return state.hexdigest()[:16]


def features_of_kernel(running: RunningKernel, *, cache: Path | None) -> Features:
    """The features of a running kernel, with the file of its image as memory.

    A guest is known by the digest of its image. The host may be rebuilt under the same release, so it is known by its
    boot. ``cache`` None: the user's cache.
    """
    folder = ImageConfig(cache=cache).store.root / "features"
    image = running.image
    if image is not None:
        name = f"{image.release}-{image.digest[:16]}"
    else:
        seen = f"{running.described.boot} {running.described.release} {running.described.version}"
        name = f"host-{hashlib.sha256(seen.encode()).hexdigest()[:16]}"
        _forget_boots(folder, but=name)
    return Features(running, memory=AnswerFile(folder / f"{name}.json"))


def _forget_boots(folder: Path, *, but: str) -> None:
    """Answers of earlier boots of the host are of no use any more."""
    for old in folder.glob("host-*.json"):
        if old.stem != but:
            with suppress(OSError):  # a cache that cannot be written to
                old.unlink()
