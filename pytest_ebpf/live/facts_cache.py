"""What is known of a kernel when an object is planned: asked for as objects need it, and kept for the process."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from pytest_ebpf.btf.parse import Btf, parse_btf
from pytest_ebpf.btf.source import find_btf
from pytest_ebpf.errors import ObjectError
from pytest_ebpf.frozen import fields, replace
from pytest_ebpf.live.session import Session
from pytest_ebpf.obj.object import ObjectFile
from pytest_ebpf.plan.facts import Facts
from pytest_ebpf.plan.learn import learn, needs
from pytest_ebpf.plan.modules import lacks_types

__all__ = ["Knowledge", "facts_for"]


class Knowledge:
    """Facts by the running kernel whose first facts they continue, and types given from outside by their hash.

    What a key stands for is kept alive with it, so that identities stay theirs.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[Facts, Facts]] = {}
        self._types: dict[str, Btf] = {}
        self._with_types: dict[tuple[int, int], tuple[Facts, Btf, Facts]] = {}
        self._ready: dict[tuple[int, int], tuple[ObjectFile, Facts]] = {}
        self._complete: dict[tuple[int, int], tuple[ObjectFile, Facts]] = {}

    def known(self, base: Facts) -> Facts:
        """All that was learned of a kernel so far."""
        found = self._known.get(id(base))
        return found[1] if found is not None else base

    def learn(self, base: Facts, facts: Facts) -> Facts:
        """Keep ``facts``."""
        self._known[id(base)] = (base, facts)
        return facts

    def ready(self, obj: ObjectFile, facts: Facts) -> bool:
        """Whether ``obj`` needs no more than ``facts``, as was found before."""
        return (id(obj), id(facts)) in self._ready

    def is_ready(self, obj: ObjectFile, facts: Facts) -> None:
        """Remember it."""
        self._ready[id(obj), id(facts)] = (obj, facts)

    def types(self, source: str | os.PathLike[str] | bytes | Btf) -> Btf:
        """BTF from a file or blob, parsed at most once. ``ObjectError`` when it is none."""
        if not isinstance(source, str | os.PathLike | bytes):
            return source
        name = "btf=" if isinstance(source, bytes) else os.fspath(source)
        data = source if isinstance(source, bytes) else _read(Path(source))
        key = hashlib.sha256(data).hexdigest()
        found = self._types.get(key)
        if found is None:
            found = self._types[key] = parse_btf(find_btf(data, name=name))
        return found

    def with_types(self, facts: Facts, types: Btf) -> Facts:
        """``facts`` of a kernel whose types are taken from elsewhere, for CO-RE."""
        key = (id(facts), id(types))
        found = self._with_types.get(key)
        if found is None:
            found = self._with_types[key] = (facts, types, replace(facts, core_btf=types))
        return found[2]

    def lacks_types(self, obj: ObjectFile, facts: Facts) -> bool:
        """Whether ``obj`` names what vmlinux does not have; that it does not is remembered."""
        key = (id(obj), id(facts.btf))
        if key in self._complete:
            return False
        lacks = lacks_types(obj, facts)
        if not lacks and facts.core_btf is None:
            self._complete[key] = (obj, facts)
        return lacks


def facts_for(
    session: Session, obj: ObjectFile, *, knowledge: Knowledge, btf: str | os.PathLike[str] | bytes | Btf | None
) -> Facts:
    """What planning ``obj`` for the kernel of ``session`` needs. ``btf``: types for CO-RE instead of the kernel's."""
    base = session.target.facts()
    known = facts = knowledge.known(base)
    types = knowledge.types(btf) if btf is not None else None
    if types is None and knowledge.ready(obj, known):
        return known
    while ops := needs(obj, _for_core(facts, types), lacks=knowledge.lacks_types):
        facts = learn(facts, ops, results=session.run(ops))
    if facts is not known:
        facts = replace(facts, listed=None)  # a test may load a module before the next object
        facts = known if _same(known, facts) else knowledge.learn(base, facts)
    elif types is None:
        knowledge.is_ready(obj, known)
    return knowledge.with_types(facts, types) if types is not None else facts


def _for_core(facts: Facts, types: Btf | None) -> Facts:
    return replace(facts, core_btf=types) if types is not None else facts


def _same(known: Facts, facts: Facts) -> bool:
    """Whether nothing was learned: then plans for the facts that are known stay valid."""
    return all(getattr(known, field.name) is getattr(facts, field.name) for field in fields(Facts))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ObjectError(f"types cannot be read: {error.strerror}", path=str(path)) from None
