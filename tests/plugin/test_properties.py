"""Properties as a user runs them: fixtures, the error about ``bpf``, and no Hypothesis where there is no property."""

import subprocess
import sys

import pytest

from support.paths import ROOT

FIREWALL = ROOT / "sample_programs/built/xdp_firewall.bpf.o"


def test_a_given_test_with_bpf_is_told_to_take_bpf_shared(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        from hypothesis import given, settings, HealthCheck, strategies
        @given(strategies.integers())
        def test_a(bpf, n): pass
        @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=2)
        @given(strategies.integers())
        def test_b(bpf, n): pass
        @settings(max_examples=2)
        @given(strategies.integers())
        def test_c(bpf_shared, n): pass
    """)
    result = pytester.runpytest("--bpf-kernels=host")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*Take the fixture bpf_shared: it loads an object once for the module.*"])


def test_a_property_names_its_packet_and_its_capture(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(f"""
        from pytest_ebpf import XDP, bpf_property
        @bpf_property(program={f"{FIREWALL}:firewall"!r}, max_examples=2000)
        def test_a(packet, result):
            assert "sctp" not in packet
        @bpf_property(program={f"{FIREWALL}:firewall"!r}, max_examples=600)
        def test_b(packet, result):
            assert result.retval in (XDP.PASS, XDP.DROP)
    """)
    result = pytester.runpytest("--bpf-kernels=host")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["*Falsifying packet:*", "*    Eth() / IP() / SCTP()", "*as a capture: .hypothesis/packets/*"]
    )
    assert list(pytester.path.glob(".hypothesis/packets/*test_a*.pcap"))


def test_a_given_test_that_fails_has_a_capture_too(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        from hypothesis import given, settings
        from pytest_ebpf import strategies as st
        @settings(max_examples=500, deadline=None)
        @given(packet=st.packets())
        def test_a(packet): assert "vlan" not in packet
    """)
    result = pytester.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*Eth() / VLAN() / * as a capture: .hypothesis/packets/*test_a*.pcap*"])
    assert list(pytester.path.glob(".hypothesis/packets/*.pcap"))


def test_a_run_without_properties_does_not_import_hypothesis(pytester: pytest.Pytester) -> None:
    code = "import sys, pytest_ebpf.plugin; from pytest_ebpf import IP, Eth; bytes(Eth() / IP())"
    code += "; print('hypothesis' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
