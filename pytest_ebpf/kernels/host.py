"""The kernel of this machine: called from this process where it may, else through an agent under ``sudo -n``."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence

from pytest_ebpf.agent.ops import Failed, ProgLoad, ProgRejected
from pytest_ebpf.errors import BpfUsageError, HarnessError, errno_name
from pytest_ebpf.frozen import replace
from pytest_ebpf.kernels.base import Kernel
from pytest_ebpf.kernels.local import LocalKernel
from pytest_ebpf.kernels.loss import Loss
from pytest_ebpf.kernels.remote import RemoteKernel
from pytest_ebpf.uapi.enums import ProgType

__all__ = ["open_agent_kernel", "open_host_kernel", "refusal"]

# mov64 r0, 0; exit. XDP, as it takes CAP_BPF and CAP_NET_ADMIN (or CAP_SYS_ADMIN): less is not enough for tests.
_SMALLEST = bytes.fromhex("b7000000000000009500000000000000")
_HINT = (
    "run pytest as root, or allow `sudo -n` for it (`sudo -v` first, or NOPASSWD in sudoers),"
    " or test in guests only: --bpf-kernels=6.1"
)


def refusal(kernel: Kernel) -> str:
    """Why a kernel does not let us load programs, as an errno's name; "" when it does."""
    (result,) = kernel.run([ProgLoad(type=ProgType.XDP, insns=_SMALLEST, license="GPL", name="may_i", log_level=0)])
    if isinstance(result, Failed | ProgRejected):
        return errno_name(result.errno)
    return ""


def open_host_kernel(
    *, open_local: Callable[[], Kernel] = LocalKernel, open_agent: Callable[..., Kernel] | None = None
) -> Kernel:
    """The kernel under this process. Raises ``BpfUsageError`` with what to do when it cannot be used.

    ``open_local`` opens it in this process; ``open_agent`` behind a command that is its ``prefix`` (default:
    ``open_agent_kernel``).
    """
    local = open_local()
    why = refusal(local)
    local.close()
    if not why:
        return open_local()
    if why == "ENOSYS":
        raise BpfUsageError("this kernel has no bpf() system call", hint="test in guests: --bpf-kernels=6.1")
    sudo = shutil.which("sudo")
    if sudo is None:
        raise BpfUsageError(f"this process may not call bpf() ({why}), and sudo is not installed", hint=_HINT)
    try:
        kernel = (open_agent or open_agent_kernel)(prefix=(sudo, "-n"), name="host")
    except HarnessError as error:
        words = error.console.splitlines()[-1:] or [error.message]
        raise BpfUsageError(
            f"this process may not call bpf() ({why}), and sudo failed: {words[0]}", hint=_HINT
        ) from error
    if still := refusal(kernel):
        kernel.close()
        raise BpfUsageError(f"bpf() is closed here, for root too ({still})", hint="in a container: run it --privileged")
    return kernel


def open_agent_kernel(*, prefix: Sequence[str] = (), name: str = "agent") -> RemoteKernel:
    """A kernel behind an agent that runs as a child of this process, its command behind ``prefix``. Raises
    ``GuestLost`` with the child's last message when it does not start."""
    from pytest_ebpf.kernels.child import ChildAgent, agent_argv

    child = ChildAgent(agent_argv(prefix))

    def last_words(loss: Loss) -> Loss:
        child.close()
        return replace(loss, console=child.last_words())

    return RemoteKernel(child, name=name, on_lost=last_words)
