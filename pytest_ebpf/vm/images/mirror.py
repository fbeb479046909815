"""Where packages come from: the machine's own apt configuration, or what the user named instead.

No host name is written down anywhere in this project. apt's files are read as sources.list(5) describes them (apt 2.6):
``*.sources`` in deb822 form, ``*.list`` and ``sources.list`` in one-line form. The suites of a kernel are usually not
among the configured ones, so only the *base* of the archive is taken and the suite's address is built from it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pytest_ebpf.errors import ImageError
from pytest_ebpf.frozen import dataclass, field

__all__ = [
    "KEYRING_VARIABLE",
    "MIRROR_VARIABLE",
    "AptOptions",
    "AptSource",
    "Mirror",
    "find_mirror",
    "parse_list",
    "parse_sources",
    "read_apt_options",
]

MIRROR_VARIABLE = "PYTEST_EBPF_MIRROR"
KEYRING_VARIABLE = "PYTEST_EBPF_KEYRING"
_APT = Path("/etc/apt")
_KEYRINGS = (Path("/usr/share/keyrings"), Path("/etc/apt/trusted.gpg.d"), Path("/etc/apt/keyrings"))
_HINT = "name one: --mirror URL, ini bpf_mirror, or the variable PYTEST_EBPF_MIRROR (the base URL of a Debian archive)"


@dataclass(frozen=True, slots=True)
class AptSource:
    """One enabled binary source. ``trusted`` is the sources.list option for "do not require a signature"."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""
    trusted: bool = False


@dataclass(frozen=True, slots=True)
class AptOptions:
    """The transport options of apt.conf: proxies by scheme, and whether an expired index is refused."""

    proxies: Mapping[str, str] = field(default_factory=dict)
    check_valid_until: bool = True


@dataclass(frozen=True, slots=True)
class Mirror:
    """The archive's base address, that of its security archive, and the keyrings that vouch for both.

    No keyrings: the machine has none, hashes alone are checked. ``trusted``: the user waived signatures in apt.
    """

    main: str
    security: str
    origin: str
    keyrings: tuple[Path, ...] = ()
    trusted: bool = False
    options: AptOptions = AptOptions()

    def base(self, suite: str) -> str:
        return self.security if suite.endswith("-security") else self.main


def find_mirror(
    configured: str = "",
    *,
    keyring: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    apt: Path = _APT,
    keyrings: Iterable[Path] = _KEYRINGS,
) -> Mirror:
    """The mirror to use: ``configured`` (option or ini), else the environment, else apt's sources.

    A value may hold two addresses, the second being the security archive. ``keyring`` (or the environment's) takes the
    place of Debian's keyrings, which are looked for in the folders ``keyrings``. ImageError if there is no mirror.
    """
    options = read_apt_options()
    rings = _own_keyring(keyring, environ=environ) or tuple(_debian_keyrings(keyrings))
    named, origin = (configured, "option") if configured else (environ.get(MIRROR_VARIABLE, ""), MIRROR_VARIABLE)
    if named.strip():
        return _named_mirror(named, origin=origin, keyrings=rings, options=options)
    sources = list(_read_apt(apt))
    main = _best(source for source in sources if not _is_security(source))
    security = _best(source for source in sources if _is_security(source))
    if main is None:
        raise ImageError(f"no Debian archive in the apt configuration ({apt})", hint=_HINT)
    security_base = security.uri if security else _sibling(main.uri)
    rings += tuple(path for path in _signers(main, security) if path not in rings)
    return Mirror(main.uri, security_base, str(apt), rings, main.trusted, options)


def _own_keyring(keyring: Path | None, *, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """The keyring that the user named instead of Debian's, if any."""
    named = environ.get(KEYRING_VARIABLE, "")
    path = Path(named).expanduser() if keyring is None and named else keyring
    if path is not None and not path.is_file():
        raise ImageError(f"the keyring {path} does not exist", hint=f"check {KEYRING_VARIABLE}")
    return () if path is None else (path,)


def _signers(*sources: AptSource | None) -> Iterator[Path]:
    """The keyrings that apt's own configuration names for the sources."""
    for source in sources:
        if source is not None and source.signed_by.startswith("/") and Path(source.signed_by).is_file():
            yield Path(source.signed_by)


def _named_mirror(text: str, *, origin: str, keyrings: tuple[Path, ...], options: AptOptions) -> Mirror:
    urls = [url.rstrip("/") for url in re.split(r"[,\s]+", text.strip())]
    for url in urls:
        if not re.match(r"(https?|file)://", url):
            raise ImageError(f"the mirror {url!r} ({origin}) is not an http, https or file address", hint=_HINT)
    return Mirror(urls[0], urls[1] if len(urls) > 1 else _sibling(urls[0]), origin, keyrings, options=options)


def _sibling(main: str) -> str:
    """Mirrors keep the security archive beside the main one: …/debian and …/debian-security."""
    return f"{main}-security"


def _is_security(source: AptSource) -> bool:
    return any(suite.endswith(("-security", "/updates")) for suite in source.suites)


def _best(sources: Iterable[AptSource]) -> AptSource | None:
    """Third-party archives also use names like "stable main": prefer what looks like Debian's own."""
    usable = [one for one in sources if "main" in one.components and re.match(r"(https?|file):/", one.uri)]

    def score(one: AptSource) -> int:
        looks = one.uri.endswith(("/debian", "/debian-security"))
        return 4 * ("debian-archive" in one.signed_by) + 2 * looks + any("-updates" in suite for suite in one.suites)

    return max(usable, key=score, default=None)


def _read_apt(apt: Path) -> Iterator[AptSource]:
    for file in [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))]:
        try:
            text = file.read_text(errors="replace")
        except OSError:
            continue
        if file.suffix == ".sources":
            yield from parse_sources(text)
        elif file.suffix == ".list":
            yield from parse_list(text)


def parse_sources(text: str) -> Iterator[AptSource]:
    """The enabled ``Types: deb`` stanzas of a deb822 file, one value per URI."""
    from debian.deb822 import Deb822

    for stanza in Deb822.iter_paragraphs(text, use_apt_pkg=False):
        if "deb" not in stanza.get("Types", "").split() or stanza.get("Enabled", "yes").lower() in ("no", "false"):
            continue
        for uri in stanza.get("URIs", "").split():
            yield AptSource(
                uri.rstrip("/"),
                tuple(stanza.get("Suites", "").split()),
                tuple(stanza.get("Components", "").split()),
                stanza.get("Signed-By", "").strip(),
                stanza.get("Trusted", "no").lower() == "yes",
            )


def parse_list(text: str) -> Iterator[AptSource]:
    """The ``deb`` lines of a one-line-style file."""
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)(?P<rest>[^#]*)", line)
        if match is None:
            continue
        options = dict(one.split("=", 1) for one in (match["options"] or "").split() if "=" in one)
        yield AptSource(
            match["uri"].rstrip("/"),
            (match["suite"],),
            tuple(match["rest"].split()),
            options.get("signed-by", ""),
            options.get("trusted", "no") == "yes",
        )


def _debian_keyrings(folders: Iterable[Path]) -> Iterator[Path]:
    """Debian's own keyrings on this machine; the file of removed keys vouches for nothing."""
    for folder in folders:
        for file in sorted(folder.glob("debian-archive-*")):
            if file.suffix in (".gpg", ".asc") and "removed" not in file.name:
                yield file


def read_apt_options() -> AptOptions:
    """Proxies and Check-Valid-Until from apt.conf, through apt's own reader; defaults where there is no apt."""
    program = shutil.which("apt-config")
    if program is None:
        return AptOptions()
    dump = subprocess.run([program, "dump"], capture_output=True, text=True, check=False, timeout=30).stdout
    found = re.findall(r'^Acquire::(https?)::Proxy "(.+)";$', dump, re.MULTILINE | re.IGNORECASE)
    proxies = {scheme.lower(): url for scheme, url in found if url.upper() != "DIRECT"}
    expired_ok = re.search(r'^Acquire::Check-Valid-Until "(false|0|no)";$', dump, re.MULTILINE | re.IGNORECASE)
    return AptOptions(proxies, expired_ok is None)
