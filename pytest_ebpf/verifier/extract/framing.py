"""What loaders and other programs print around a verifier log, one row each, with the place that prints it.

A row says what its line does to a log: ``BEGIN`` (a log begins behind the words), ``LEAD`` (a line before a log),
``END`` (the log is over), ``TAIL`` (a line behind a log) or ``GAP`` (lines were left out here). Groups of the pattern
name the program and the reason that the loader gives.
"""

from __future__ import annotations

import re
from enum import Enum

from pytest_ebpf.frozen import dataclass

__all__ = ["FRAMES", "Frame", "Role", "frame_of"]


class Role(Enum):
    """What a line of the loader says about the lines around it."""

    BEGIN = "begin"
    LEAD = "lead"
    END = "end"
    TAIL = "tail"
    GAP = "gap"


@dataclass(frozen=True, slots=True)
class Frame:
    """One line of one loader. ``source`` names the file that prints it, ``pattern`` is searched in the line. ``failed``
    rows are printed only when a load failed."""

    id: str
    role: Role
    pattern: str
    source: str
    failed: bool = False


_NAME = r"(?P<program>[\w.\-/+:]+)"
_ERRNO = (
    r"Invalid argument|Permission denied|Operation not (?:permitted|supported)|Argument list too long|Bad address"
    r"|No such (?:file or directory|process|device)|No space left on device|Bad file descriptor|File exists"
    r"|Cannot allocate memory|Device or resource busy|Unknown error \d+|Value too large[a-z ]*|Invalid \w+"
)
_QUOTED = r"b?['\"`](?P<program>[^'\"`]+)['\"`]"

FRAMES: tuple[Frame, ...] = (
    # libbpf and what is built on it (bpftool, libbpf-rs, libxdp, bpftrace, systemd, iproute2 since 5.11)
    Frame(
        "libbpf-begin", Role.BEGIN, rf"(?:prog(?:ram)? {_QUOTED}: )?-+ BEGIN (?:PROG|DUMP) (?:LOAD )?LOG -+", "libbpf.c"
    ),
    Frame("libbpf-end", Role.END, r"-+ END (?:PROG|DUMP|BTF)? ?(?:LOAD )?LOG -+", "libbpf.c"),
    Frame(
        "libbpf-failed",
        Role.LEAD,
        rf"prog(?:ram)? {_QUOTED}: BPF program load failed: (?P<refused>[^\n]+)",
        "libbpf.c",
        failed=True,
    ),
    Frame(
        "libbpf-old", Role.LEAD, r"load bpf program failed: (?P<refused>[^\n\"]+)", "libbpf.c before 0.6", failed=True
    ),
    Frame(
        "libbpf-prog",
        Role.TAIL,
        rf"prog(?:ram)? {_QUOTED}: failed to load: (?P<refused>-?\w+)",
        "libbpf.c",
        failed=True,
    ),
    Frame("libbpf-old-prog", Role.TAIL, rf"failed to load program {_QUOTED}", "libbpf.c before 0.6", failed=True),
    Frame("libbpf-object", Role.TAIL, r"failed to load (?:object|BPF skeleton|BPF object)", "libbpf.c", failed=True),
    Frame("libbpf-btf", Role.TAIL, r"-+ BEGIN BTF LOAD LOG -+", "btf.c"),
    Frame("bpftool", Role.TAIL, r"^Error: failed to (?:load|open)", "bpftool/prog.c", failed=True),
    Frame("redbpf", Role.TAIL, r"LoadError\(\"(?P<program>\w+)\", BPF\)", "redbpf/src/error.rs", failed=True),
    # Aya
    Frame(
        "aya",
        Role.BEGIN,
        r"(?:(?P<program>\w+)\.load: the BPF_PROG_LOAD syscall failed\. )?[Vv]erifier output:(?: |$)",
        "aya/src/programs/mod.rs",
        failed=True,
    ),
    Frame(
        "aya-obj",
        Role.LEAD,
        r"aya_obj::\w+\] (?:finished )?relocating program `(?P<program>[^`]+)`",
        "aya-obj/src/relocation.rs",
    ),
    Frame("aya-caused", Role.TAIL, r"^\s*Caused by:", "anyhow, eyre"),
    Frame("os-error", Role.TAIL, r"(?:^|: |\s)(?P<refused>[A-Z][\w ,/']+) \(os error \d+\)", "std::io::Error"),
    Frame(
        "backtrace",
        Role.TAIL,
        r"^(?:\s*Stack backtrace|Traceback \(most recent|goroutine \d|panic: |thread '.*panicked|exit status )",
        "Rust, Python, Go",
    ),
    # cilium/ebpf
    Frame(
        "cilium",
        Role.BEGIN,
        rf"(?:program {_NAME}: )?load program: (?P<refused>[^:\n`]+)(?::(?: |$)|$|`)",
        "ebpf/prog.go",
        failed=True,
    ),
    Frame(
        "netlink", Role.BEGIN, rf"error while loading {_QUOTED} \((?P<refused>[^)]+)\):", "gobpf elf.go", failed=True
    ),
    Frame(
        "cilium-verifier",
        Role.BEGIN,
        r"[Vv]erifier (?:error|log|output|says|errors?)(?: is)?[:=](?: |$)",
        "ebpf/internal/errors.go",
        failed=True,
    ),
    Frame(
        "cilium-gap", Role.GAP, r"^ ?\((?:truncated, )?\d+ line\(s\) omitted\)$", "ebpf/internal/errors.go", failed=True
    ),
    # bcc
    Frame(
        "bcc", Role.LEAD, r"^bpf: (?:Failed to load program: )?(?P<refused>[A-Z][^\n:.]+)", "bcc/libbpf.c", failed=True
    ),
    Frame("bcc-hint", Role.END, r"^HINT: ", "bcc/libbpf.c", failed=True),
    Frame(
        "bcc-python",
        Role.TAIL,
        r"Failed to load BPF program (?:b?['\"])?(?P<program>[\w.\-/]+)['\"]?: (?P<refused>[^\n]+)",
        "bcc/__init__.py",
        failed=True,
    ),
    # others built on bcc or on the system call: falcosecurity/libs, redbpf, deepflow
    Frame(
        "libscap",
        Role.TAIL,
        r"bpf_load_program\(\) (?:err=(?P<refused>\d+) )?event=(?P<program>[\w/]+)",
        "libscap/scap_bpf.c",
        failed=True,
    ),
    Frame(
        "bcc-load",
        Role.TAIL,
        r"bcc_prog_load\(\) failed\. name: (?P<program>\w+), (?P<refused>[A-Z][a-z ]+)",
        "deepflow user/load.c",
        failed=True,
    ),
    # bpftrace
    Frame(
        "bpftrace",
        Role.LEAD,
        r"Error loading (?:BPF )?program(?: for)?:? ['\"]?(?P<program>[\w:*./\-]*\w)",
        "bpftrace/bpfprogram.cpp",
        failed=True,
    ),
    Frame("bpftrace-log", Role.BEGIN, r"^(?:Kernel error log|Error log|Verifier log):\s*$", "bpftrace/bpfprogram.cpp"),
    Frame(
        "bpftrace-end",
        Role.TAIL,
        r"^(?:ERROR: )?Loading BPF object\(s\) failed",
        "bpftrace/bpfbytecode.cpp",
        failed=True,
    ),
    # tc and ip of iproute2 before libbpf
    Frame(
        "tc",
        Role.LEAD,
        rf"Prog section {_QUOTED} (?:rejected|loaded): ?(?P<refused>[^\n(]+?) ?(?:\(\d+\))?!",
        "iproute2 lib/bpf_legacy.c",
    ),
    Frame(
        "tc-facts",
        Role.LEAD,
        r"^ - (?:Type|Attach Type|Instructions|License|Bounds|Attach):",
        "iproute2 lib/bpf_legacy.c",
    ),
    Frame("tc-log", Role.BEGIN, r"^Verifier analysis:", "iproute2 lib/bpf_legacy.c"),
    Frame("tc-skip", Role.GAP, r"^Skipped \d+ bytes, use 'verb' option", "iproute2 lib/bpf_legacy.c"),
    Frame(
        "tc-end",
        Role.TAIL,
        r"^(?:Error fetching program/map!|Unable to load program|Error loading)",
        "iproute2 tc/f_bpf.c",
        failed=True,
    ),
    # veristat
    Frame(
        "veristat",
        Role.BEGIN,
        rf"PROCESSING (?:\S+/)?{_NAME}, DURATION US: \d+, VERDICT: (?P<verdict>\w+), VERIFIER LOG:",
        "veristat.c",
    ),
    Frame("veristat-table", Role.TAIL, r"^(?:File +Program +Verdict|-{8,} +-{4,}|Done\. Processed \d)", "veristat.c"),
    Frame("veristat-file", Role.TAIL, r"^Processing '[^']+'\.\.\.", "veristat.c"),
    # everything
    Frame(
        "libxdp-load",
        Role.TAIL,
        r"libxdp: Failed to load program (?P<program>\S+): (?P<refused>[A-Z][\w ]+)",
        "libxdp.c",
        failed=True,
    ),
    Frame("libxdp", Role.TAIL, r"^(?:libxdp: |Couldn't (?:load|attach|open))", "libxdp.c, xdp-loader.c"),
    Frame(
        "bare-errno",
        Role.TAIL,
        r"(?i:fail\w*|unable|could ?n[o']t|can't|cannot|error)\b[^\n:]{0,40}\bload\w*\b[^\n:]*: "
        rf"(?P<refused>-\d{{1,3}}\b|-E[A-Z]+|{_ERRNO})",
        "loaders of their own",
        failed=True,
    ),
    Frame(
        "xdp-tutorial", Role.TAIL, r"^(?:ERR|ERROR|WARN|Error)(?::|\s+(?:failed|loading|in)\b)", "common_user_bpf_xdp.c"
    ),
    Frame("libbpf", Role.TAIL, r"(?:^|[ \]])lib(?:bpf|xdp)(?:-rs)?: ", "libbpf.c"),
    Frame("strace", Role.TAIL, r"^bpf\(BPF_\w+.*= -?\d+", "strace"),
    Frame(
        "gap",
        Role.GAP,
        r"^\s*(?:\[?\.{3,}\]?|…|\[\.\.\. ?cut.*|<snip>|\[snip\]|-+ ?snip ?-+|(?:\.\.\. ?)+\d* ?(?:lines|more).*)\s*$",
        "people",
    ),
    Frame("fence", Role.TAIL, r"^\s*(?:```|~~~)", "Markdown"),
    Frame("go-test", Role.TAIL, r"^\s*(?:--- FAIL|--- PASS|FAIL\b|=== RUN)", "go test"),
    Frame("actions", Role.TAIL, r"##\[\w+\]", "GitHub Actions"),
    Frame("make", Role.TAIL, r"^make(?:\[\d+\])?: \*\*\*", "make"),
)


_COMPILED = tuple((frame, re.compile(frame.pattern)) for frame in FRAMES)
# One of these is in every line that a row fits: most lines have none, and searching for words is quick.
_WORDS = (
    *("LOG", "load", "Load", "fail", "Fail", "lib", "bpf", "erifier", "aused by", "os error", "acktrace", "Traceback"),
    *("goroutine", "panic", "exit status", "omitted", "rror", "HINT", "Prog section", " - ", "Skipped", "Unable"),
    *("PROCESSING", "File ", "---", "Done.", "Processing", "ERR", "WARN", "Couldn", "relocating", "..", "…", "snip"),
    *("```", "~~~", "FAIL", "PASS", "=== RUN", "##[", "***"),
)


def frame_of(line: str) -> tuple[Frame, re.Match[str]] | None:
    """The first row that fits a line, and its match."""
    if not any(word in line for word in _WORDS):
        return None
    return next(((frame, found) for frame, pattern in _COMPILED if (found := pattern.search(line))), None)
