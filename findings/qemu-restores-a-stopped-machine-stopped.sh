#!/bin/sh
# Expected: "stop" before "migrate" only keeps the machine still while its state is written; QEMU that reads the state with
# -incoming and without -S runs it, as its manual says of -S ("Do not start CPU at startup").
# True: the run state is part of the saved state. A machine that was stopped when it was saved stays paused after the
# restore, silently, until somebody says "cont"; saved while it ran, it runs on by itself.
# Seen with QEMU 7.2.22 of Debian 12 (qemu-system-x86).
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
command -v qemu-system-x86_64 > /dev/null || { echo "needs qemu-system-x86" >&2; exit 2; }
qemu-system-x86_64 --version | head -1

cat > "$work/try.py" <<'PY'
import json, subprocess, sys, time

def start(*more):
    argv = ["qemu-system-x86_64", "-machine", "pc,accel=tcg", "-m", "32M", "-display", "none", "-nodefaults", *more]
    process = subprocess.Popen([*argv, "-qmp", "stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()
    ask(process, "qmp_capabilities")
    return process

def ask(process, command, **arguments):
    process.stdin.write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
    process.stdin.flush()
    while "return" not in (reply := json.loads(process.stdout.readline())):
        assert "error" not in reply, reply
    return reply["return"]

def moved(process):
    while ask(process, "query-migrate").get("status") != "completed":
        time.sleep(0.05)

def restored(path, stop):
    """The run state of a machine that was saved, stopped before or not."""
    first = start()
    if stop:
        ask(first, "stop")
    ask(first, "migrate", uri=f"exec:cat >{path}")
    moved(first)
    first.kill()
    second = start("-incoming", f"exec:cat {path}")
    moved(second)
    time.sleep(0.5)
    state = ask(second, "query-status")["status"]
    second.kill()
    return state

print("saved while it ran:", running := restored(sys.argv[1], False))
print("saved while stopped:", stopped := restored(sys.argv[1], True))
sys.exit(0 if (running, stopped) == ("running", "paused") else 1)
PY
python3 "$work/try.py" "$work/state"
