"""Processes beside the test, who they run as, mount namespaces, trees of files, and what commands leave behind."""

from __future__ import annotations

import io
import os
import signal
import tarfile

from pytest_ebpf.agent.ops import (
    Close,
    Data,
    Done,
    Exited,
    Failed,
    In,
    Made,
    MakeDir,
    Mount,
    MountNs,
    NetNs,
    ProcessRead,
    ProcessSignal,
    ProcessWrite,
    ReadFile,
    ReadTree,
    Ref,
    Said,
    ScopeClose,
    ScopeClosed,
    ScopeOpen,
    Spawn,
    Start,
    Try,
    WatchAround,
    WriteFile,
    WriteTree,
)
from pytest_ebpf.kernels.base import Kernel, check, made
from support.contract_kernels import Run

NET_RAW = 1 << 13
PYTHON = ("/usr/bin/env", "python3", "-c")


def sh(script: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", script)


def fresh(prefix: str) -> str:
    return f"/tmp/{prefix}-{os.getpid()}-{os.urandom(4).hex()}"


def running(run: Run, pid: int) -> bool:
    state = run(Try(ReadFile(f"/proc/{pid}/stat")))[0]
    return isinstance(state, Data) and b") Z" not in state.data


def test_a_process_talks_back(run: Run) -> None:
    (process, _) = run(Start(Spawn(("/bin/cat",))), ProcessWrite(Ref(0), b"one\n"))
    handle = made(process)
    said = check(run(ProcessRead(handle, timeout_ms=10_000))[0], Said)
    assert (said.stdout, said.returncode) == (b"one\n", None)
    run(ProcessWrite(handle, b"two\n", end=True))
    said = check(run(ProcessRead(handle, out=4, until="exit", timeout_ms=10_000))[0], Said)
    assert (said.stdout, said.stderr, said.returncode) == (b"two\n", b"", 0)
    assert "closed before" in check(run(ProcessWrite(handle, b"more"))[0], Failed).text


def test_how_a_process_ends(run: Run) -> None:
    results = run(Start(Spawn(sh("echo bad >&2; exit 7"))), ProcessRead(Ref(0), until="exit", timeout_ms=10_000))
    said = check(results[1], Said)
    assert (said.stderr, said.returncode) == (b"bad\n", 7)
    over = check(run(ProcessSignal(made(results[0]), signal.SIGTERM))[0], Failed)
    assert over.errno == 3
    assert "ended with 7" in over.text


def test_signals_reach_the_group(run: Run) -> None:
    results = run(Start(Spawn(("/bin/sleep", "100"))), ProcessSignal(Ref(0), signal.SIGINT))
    assert results[1] == Done()
    said = check(run(ProcessRead(made(results[0]), until="exit", timeout_ms=10_000))[0], Said)
    assert said.returncode == -signal.SIGINT


def test_a_hanging_process_ends_with_its_handle(run: Run) -> None:
    script = "trap '' TERM HUP INT; echo up; while :; do sleep 100; done"
    results = run(Start(Spawn(sh(script))), ProcessRead(Ref(0), timeout_ms=10_000))
    pid = check(results[1], Said).pid
    assert running(run, pid)
    assert run(Close(made(results[0]))) == [Done()]
    assert not running(run, pid)


def test_a_process_that_reads_nothing(run: Run) -> None:
    results = run(Start(Spawn(("/bin/sleep", "100"))), Try(ProcessWrite(Ref(0), bytes(1 << 20), timeout_ms=200)))
    late = check(results[1], Failed)
    assert late.errno == 11
    assert "of 1048576 bytes went in" in late.text


def test_a_command_to_start_that_does_not_exist(run: Run) -> None:
    assert run(Start(Spawn(("/no/such",)))) == [Failed("Start", 2, "/no/such: No such file or directory")]
    absent = Spawn(("/bin/true",), cwd="/no/such/place")
    assert run(absent) == [Failed("Spawn", 2, "/no/such/place: No such file or directory")]


def test_who_a_command_runs_as(run: Run) -> None:
    identity = "echo $(id -u) $(id -g) $(id -G); grep CapEff /proc/self/status"
    as_nobody, limited, root = (
        check(result, Exited).stdout.decode().split()
        for result in run(
            Spawn(sh(identity), user="65534"),
            Spawn(sh(identity), user="1234", caps=NET_RAW),
            Spawn(sh(identity), caps=NET_RAW),
        )
    )
    assert as_nobody[:2] == ["65534", "65534"]
    assert int(as_nobody[-1], 16) == 0
    assert limited[:3] == ["1234", "1234", "1234"]
    assert int(limited[-1], 16) == NET_RAW
    assert root[0] == "0"
    assert int(root[-1], 16) == NET_RAW


def test_users_and_capabilities_that_are_not_there(run: Run) -> None:
    assert "there is no user 'nobodyy'" in check(run(Spawn(("/bin/true",), user="nobodyy"))[0], Failed).text
    assert "no capability number 63" in check(run(Spawn(("/bin/true",), caps=1 << 63))[0], Failed).text


def test_the_agent_keeps_its_own_capabilities(run: Run) -> None:
    run(Spawn(("/bin/true",), caps=0), Spawn(("/bin/true",), user="1234", caps=NET_RAW))
    assert check(run(NetNs())[0], Made)


def test_mounts_in_a_namespace_are_seen_there_alone(kernel: Kernel, run: Run) -> None:
    folder = fresh("mounts")
    results = run(
        MakeDir(folder),
        MountNs(),
        In(Ref(1), Mount("none", folder, "tmpfs")),
        In(Ref(1), WriteFile(f"{folder}/inside", b"yes")),
        In(Ref(1), Spawn(("/bin/cat", f"{folder}/inside"))),
        Try(ReadFile(f"{folder}/inside")),
        In(Ref(1), ReadFile(f"{folder}/inside")),
    )
    assert check(results[4], Exited).stdout == b"yes"
    assert check(results[5], Failed).errno == 2
    assert results[6] == Data(b"yes")
    assert run(Close(made(results[1]))) == [Done()]
    assert check(run(In(made(results[0]), ReadFile("/proc/version")))[0], Failed).text.endswith(
        "is not a mount namespace"
    )


def test_trees_go_in_and_out(kernel: Kernel, run: Run) -> None:
    folder = fresh("tree")
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w") as archive:
        for name, data in (("top/a", b"1"), ("top/deep/b", bytes(100_000))):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o755
            archive.addfile(member, io.BytesIO(data))
    scope = made(kernel.run([ScopeOpen("tree")])[0])
    results = kernel.run(
        [
            WriteTree(folder, memory.getvalue()),
            ReadTree(f"{folder}/top"),
            Spawn(("/usr/bin/test", "-x", f"{folder}/top/a")),
        ],
        scope=scope,
    )
    with tarfile.open(fileobj=io.BytesIO(check(results[1], Data).data)) as back:
        assert [member.name for member in back.getmembers() if member.isfile()] == ["top/a", "top/deep/b"]
    assert check(results[2], Exited).returncode == 0
    assert kernel.run([ScopeClose(scope)]) == [ScopeClosed(())]
    assert check(run(ReadTree(folder))[0], Failed).errno == 2


def test_a_new_file_goes_with_its_scope_and_an_old_one_stays(kernel: Kernel, run: Run) -> None:
    path = fresh("file")
    run(WriteFile(path, b"1", mode=0o600))
    scope = made(kernel.run([ScopeOpen("files")])[0])
    kernel.run([WriteFile(path, b"2"), WriteFile(f"{path}-new", b"3")], scope=scope)
    assert kernel.run([ScopeClose(scope)]) == [ScopeClosed(())]
    assert run(ReadFile(path)) == [Data(b"2")]
    assert check(run(ReadFile(f"{path}-new"))[0], Failed).errno == 2


def test_processes_that_left_their_group_end_with_the_scope(kernel: Kernel, run: Run) -> None:
    script = "import os, time\nif os.fork() == 0:\n    os.setsid(); os.close(1); os.close(2); time.sleep(100)\n"
    tell = script.replace("os.fork() == 0", "(pid := os.fork()) == 0") + "print(pid)"
    scope = made(kernel.run([ScopeOpen("strays")])[0])
    pid = int(check(kernel.run([Spawn((*PYTHON, tell))], scope=scope)[0], Exited).stdout)
    assert running(run, pid)
    assert kernel.run([ScopeClose(scope)]) == [ScopeClosed(())]
    assert not running(run, pid)


def test_a_namespace_that_somebody_is_still_in_is_a_leak(kernel: Kernel, run: Run) -> None:
    scope = made(kernel.run([ScopeOpen("inner")])[0])
    space = made(kernel.run([NetNs(site="test_x.py:1")], scope=scope)[0])
    unknown = ("/usr/bin/env", "-i", *sh("setsid /bin/sleep 100 >/dev/null 2>&1 & echo $!; sleep 0.5"))
    pid = int(check(run(Spawn(unknown, netns=space))[0], Exited).stdout)
    (leak,) = check(kernel.run([ScopeClose(scope)])[0], ScopeClosed).leaks
    assert (leak.kind, leak.id, leak.site) == ("netns", pid, "test_x.py:1")
    assert f"process {pid} (" in leak.held_by
    run(Spawn(sh(f"kill {pid}")))


def test_a_process_of_a_scope_that_is_open_holds_no_namespace(kernel: Kernel, run: Run) -> None:
    """It ends with its own scope, whichever of the two closes first."""
    scope = made(kernel.run([ScopeOpen("inner")])[0])
    space = made(kernel.run([NetNs()], scope=scope)[0])
    run(Start(Spawn(("/bin/sleep", "100"), netns=space)))
    assert kernel.run([ScopeClose(scope)]) == [ScopeClosed(())]


def test_what_commands_mount_and_leave_is_a_leak(kernel: Kernel, run: Run) -> None:
    folder = fresh("left")
    run(MakeDir(folder))
    scope = made(kernel.run([ScopeOpen("watched")])[0])
    kernel.run([WatchAround(), Spawn(("/bin/mount", "-t", "tmpfs", "none", folder))], scope=scope)
    leaks = check(kernel.run([ScopeClose(scope)])[0], ScopeClosed).leaks
    assert folder in [leak.name for leak in leaks if leak.kind == "mount"]
    run(Spawn(("/bin/umount", folder)))


def test_large_output_comes_whole(run: Run) -> None:
    script = "import sys; sys.stdout.buffer.write(bytes(range(256)) * 16384)"
    results = run(Start(Spawn((*PYTHON, script))), ProcessRead(Ref(0), until="exit", timeout_ms=60_000))
    said = check(results[1], Said)
    assert said.stdout == bytes(range(256)) * 16384
    assert said.returncode == 0  # it ended: its time was not up
