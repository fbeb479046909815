"""Commands, functions, files, users, control groups and mounts, on the host and in guests alike."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pytest_ebpf import BpfUsageError, KernelCallError, User
from pytest_ebpf.agent.ops import Close, Done

PYTHON = ["/usr/bin/env", "python3", "-c"]
OBJECT = object()
TABLE = {"a": [1, 2], "b": (None, True, b"\0")}


def gone(bpf_vm: Any, pid: int) -> bool:
    """No such process, or a zombie that nobody collected yet."""
    state = bpf_vm.run(["sh", "-c", f"cat /proc/{pid}/stat"]).text
    return not state or ") Z" in state


# run


def test_output_and_status_come_whole(bpf_vm: Any) -> None:
    data = os.urandom(2 << 20)
    done = bpf_vm.run(["cat"], stdin=data)
    assert (done.returncode, done.stdout, done.stderr) == (0, data, b"")
    done = bpf_vm.run(["sh", "-c", "echo out; echo err >&2; kill -KILL $$"])
    assert (done.returncode, done.text, done.stderr) == (-9, "out\n", b"err\n")
    assert bpf_vm.run(["printf", "a\\nb"]).lines == ["a", "b"]


def test_environment_and_directory(bpf_vm: Any) -> None:
    done = bpf_vm.run(["sh", "-c", 'echo $WHO in $PWD; test -n "$PATH"'], env={"WHO": "me"}, cwd="/proc")
    assert (done.returncode, done.text) == (0, "me in /proc\n")


def test_check(bpf_vm: Any) -> None:
    assert bpf_vm.run(["true"], check=True).returncode == 0
    with pytest.raises(AssertionError, match="ended with 3: sorry"):
        bpf_vm.run(["sh", "-c", "echo sorry >&2; exit 3"], check=True)


def test_what_was_said_until_time_was_up(bpf_vm: Any) -> None:
    with pytest.raises(TimeoutError, match=r"did not end within .*\nstdout: so far") as late:
        bpf_vm.run(["sh", "-c", "echo so far; sleep 1000"], timeout=0.5)
    assert late.value.stdout == b"so far\n"  # type: ignore[attr-defined]


def test_programs_that_are_not_there(bpf_vm: Any) -> None:
    with pytest.raises(KernelCallError, match=r"/bin/catt: No such file.*\n.*/bin/cat\b"):
        bpf_vm.run(["/bin/catt"])
    with pytest.raises(KernelCallError, match=r"unamee: No such file.*\ndid you mean uname"):
        bpf_vm.start(["unamee"])
    with pytest.raises(KernelCallError, match="/no/such/place: No such file"):
        bpf_vm.run(["true"], cwd="/no/such/place")


def test_what_is_no_command(bpf_vm: Any) -> None:
    with pytest.raises(BpfUsageError, match="a list of words"):
        bpf_vm.run("ls /")
    with pytest.raises(BpfUsageError, match="a list of words"):
        bpf_vm.run([])
    with pytest.raises(BpfUsageError, match="bytes or text"):
        bpf_vm.run(["cat"], stdin=5)
    with pytest.raises(BpfUsageError, match="number of seconds"):
        bpf_vm.run(["cat"], timeout=0)
    with pytest.raises(BpfUsageError, match="netns= expects a network namespace"):
        bpf_vm.run(["cat"], netns=5)


# start


def test_a_conversation(bpf_vm: Any) -> None:
    with bpf_vm.start(["sh", "-c", "echo ready; while read x; do echo got $x; done; exit 4"]) as process:
        assert process.read_line() == "ready"
        assert process.poll() is None
        process.write("one\n")
        assert process.expect("one") == "got one"
        process.close_stdin()
        done = process.wait(timeout=10)
    assert (done.returncode, done.lines) == (4, ["ready", "got one"])


def test_lines_as_they_come(bpf_vm: Any) -> None:
    process = bpf_vm.start(["sh", "-c", "echo 1; sleep 0.1; echo 2; printf 3; echo oops >&2; exit 1"])
    assert list(process.lines()) == ["1", "2", "3"]
    with pytest.raises(EOFError, match="ended with 1: oops"):
        process.read_line()


def test_a_process_that_says_nothing(bpf_vm: Any) -> None:
    process = bpf_vm.start(["sleep", "1000"])
    with pytest.raises(TimeoutError, match=r"wrote no line within 0\.2 s .*wrote nothing"):
        process.read_line(timeout=0.2)
    with pytest.raises(TimeoutError, match=r"did not end within 0\.2 s"):
        process.wait(timeout=0.2)
    assert process.poll() is None


def test_signals(bpf_vm: Any) -> None:
    process = bpf_vm.start(["sh", "-c", "trap 'echo caught; exit 0' USR1; echo up; while :; do sleep 0.1; done"])
    process.read_line()
    process.signal("USR1")
    assert process.wait().lines == ["up", "caught"]
    with pytest.raises(KernelCallError, match="it ended with 0"):
        process.signal(signal.SIGTERM)
    with pytest.raises(BpfUsageError, match="no signal 'NOPE'"):
        process.signal("NOPE")


def test_a_hanging_process_is_killed(bpf_vm: Any) -> None:
    process = bpf_vm.start(["sh", "-c", "trap '' TERM INT HUP; echo up; while :; do sleep 100; done"])
    process.read_line()
    process.signal("TERM")
    time.sleep(0.1)
    assert process.poll() is None
    process.kill()
    process.kill()
    assert process.poll() == -9
    assert gone(bpf_vm, process.pid)


def test_a_process_dies_with_its_test(bpf_kernel: Any, bpf_vm: Any) -> None:
    from pytest_ebpf.live.machine.machine import BpfVm
    from pytest_ebpf.live.session import Session

    other = Session(bpf_kernel.running)
    process = BpfVm(bpf_kernel, session=other).start(["sh", "-c", "sleep 1000 & echo $!; setsid sleep 1000 & wait"])
    child = int(process.read_line())
    assert not gone(bpf_vm, process.pid)
    assert other.close() == ()
    assert gone(bpf_vm, process.pid)
    assert gone(bpf_vm, child)


# call


def uname(prefix: str, *, times: int = 1) -> str:
    return prefix + os.uname().release * times


def doubled(value: Any) -> Any:
    print("doubling", value)
    return [value, value]


def with_object() -> Any:
    return OBJECT


def open_it(path: str) -> str:
    return Path(path).read_text()


def whoami() -> int:
    return os.getuid()


def break_off() -> None:
    sys.stderr.write("last words\n")
    os._exit(3)


def test_a_function_runs_there(bpf_vm: Any, bpf_kernel: Any) -> None:
    assert bpf_vm.call(uname, "Linux ") == f"Linux {bpf_kernel.release}"
    assert bpf_vm.call(partial(uname, times=2), "") == bpf_kernel.release * 2


def test_a_function_takes_along_what_it_uses(bpf_vm: Any, capsys: pytest.CaptureFixture[str]) -> None:
    local = 3

    def inner(number: int) -> int:
        return number + local

    assert bpf_vm.call(inner, 4) == 7
    given = {"text": "ä", "bytes": b"\xff", "set": {1}, "float": 0.5, "big": 1 << 70}
    assert bpf_vm.call(simple, given) == [{"given": given, "table": TABLE, "text": "[1]"}] * 2
    assert "doubling" in capsys.readouterr().out


def simple(value: Any, where: Path = Path("/unused")) -> Any:
    return doubled({"given": value, "table": TABLE, "text": json.dumps([1])})


def test_an_exception_comes_back_with_its_traceback(bpf_vm: Any) -> None:
    with pytest.raises(FileNotFoundError) as raised:
        bpf_vm.call(open_it, "/no/such")
    assert raised.value.filename == "/no/such"
    cause = str(raised.value.__cause__)
    assert f'{__file__}", line ' in cause
    assert "in open_it" in cause
    with pytest.raises(RuntimeError, match=r"JSONDecodeError"):
        bpf_vm.call(bad_json)
    with pytest.raises(RuntimeError, match=r"break_off\(\) ended its process with 3: last words"):
        bpf_vm.call(break_off)


def bad_json() -> None:
    json.loads("{")


def test_what_cannot_be_sent(bpf_vm: Any) -> None:
    with pytest.raises(BpfUsageError, match="argument 1 of uname"):
        bpf_vm.call(uname, object())
    with pytest.raises(BpfUsageError, match="expected a function written with def"):
        bpf_vm.call(lambda: 1)
    with pytest.raises(BpfUsageError, match=r"OBJECT, which with_object\(\) uses, is <object"):
        bpf_vm.call(with_object)
    with pytest.raises(TypeError, match="only plain data"):
        bpf_vm.call(give_a_module)


def give_a_module() -> Any:
    return json


# files


def test_files(bpf_vm: Any) -> None:
    path = bpf_vm.tmp_path / "a"
    bpf_vm.write_file(path, "one", mode=0o755)
    bpf_vm.write_file(path, b" two", append=True)
    assert bpf_vm.read_file(path) == b"one two"
    assert bpf_vm.run(["stat", "-c", "%a", path]).text == "755\n"
    assert bpf_vm.list_dir(bpf_vm.tmp_path) == ["a"]
    with pytest.raises(KernelCallError, match="ENOENT"):
        bpf_vm.read_file(bpf_vm.tmp_path / "b")


def test_trees(bpf_vm: Any, tmp_path: Path) -> None:
    (tmp_path / "tree/deep").mkdir(parents=True)
    (tmp_path / "tree/deep/file").write_bytes(bytes(300_000))
    script = tmp_path / "tree/script"
    script.write_text("#!/bin/sh\necho from $0\n")
    script.chmod(0o755)
    there = bpf_vm.copy_in(tmp_path / "tree", bpf_vm.tmp_path / "copy")
    assert bpf_vm.run([there / "script"]).text == f"from {there}/script\n"
    bpf_vm.write_file(there / "more", "x")
    back = bpf_vm.copy_out(there, tmp_path / "back")
    assert sorted(path.name for path in back.rglob("*")) == ["deep", "file", "more", "script"]
    assert bpf_vm.copy_out(there / "more", tmp_path / "single").read_text() == "x"
    with pytest.raises(BpfUsageError, match=r"treee does not exist on the host\ndid you mean tree"):
        bpf_vm.copy_in(tmp_path / "treee", "/tmp/x")
    with pytest.raises(KernelCallError, match="No such file"):
        bpf_vm.copy_out("/no/such", tmp_path / "no")


# users, groups, mounts


def test_users(bpf_vm: Any) -> None:
    nobody = bpf_vm.user("nobody")
    assert nobody.run(["id", "-u"]).text == "65534\n"
    assert bpf_vm.run(["id", "-u"], user=1234).text == "1234\n"
    assert nobody.run(["cat", "/proc/1/environ"]).returncode == 1
    assert nobody.call(whoami) == 65534
    process = nobody.start(["sh", "-c", "echo $(id -un)"])
    assert process.read_line() == "nobody"
    with pytest.raises(KernelCallError, match=r"no user 'nobodi' .*did you mean nobody"):
        bpf_vm.run(["id"], user="nobodi")


def test_capabilities(bpf_vm: Any) -> None:
    show = ["sh", "-c", "grep CapEff /proc/self/status"]
    effective = [
        int(bpf_vm.run(show, user=user).text.split()[1], 16)
        for user in (User("nobody", ("CAP_NET_RAW",)), User("", ("net_raw",)), User("", ()), User("nobody"))
    ]
    assert effective == [1 << 13, 1 << 13, 0, 0]
    with pytest.raises(BpfUsageError, match="no capability 'CAP_NET_ROW'\ndid you mean CAP_NET_RAW"):
        bpf_vm.run(show, user=User("nobody", ("CAP_NET_ROW",)))


def test_groups(bpf_vm: Any) -> None:
    group = bpf_vm.cgroup()
    process = group.start(["sleep", "1000"])
    assert group.procs == [process.pid]
    child = group.child("inner")
    child.add(process)
    assert (group.procs, child.procs) == ([], [process.pid])
    assert group.run(["cat", "/proc/self/cgroup"]).text.endswith(f"{group.path.rpartition('/')[2]}\n")
    assert int(child.read("cgroup.events").split()[1]) == 1
    with pytest.raises(BpfUsageError, match=r"has no file 'memory\.mox'"):
        group.write("memory.mox", 1)
    with pytest.raises(BpfUsageError, match="has no controller 'nosuch'; it has "):
        group.enable("nosuch")
    with pytest.raises(KernelCallError, match="File exists"):
        bpf_vm.cgroup(group.path.rpartition("/")[2])


def test_a_group_and_a_process_end_with_their_blocks(bpf: Any, bpf_vm: Any) -> None:
    with bpf_vm.cgroup() as group, group.child("inner") as inner:
        sleeping = inner.start(["sleep", "60"])
        assert inner.procs == [sleeping.pid]
    assert group.path.rpartition("/")[2] not in bpf_vm.list_dir(group.path.rpartition("/")[0])
    assert sleeping.wait(timeout=5).returncode == -9
    for each in (group, inner, sleeping, sleeping):
        each.close()  # twice is harmless
    with bpf.process() as descriptor:
        assert descriptor.handle.kind == "pidfd"
    descriptor.close()
    with pytest.raises(KernelCallError):
        bpf.session.one(Close(descriptor.handle), Done)


def test_a_controller(bpf_vm: Any, bpf_kernel: Any) -> None:
    root = bpf_vm.cgroup().path.rpartition("/")[0]
    if bpf_kernel.shared and "pids" not in bpf_vm.read_file(f"{root}/cgroup.controllers").decode():
        with pytest.raises(BpfUsageError, match="has no controller 'pids'"):
            bpf_vm.cgroup(controllers=["pids"])
        return
    group = bpf_vm.cgroup(controllers=["pids"])
    group.write("pids.max", 1)
    assert "pids" in group.controllers
    done = group.run(["sh", "-c", "sleep 0.01 & wait"])
    assert b"fork" in done.stderr.lower()


def test_mounts(bpf_vm: Any, bpf_kernel: Any) -> None:
    place = bpf_vm.mount("tmpfs", options="size=64k")
    bpf_vm.write_file(place / "file", "inside")
    assert bpf_vm.run(["cat", place / "file"]).text == "inside"
    assert bpf_vm.run(["dd", "if=/dev/zero", f"of={place}/big", "bs=1k", "count=100"]).returncode == 1
    bpffs = bpf_vm.mount("bpf")
    assert bpf_vm.run(["stat", "-f", "-c", "%T", bpffs]).text == "bpf_fs\n"
    if bpf_kernel.spec == "host":
        assert str(place) not in Path("/proc/self/mounts").read_text()
    with pytest.raises(KernelCallError, match="ENODEV"):
        bpf_vm.mount("nosuchfs")


def test_nothing_is_left(bpf_kernel: Any, bpf_vm: Any, tmp_path: Path) -> None:
    from pytest_ebpf.live.machine.machine import BpfVm
    from pytest_ebpf.live.session import Session

    other = Session(bpf_kernel.running)
    vm = BpfVm(bpf_kernel, session=other)
    (tmp_path / "file").write_text("x")
    group, place, new = vm.cgroup(), vm.mount("tmpfs"), f"/tmp/new-{os.urandom(4).hex()}"
    vm.copy_in(tmp_path / "file", new)
    group.start(["sleep", "1000"])
    assert other.close() == ()
    for path in (group.path, place, vm.tmp_path, new):
        assert bpf_vm.run(["test", "-e", str(path)]).returncode == 1
    assert str(place) not in bpf_vm.read_file("/proc/self/mounts").decode()


def test_what_a_command_leaves_in_a_guest_is_reported(bpf_kernel: Any, bpf_vm: Any) -> None:
    from pytest_ebpf.live.machine.machine import BpfVm
    from pytest_ebpf.live.session import Session

    if bpf_kernel.shared:
        return  # others change it at the same time
    other = Session(bpf_kernel.running)
    vm = BpfVm(bpf_kernel, session=other)
    vm.run(["mkdir", "/sys/fs/cgroup/left"], check=True)
    (leak,) = other.close()
    assert (leak.kind, leak.name) == ("cgroup", "/sys/fs/cgroup/left")
    bpf_vm.run(["test", "!", "-e", "/sys/fs/cgroup/left"], check=True)  # and it was removed
