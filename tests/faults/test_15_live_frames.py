"""Line 15: XDP programs on live frames have a call of their own, whose result has counts and no verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_ebpf import Bpf, BpfUsageError, Eth, KernelCallError

FRAME = Eth() / bytes(64)
LIVE_FRAMES = pytest.mark.bpf_kernel(">=5.18")
LIVE = 2  # BPF_F_TEST_XDP_LIVE_FRAMES


@LIVE_FRAMES
def test_each_packet_is_sent_as_often_as_asked(bpf: Bpf, built: Path) -> None:
    obj = bpf.load(built / "live_frames.bpf.o")
    for name in ("passes", "drops"):
        obj.globals["runs"] = 0
        result = obj[name].run_live([FRAME, bytes(64)], repeat=100, batch=8)
        assert (result.frames, result.packets) == (200, 2)
        assert obj.globals["runs"] == 200
        assert not hasattr(result, "retval")
        assert str(result).startswith("200 frames, ")


@LIVE_FRAMES
def test_with_a_context(bpf: Bpf, built: Path) -> None:
    """ctx= was always EINVAL: the kernel refuses to be asked for the context that comes out."""
    obj = bpf.load(built / "live_frames.bpf.o")
    marked = (3).to_bytes(4, "little") + bytes(64)
    result = obj["drops_marked"].run_live([marked], repeat=10, ctx={"data": 4})
    assert result.frames == 10
    assert obj.globals["runs"] == 30


@LIVE_FRAMES
def test_run_refuses_live_frames_and_says_what_runs_them(bpf: Bpf, built: Path) -> None:
    obj = bpf.load(built / "live_frames.bpf.o")
    with pytest.raises(
        KernelCallError, match=r"returns no verdict, data or context\nUse prog.run_live\(packets"
    ) as raised:
        obj["passes"].run(FRAME, flags=LIVE, repeat=10)
    assert raised.value.errno == 0
    assert obj.globals["runs"] == 0


@LIVE_FRAMES
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batch": 257}, "batch= is a number of frames up to 256, not 257"),
        ({"repeat": 0}, "repeat= is how often each packet is sent, not 0"),
    ],
)
def test_numbers_that_the_kernel_would_refuse(bpf: Bpf, built: Path, given: dict[str, int], message: str) -> None:
    obj = bpf.load(built / "live_frames.bpf.o")
    with pytest.raises(BpfUsageError, match=message):
        obj["passes"].run_live([FRAME], **given)


def test_other_types_have_no_live_frames(bpf: Bpf, built: Path) -> None:
    obj = bpf.load(built / "retained_plain.bpf.o")
    with pytest.raises(BpfUsageError, match="gives_11: only XDP programs run on live frames"):
        obj["gives_11"].run_live([FRAME])
