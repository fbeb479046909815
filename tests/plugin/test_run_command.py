"""``pytest-ebpf run``, ``attach`` and ``new`` with the kernel of this machine."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pytest_ebpf import IP, UDP, Eth
from pytest_ebpf.cli.attach import attach
from pytest_ebpf.cli.new import write_project
from pytest_ebpf.cli.run import run
from pytest_ebpf.errors import BpfUsageError, ObjectError
from pytest_ebpf.packets import render_pcap
from support.paths import ROOT

BUILT = ROOT / "sample_programs" / "built"
COMMAND = [sys.executable, "-c", "import sys; from pytest_ebpf.cli import main; sys.argv[0] = 'pytest-ebpf'; main()"]
QUERY = Eth() / IP(src="192.0.2.7", dst="198.51.100.1") / UDP(dport=53) / b"query"


def call(*arguments: str, command: object = run) -> Result:
    result = CliRunner().invoke(command, list(arguments))  # type: ignore[arg-type]  # a command of click
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_run_on_packets_of_a_capture_and_in_hexadecimal(tmp_path: Path) -> None:
    capture = tmp_path / "two.pcap"
    capture.write_bytes(render_pcap([QUERY, Eth() / IP() / UDP(dport=54)]))
    result = call(
        str(BUILT / "xdp_firewall.bpf.o"), "firewall", "-p", str(capture), "--packet", bytes(20).hex(":"), "--json"
    )
    assert result.exit_code == 0
    (entry,) = json.loads(result.output)
    assert entry["kernel"] == "host"
    assert [one["verdict"] for one in entry["runs"]] == ["XDP.PASS (2)"] * 3
    assert entry["runs"][0]["packet"] == bytes(QUERY).hex()


def test_run_shows_what_became_of_the_packet_and_the_maps() -> None:
    result = call(str(BUILT / "xdp_firewall.bpf.o"), "firewall", "-p", bytes(QUERY).hex())
    assert "  XDP.PASS (2), 47 bytes in, 47 out, " in result.output
    assert "  map stats\n" in result.output
    inner = bytes(Eth() / IP(src="192.0.2.1", dst="192.0.2.2", proto=4) / IP() / UDP())
    result = call(str(BUILT / "xdp_decap.bpf.o"), "decap", "-p", inner.hex())
    assert "42 out" in result.output or "differ" in result.output, result.output


def test_run_sets_globals() -> None:
    for setting, verdict in ((), "XDP.PASS (2)"), (("-G", "budget=0"), "XDP.DROP (1)"):
        result = call(str(BUILT / "config.bpf.o"), "police", "-p", bytes(100).hex(), *setting, "--json")
        assert json.loads(result.output)[0]["runs"][0]["verdict"] == verdict


def test_a_rejected_program_is_exit_status_1_and_says_why() -> None:
    result = call(str(BUILT / "reject_packet_bounds.bpf.o"), "unchecked_packet")
    assert result.exit_code == 1
    assert "invalid access to packet" in result.output


def test_wrong_arguments_of_run() -> None:
    with pytest.raises(BpfUsageError, match="no such file, and not hexadecimal"):
        call(str(BUILT / "config.bpf.o"), "police", "-p", "x.pcap")
    with pytest.raises(ObjectError, match="did you mean police"):
        call(str(BUILT / "config.bpf.o"), "polise")
    with pytest.raises(ObjectError):
        call("no.bpf.o", "police")


def test_attach_prints_events_and_ends() -> None:
    command = [*COMMAND, "attach", str(BUILT / "exec_tracer.bpf.o"), "-n", "1", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "1 attached" in process.stderr.readline()
        subprocess.run(["/bin/true"], check=True)
        out, _ = process.communicate(timeout=60)
    record = json.loads(out)
    assert record["from"] == "events"
    assert set(record["what"]) == {"pid", "uid", "comm", "filename"}
    assert process.returncode == 0


@pytest.mark.parametrize(("words", "status"), [("/bin/true; echo hello; exit 3", 3), ("kill -9 $$", 137)])
def test_attach_ends_with_a_command(words: str, status: int) -> None:
    """What it wrote is apart from the events; its end is the end."""
    command = [*COMMAND, "attach", str(BUILT / "exec_tracer.bpf.o"), "--json"]
    done = subprocess.run(
        [*command, "--", "/bin/sh", "-c", words], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == status, done.stderr
    assert "/bin/sh" in {json.loads(line)["what"]["filename"] for line in done.stdout.splitlines()}
    assert ("hello" in done.stderr.splitlines()) == ("hello" in words)


def test_attach_ends_a_command_that_goes_on() -> None:
    result = call(
        *(str(BUILT / "exec_tracer.bpf.o"), "--seconds", "0.5", "--json", "--", "sleep", "600"), command=attach
    )
    assert result.exit_code == 0


def test_a_kernel_that_does_not_boot_leaves_the_others(tmp_path: Path) -> None:
    """Their results are shown; exit status 1."""
    broken = tmp_path / "bzImage"
    broken.write_bytes(b"no kernel")
    result = call(str(BUILT / "config.bpf.o"), "police", "-k", f"{broken},host", "--json")
    first, second = json.loads(result.stdout)
    assert "bzImage" in first["error"]
    assert second["runs"][0]["verdict"] == "XDP.PASS (2)"
    assert result.exit_code == 1


def test_attach_wants_one_kernel() -> None:
    with pytest.raises(BpfUsageError, match="attach works on one kernel"):
        call(str(BUILT / "exec_tracer.bpf.o"), "-k", "host,6.1", command=attach)


def test_a_new_project_is_green_and_a_mistake_is_told(tmp_path: Path) -> None:
    """What a newcomer does: new, pytest, a seeded mistake, read the report, mend it."""
    project = tmp_path / "demo"
    write_project(project, lang="c")

    def tests() -> str:
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--bpf-kernels=host"]
        return subprocess.run(command, cwd=project, capture_output=True, text=True).stdout

    assert "5 passed" in tests()
    source = project / "src/demo.bpf.c"
    right = source.read_text()
    source.write_text(right.replace("(void *)(udp + 1) > end", "(void *)(ip + 1) > end"))
    said = tests()
    assert re.search(
        r"rejected: demo at demo.bpf.c:33: 2 bytes at offset 36 .* -> .*(prove|data_end)", " ".join(said.split())
    )
    source.write_text(right.replace("XDP_DROP", "XDP_PASSED"))
    assert "make failed" in tests()
