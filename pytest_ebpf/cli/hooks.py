"""``pytest-ebpf hooks``: what a program gets at a hook, and how kernels differ in it."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pytest_ebpf.btf.hooks import Hook
    from pytest_ebpf.btf.parse import Btf

__all__ = ["hooks"]

_KINDS = ("tracepoint", "lsm", "fentry", "kprobe")
_FIELD = re.compile(r"\tfield:(?P<text>.*?);\toffset:(?P<offset>\d+);\tsize:(?P<size>\d+);\tsigned:(?P<signed>\d);")
_COMMON = "common_"


@click.command("hooks")
@click.argument("kind", type=click.Choice(_KINDS))
@click.argument("name")
@click.option("-k", "--kernels", default="host", show_default=True, metavar="SPEC,…", help="Kernels to compare.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: an item per kernel.")
def hooks(kind: str, name: str, kernels: str, as_json: bool) -> None:
    """Show the arguments of a hook: of a function (fentry, kprobe), of an LSM hook (file_open), of a tracepoint
    (sched:sched_switch), whose record is shown too. Kernels that agree stand together.

    Exit status 1 when one of the kernels does not have it. The types come from the kernels' BTF; the record of a
    tracepoint is read from the running kernel, so guests boot for it.
    """
    specs = [spec for spec in kernels.replace(",", " ").split() if spec]
    if not specs:
        raise click.UsageError("name the kernels to look at: -k host,6.1,newest")
    if kind == "tracepoint" and ":" not in name:
        raise click.UsageError("name a tracepoint by its category too: sched:sched_switch")
    found = {spec: _look(kind, name, spec=spec) for spec in dict.fromkeys(specs)}
    if as_json:
        click.echo(json.dumps([{"kernel": spec, **one} for spec, one in found.items()], indent=1))
    else:
        click.echo(f"{kind} {name}")
        for text, group in _groups(found).items():
            click.echo(f"\n  {', '.join(group)}\n{text}")
    sys.exit(not all(one["found"] for one in found.values()))


def _look(kind: str, name: str, *, spec: str) -> dict[str, Any]:
    from pytest_ebpf.btf.hooks import find_hook
    from pytest_ebpf.cli.btf import open_btf

    btf = open_btf(spec, base=None)[0]
    hook = find_hook(btf, kind, name=name)
    fields, near = _record(name, spec=spec) if kind == "tracepoint" else ([], "")
    if not fields and (hook is None or kind == "tracepoint"):
        return {"found": False, "near": near or _near(btf, kind, name=name)}
    seen: dict[str, Any] = {"found": True, "arguments": list(hook.arguments) if hook else None}
    if kind == "tracepoint":
        return {**seen, "record": fields}
    assert hook is not None
    return {**seen, "returns": hook.returns, "signature": hook.signature, "section": _section(kind, hook)}


def _section(kind: str, hook: Hook) -> str:
    """The first lines of a C program for it."""
    if kind == "kprobe":
        return f'SEC("kprobe/{hook.name}")\nint BPF_KPROBE({hook.name}_entry, {", ".join(hook.arguments)})'
    return f'SEC("{kind}/{hook.name}")\nint BPF_PROG({hook.name}_hook, {", ".join(hook.arguments)})'.replace(", )", ")")


def _near(btf: Btf, kind: str, *, name: str) -> str:
    from pytest_ebpf.btf.hooks import hook_names
    from pytest_ebpf.suggest import did_you_mean

    wanted = name.rpartition(":")[2]
    names = hook_names(btf, kind)
    return did_you_mean(wanted, sorted(one for one in names if one[:2] == wanted[:2]), otherwise="")


def _record(name: str, *, spec: str) -> tuple[list[dict[str, Any]], str]:
    """The fields of a tracepoint's record, from the file ``format`` of its event; where there is no such event, none
    and the names that are near."""
    from pytest_ebpf.agent.ops import Data, ReadFile
    from pytest_ebpf.live.attach.tracepoint import tracefs_root
    from pytest_ebpf.live.inspect.suggest import nearest_tracepoints
    from pytest_ebpf.live.open_kernel import open_kernel

    place = name.replace(":", "/", 1)
    with open_kernel(spec) as bpf:
        tracefs = tracefs_root(bpf.session)
        read = bpf.session.attempt(ReadFile(f"{tracefs}/events/{place}/format"), Data)
        if not isinstance(read, Data):
            return [], nearest_tracepoints(bpf.session, place, tracefs=tracefs).replace("/", ":")
        lines = _FIELD.finditer(read.data.decode(errors="replace"))
        return [_field(line) for line in lines if not _is_common(line["text"])], ""


def _is_common(text: str) -> bool:
    """Whether it is one of the fields that every record has."""
    return text.split()[-1].startswith(_COMMON)


def _field(line: re.Match[str]) -> dict[str, Any]:
    return {"field": " ".join(line["text"].split()), "offset": int(line["offset"]), "size": int(line["size"])}


def _groups(found: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    """Text -> the kernels that have it, in order of appearance."""
    groups: dict[str, list[str]] = {}
    for spec, one in found.items():
        groups.setdefault(_text(one), []).append(spec)
    return groups


def _text(one: dict[str, Any]) -> str:
    if not one["found"]:
        return "    not there" + (f": {one['near']}" if one["near"] else ": it may be inlined, or of a module")
    lines = []
    if "signature" in one:
        lines += [f"    {one['signature']}", *(f"    {line}" for line in one["section"].splitlines())]
    if one.get("record"):
        lines += ["    offset  size  field"]
        lines += [f"    {row['offset']:>6}  {row['size']:>4}  {row['field']}" for row in one["record"]]
    if "record" in one and one["arguments"] is not None:
        lines.append(f"    raw_tp and tp_btf: {', '.join(one['arguments']) or 'no arguments'}")
    return "\n".join(lines)
