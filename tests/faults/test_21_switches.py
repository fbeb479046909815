"""Line 21: switches of the whole kernel that tests rely on are on while a test runs, and as they were afterwards."""

from __future__ import annotations

import fcntl
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_ebpf import Bpf, BpfKernel, PlanError
from pytest_ebpf.agent.host import switches
from pytest_ebpf.agent.ops import (
    SWITCH_WAS_OFF,
    Close,
    Data,
    Failed,
    Made,
    ReadFile,
    SwitchOn,
    TraceOpen,
    Try,
    WriteFile,
)
from pytest_ebpf.kernels.local import LocalKernel
from pytest_ebpf.live.hints import advise
from pytest_ebpf.live.session import Session
from pytest_ebpf.live.switches import TRACING, have_on
from pytest_ebpf.obj.object import Extern
from pytest_ebpf.plan.ksyms import find_ksym
from support.plan_facts import an_object, facts

TRACING_ON = SwitchOn("tracefs", "tracing_on")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The switch of a file system of the test's own, off."""
    monkeypatch.setattr(switches, "PLACES", {"tracefs": (str(tmp_path),)})
    path = tmp_path / "tracing_on"
    path.write_text("0\n")
    return path


def test_what_was_off_is_on_until_the_handle_is_closed(file: Path) -> None:
    kernel = LocalKernel()
    (made,) = kernel.run([TRACING_ON])
    assert isinstance(made, Made)
    assert made.handle.name.endswith(SWITCH_WAS_OFF)
    assert file.read_text() == "1\n"
    kernel.run([Close(made.handle)])
    assert file.read_text() == "0\n"
    kernel.close()


def test_what_was_on_stays_on(file: Path) -> None:
    file.write_text("1\n")
    kernel = LocalKernel()
    (made,) = kernel.run([TRACING_ON])
    assert isinstance(made, Made)
    assert made.handle.name == "tracing_on"
    kernel.close()
    assert file.read_text() == "1\n"


def test_it_stays_on_while_somebody_else_relies_on_it(file: Path) -> None:
    kernel = LocalKernel()
    (first,) = kernel.run([TRACING_ON])
    assert isinstance(first, Made)
    with file.open() as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        kernel.run([Close(first.handle)])
        assert file.read_text() == "1\n"
    kernel.close()


def test_a_switch_that_is_not_there(file: Path) -> None:
    file.unlink()
    kernel = LocalKernel()
    (answer,) = kernel.run([SwitchOn("tracefs", "no_such_switch")])
    assert isinstance(answer, Failed)
    kernel.close()


def test_the_warning_names_the_switch_and_what_it_costs(bpf: Bpf, file: Path) -> None:
    if not isinstance(bpf.session.target.kernel, LocalKernel):
        pytest.skip("the file is on this machine")
    session = Session(bpf.session.target, name="switch")
    with pytest.warns(UserWarning, match=r"tracing_on was 0, so trace_pipe stays empty\. It is 1 while this test runs"):
        have_on(session, TRACING, effect="trace_pipe stays empty")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        have_on(session, TRACING, effect="trace_pipe stays empty")
    assert session.close() == ()
    assert file.read_text() == "0\n"


def test_hints(bpf: Bpf) -> None:
    target = bpf.session.target
    hint = advise(WriteFile("/sys/kernel/tracing/trace_marker", b"x"), 9, target=target)
    assert "tracing is off" in hint
    assert "tracing_on" in hint
    assert advise(WriteFile("/tmp/x", b"x"), 9, target=target) == ""
    assert "Another process reads trace_pipe" in advise(TraceOpen(), 16, target=target)


FTRACE_FILE = "/proc/sys/kernel/ftrace_enabled"


@pytest.fixture
def ftrace_off(bpf_kernel: BpfKernel) -> Iterator[None]:
    """A kernel of the test's own (a guest) with ftrace off; it is on again when the scope of ``bpf`` is closed."""
    kernel = bpf_kernel.running.kernel
    if isinstance(kernel, LocalKernel):
        pytest.skip("ftrace of this machine is not the test's to switch off")
    (done,) = kernel.run([Try(WriteFile(FTRACE_FILE, b"0"))])
    if isinstance(done, Failed):
        pytest.skip(f"this kernel keeps ftrace on: {done.text}")
    yield
    (left,) = kernel.run([ReadFile(FTRACE_FILE)])
    kernel.run([Try(WriteFile(FTRACE_FILE, b"1"))])
    assert isinstance(left, Data)
    assert left.data == b"0\n", "as it was"


@pytest.mark.usefixtures("ftrace_off")
@pytest.mark.parametrize("section", ["kprobe/vfs_read", "fentry/vfs_read"])
def test_ftrace_is_on_while_a_program_is_attached(bpf: Bpf, built: Path, section: str) -> None:
    """Off, such programs attach and are never called (Linux 5.10 answers EBUSY to fentry)."""
    obj = bpf.load(built / "missing_targets.bpf.o", only="disabled_hook", programs={"disabled_hook": section})
    with pytest.warns(UserWarning, match="ftrace_enabled was 0, so no .* It is 1 while this test runs"):
        obj["disabled_hook"].attach()
    with bpf.count_runs():
        bpf.session.run([ReadFile("/proc/version")])
    assert obj["disabled_hook"].info.run_count


@pytest.mark.parametrize(
    ("text", "words"), [("0000000000000000 D jiffies\n", "kptr_restrict=2"), ("ffff D x\n", "no kernel")]
)
def test_kallsyms_without_addresses(text: str, words: str) -> None:
    jiffies = Extern("jiffies", "ksym")
    obj = an_object(externs=(jiffies,))
    with pytest.raises(PlanError, match=words):
        find_ksym(jiffies, obj, facts=facts(kallsyms=text))
