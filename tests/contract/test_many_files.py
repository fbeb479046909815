"""More objects than a process may have descriptors (issue 14, A6). The limit is low here, in an agent of its own."""

from __future__ import annotations

import resource
from errno import EMFILE

from pytest_ebpf.agent.ops import Failed, Made, MapCreate, ProgLoad
from pytest_ebpf.kernels.host import open_agent_kernel
from pytest_ebpf.uapi.enums import MapType, ProgType

MAP = MapCreate(type=MapType.ARRAY, key_size=4, value_size=4, max_entries=1, name="many")
RETURN_0 = bytes.fromhex("b7000000000000009500000000000000")
PROGRAM = ProgLoad(type=ProgType.SOCKET_FILTER, insns=RETURN_0, license="GPL", name="none")


def agent(limits: str) -> list[str]:
    return ["/bin/sh", "-c", f'ulimit {limits}; exec "$@"', "sh"]


def test_a6_a_thousand_objects_raise_the_limit_where_that_is_allowed() -> None:
    with open_agent_kernel(prefix=agent("-S -n 64")) as kernel:
        assert all(isinstance(result, Made) for result in kernel.run([MAP] * 1000))


def test_a6_where_it_is_not_the_limit_is_named_and_nothing_is_called_a_rejection() -> None:
    bounded = 'ulimit -n 64; exec setpriv --inh-caps=-sys_resource --bounding-set=-sys_resource "$@"'
    with open_agent_kernel(prefix=["/bin/sh", "-c", bounded, "sh"]) as kernel:
        failed = next(result for result in kernel.run([MAP] * 100) if isinstance(result, Failed))
        assert failed.errno == EMFILE
        assert "this process may have 64 (RLIMIT_NOFILE)" in failed.text
        (refused,) = kernel.run([PROGRAM])
        assert isinstance(refused, Failed)
        assert "RLIMIT_NOFILE" in refused.text


def test_the_limit_of_this_process_is_left_alone() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with open_agent_kernel(prefix=agent("-S -n 64")) as kernel:
        kernel.run([MAP] * 100)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
