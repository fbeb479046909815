"""The names of all commands, with what each does. No command is imported for it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["COMMANDS", "EXIT_STATUS", "NAME", "PURPOSE", "render_help"]

NAME = "pytest-ebpf"
PURPOSE = "Prove an eBPF project on every kernel it ships to."
EXIT_STATUS = (
    "Exit status: 0 done, 1 it did not hold or failed, 2 wrong usage; verify 3: no kernel; log explain 3: no log."
)

# Command -> the module of pytest_ebpf.cli that has it ("module:name" where it has another name there), and what it
# does. A command is imported when it is called, and the list needs none of them.
COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "attach": ("attach", "Attach an object and print its events until Ctrl-C."),
        "btf": ("btf_commands", "Types of kernels and object files."),
        "completion": ("completion", "Print the shell's completion script."),
        "disasm": ("disasm", "Show the instructions of programs, with their source lines."),
        "doctor": ("doctor", "Say what works on this machine, what is missing, and how to get it."),
        "exec": ("exec:exec_", "Run test programs of Rust, Go and TAP in guests."),
        "features": ("features", "Probe what kernels can do."),
        "hooks": ("hooks", "Show the arguments of functions, LSM hooks and tracepoints."),
        "include-dir": ("schema:include_dir", "Print the directory of expectations.h, for a compiler."),
        "inspect": ("inspect", "Show the programs, maps and globals of object files."),
        "kernels": ("kernels", "Kernel images: list, fetch, prepare, remove."),
        "log": ("log", "Explain and parse verifier logs."),
        "merge": ("runs.merge", "Join JUnit files of several runs into one, with one matrix."),
        "mutate": ("mutate", "Change programs and see which tests notice."),
        "new": ("new", "Write a small working project, in C or Rust."),
        "run": ("run", "Run a program on packets and show what it did."),
        "schema": ("schema", "Print the JSON Schema of --bpf-json."),
        "shell": ("runs.shell", "A shell in a guest, with this directory shared."),
        "verify": ("verify", "Load every program of objects on every kernel."),
    }
)


def render_help() -> str:
    """What click prints for ``--help`` in 80 columns, without importing it: the first thing that people type is
    answered at once."""
    width = max(map(len, COMMANDS))
    rows = [
        textwrap.fill(text, 78, initial_indent=f"  {name:<{width}}  ", subsequent_indent=" " * (width + 4))
        for name, (_, text) in COMMANDS.items()
    ]
    end = textwrap.fill(EXIT_STATUS, 78, initial_indent="  ", subsequent_indent="  ")
    return "\n".join(
        [
            f"Usage: {NAME} [OPTIONS] COMMAND [ARGS]...",
            "",
            f"  {PURPOSE}",
            "",
            "Options:",
            "  --help  Show this message and exit.",
            "",
            "Commands:",
            *rows,
            "",
            end,
        ]
    )
