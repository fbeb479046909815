"""Files, directories, mounts, namespaces and commands."""

from __future__ import annotations

import os
import socket
import struct

import pytest

from pytest_ebpf.agent.ops import (
    Close,
    Data,
    Describe,
    Described,
    Done,
    Exited,
    Failed,
    Made,
    MakeDir,
    Mount,
    Netlink,
    NetNs,
    OpenFile,
    ReadFile,
    Ref,
    ScopeClose,
    ScopeClosed,
    ScopeOpen,
    Spawn,
    Try,
    WriteFile,
)
from pytest_ebpf.kernels.base import Kernel, check, made
from support.contract_kernels import Run

PYTHON = ("/usr/bin/env", "python3", "-c")
RTM_GETLINK, RTM_NEWLINK, RTM_NEWADDR = 18, 16, 20
F_REQUEST, F_DUMP, F_CREATE, F_EXCL = 1, 0x300, 0x400, 0x200


def unique(prefix: str) -> str:
    return f"{prefix}-{os.getpid()}-{os.urandom(4).hex()}"


def sh(script: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", script)


@pytest.fixture
def folder(run: Run) -> str:
    path = f"/tmp/{unique('contract')}"
    check(run(MakeDir(path))[0], Made)
    return path


def test_describe(kernel: Kernel) -> None:
    described = check(kernel.run([Describe()])[0], Described)
    uname = check(kernel.run([Spawn(("/bin/uname", "-r"))])[0], Exited).stdout.decode().strip()
    assert described.release == uname
    assert described.cpus >= 1
    assert described.page_size in (4096, 16384, 65536)
    assert len(described.boot) == 36
    assert described.byteorder in ("little", "big")
    assert described.euid == 0
    assert described.cap_bpf
    assert described.cmdline


def test_files(run: Run, folder: str) -> None:
    path = f"{folder}/a"
    results = run(
        WriteFile(path, b"hello"),
        WriteFile(path, b" world", append=True),
        ReadFile(path),
        ReadFile(path, limit=4),
        WriteFile(path, b""),
        ReadFile(path),
        Try(ReadFile(f"{folder}/b")),
        Try(ReadFile(folder)),
    )
    assert results[2:6] == [Data(b"hello world"), Data(b"hell"), Done(), Data(b"")]
    assert results[6] == Failed("ReadFile", 2, f"{folder}/b: No such file or directory")
    assert check(results[7], Failed).errno == 21


def test_big_files(run: Run, folder: str) -> None:
    data = os.urandom(5 << 20)
    assert run(WriteFile(f"{folder}/big", data), ReadFile(f"{folder}/big"))[1] == Data(data)


def test_reading_never_waits(run: Run, folder: str) -> None:
    run(Spawn(("/usr/bin/mkfifo", f"{folder}/fifo")))
    assert run(ReadFile(f"{folder}/fifo")) == [Data(b"")]


def test_directories_go_with_everything_in_them(run: Run) -> None:
    path = f"/tmp/{unique('dir')}"
    results = run(
        MakeDir(path),
        Spawn(sh(f"mkdir -p {path}/a/b; touch {path}/a/b/c {path}/d; ln -s /etc {path}/a/link")),
        Close(Ref(0)),
        Try(ReadFile(f"{path}/d")),
        Spawn(sh(f"test -e {path} || test ! -e /etc/passwd")),
    )
    assert results[2] == Done()
    assert check(results[3], Failed).errno == 2
    assert check(results[4], Exited).returncode == 1


def test_a_directory_that_exists_is_not_ours(run: Run) -> None:
    assert run(MakeDir("/tmp")) == [Failed("MakeDir", 17, "/tmp: File exists")]
    assert check(run(Spawn(("/usr/bin/test", "-d", "/tmp")))[0], Exited).returncode == 0


def test_open_file(run: Run) -> None:
    results = run(OpenFile("/proc/self"), OpenFile("/proc/version"), Try(OpenFile("/no/such")))
    assert [check(result, Made).handle.kind for result in results[:2]] == ["dir", "file"]
    assert check(results[2], Failed).errno == 2


def test_a_mount_goes_with_its_scope(kernel: Kernel, run: Run, folder: str) -> None:
    inner = made(kernel.run([ScopeOpen("mounts")])[0])
    results = kernel.run(
        [Mount("none", folder, "tmpfs"), WriteFile(f"{folder}/x", b"1"), Mount("none", folder, "tmpfs")], scope=inner
    )
    assert results == [Done()] * 3
    assert run(ReadFile(f"{folder}/x")) == [Data(b"1")]  # the second mount found the first
    assert kernel.run([ScopeClose(inner)]) == [ScopeClosed(())]
    assert check(run(ReadFile(f"{folder}/x"))[0], Failed).errno == 2
    assert check(run(Mount("none", folder, "nosuchfs"))[0], Failed).errno == 19


def message(kind: int, flags: int, body: bytes, *, sequence: int = 1) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 0) + body


def attribute(kind: int, data: bytes) -> bytes:
    return (struct.pack("=HH", 4 + len(data), kind) + data).ljust((4 + len(data) + 3) & ~3, b"\0")


def link_names(data: bytes) -> list[str]:
    names, offset = [], 0
    while offset < len(data):
        length, kind = struct.unpack_from("=IH", data, offset)
        end, at = offset + length, offset + 32
        while kind == RTM_NEWLINK and at + 4 <= end:
            size, what = struct.unpack_from("=HH", data, at)
            if what == 3:  # IFLA_IFNAME
                names.append(data[at + 4 : at + size].rstrip(b"\0").decode())
            at += max((size + 3) & ~3, 4)
        offset += (length + 3) & ~3
    return names


ALL_LINKS = message(RTM_GETLINK, F_REQUEST | F_DUMP, struct.pack("=BxHiII", socket.AF_UNSPEC, 0, 0, 0, 0))


def dummy(name: str, *, sequence: int = 1) -> bytes:
    info = attribute(18, attribute(1, b"veth\0"))  # IFLA_LINKINFO, IFLA_INFO_KIND
    body = struct.pack("=BxHiII", 0, 0, 0, 0, 0) + attribute(3, name.encode() + b"\0") + info
    return message(RTM_NEWLINK, F_REQUEST | F_CREATE | F_EXCL, body, sequence=sequence)


def test_netlink_in_a_namespace_of_its_own(run: Run) -> None:
    results = run(NetNs(), Netlink(ALL_LINKS, netns=Ref(0)), Netlink(ALL_LINKS))
    inside, outside = (link_names(check(result, Data).data) for result in results[1:])
    assert "lo" in inside
    assert "eth0" not in inside
    assert "lo" in outside


def test_loopback_is_up_in_a_new_namespace(run: Run) -> None:
    script = "import socket; s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname())"
    results = run(NetNs(), Spawn((*PYTHON, script), netns=Ref(0)))
    assert check(results[1], Exited).returncode == 0


def test_netlink_errors_carry_errno_and_words(run: Run) -> None:
    body = struct.pack("=BxHiII", 0, 0, 999_999, 0, 0)
    results = run(NetNs(), Try(Netlink(message(RTM_GETLINK, F_REQUEST, body), netns=Ref(0))))
    assert check(results[1], Failed).errno == 19
    assert "cut off" in check(run(Netlink(ALL_LINKS[:-4]))[0], Failed).text
    assert check(run(Netlink(b""))[0], Failed).errno == 0


def test_several_netlink_requests_stop_at_the_first_error(run: Run) -> None:
    name = "v" + os.urandom(3).hex()
    results = run(NetNs(), Netlink(dummy(name) + dummy(name, sequence=2) + dummy("never", sequence=3), netns=Ref(0)))
    assert check(results[1], Failed).errno == 17
    names = link_names(check(run(Netlink(ALL_LINKS, netns=check(results[0], Made).handle))[0], Data).data)
    assert name in names
    assert "never" not in names


def test_a_named_namespace_is_there_while_its_handle_is(run: Run) -> None:
    name = unique("ns")
    results = run(NetNs(name), OpenFile(f"/run/netns/{name}"), Netlink(ALL_LINKS, netns=Ref(1)), Close(Ref(0)))
    assert "lo" in link_names(check(results[2], Data).data)
    assert results[3] == Done()
    assert check(run(OpenFile(f"/run/netns/{name}"))[0], Failed).errno == 2
    assert "cannot name" in check(run(NetNs("a/b"))[0], Failed).text


def test_commands(run: Run) -> None:
    results = run(
        Spawn(("/bin/cat",), stdin=b"in and out"),
        Spawn(sh("echo out; echo err >&2; exit 3")),
        Spawn(sh("kill -TERM $$")),
        Spawn(sh("pwd; echo $WHO"), cwd="/proc", env=(("WHO", "me"),)),
        Spawn(("/bin/cat",)),
    )
    assert results[0] == Exited(0, b"in and out", b"")
    assert results[1] == Exited(3, b"out\n", b"err\n")
    assert results[2] == Exited(-15, b"", b"")
    assert results[3] == Exited(0, b"/proc\nme\n", b"")
    assert results[4] == Exited(0, b"", b"")


def test_a_command_that_does_not_exist(run: Run) -> None:
    assert run(Spawn(("/no/such",))) == [Failed("Spawn", 2, "/no/such: No such file or directory")]
    assert check(run(Spawn(()))[0], Failed).text == "an empty command"


def test_big_input_and_output(run: Run) -> None:
    data = os.urandom(3 << 20)
    exited = check(
        run(Spawn((*PYTHON, "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"), stdin=data))[0], Exited
    )
    assert exited.stdout == data


def test_input_that_nobody_reads(run: Run) -> None:
    assert run(Spawn(("/bin/true",), stdin=bytes(1 << 20))) == [Exited(0, b"", b"")]


def test_time_is_up_for_the_whole_group(run: Run) -> None:
    mark = unique("sleeper")
    exited = check(run(Spawn(sh(f"echo begun; sh -c 'sleep 1000000; : {mark}'; echo never"), timeout=0.5))[0], Exited)
    assert (exited.timed_out, exited.stdout, exited.returncode) == (True, b"begun\n", -9)
    assert not running(run, mark)


def test_what_a_command_leaves_behind_ends_with_it(run: Run) -> None:
    mark = unique("background")
    exited = check(run(Spawn(sh(f"sh -c 'sleep 100; : {mark}' & echo started")))[0], Exited)
    assert (exited.timed_out, exited.stdout, exited.returncode) == (False, b"started\n", 0)
    assert not running(run, mark)


def running(run: Run, mark: str) -> bool:
    """Is there a process whose command line has ``mark``, other than the one that looks?"""
    script = (
        "import os, sys\n"
        "me = str(os.getpid())\n"
        "for pid in filter(str.isdigit, os.listdir('/proc')):\n"
        "    try: line = open(f'/proc/{pid}/cmdline', 'rb').read()\n"
        "    except OSError: continue\n"
        "    if pid != me and sys.argv[1].encode() in line: sys.exit(1)\n"
    )
    return check(run(Spawn((*PYTHON, script, mark)))[0], Exited).returncode != 0


def test_a_cgroup_goes_with_its_members(kernel: Kernel, run: Run) -> None:
    mounts = check(run(ReadFile("/proc/self/mounts"))[0], Data).data.decode()
    root = next(line.split()[1] for line in mounts.splitlines() if line.split()[2] == "cgroup2")
    path, mark = f"{root}/{unique('group')}", unique("member")
    # The member leaves its process group, so only the cgroup knows of it.
    script = (
        f"import os, time\nif os.fork() == 0:\n    os.setsid(); os.close(1); os.close(2)\n    time.sleep(100) # {mark}"
    )
    results = run(MakeDir(path), MakeDir(f"{path}/child"), Spawn((*PYTHON, script), cgroup=f"{path}/child"))
    assert check(results[2], Exited).returncode == 0
    assert running(run, mark)
    assert run(Close(check(results[0], Made).handle)) == [Done()]
    assert not running(run, mark)
    assert check(run(OpenFile(path))[0], Failed).errno == 2
