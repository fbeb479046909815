"""``bpf_guest`` and ``bpf_fresh_guest``: guests as tests want them."""

from __future__ import annotations

import pytest

TESTS = """
    import pytest

    def machine(vm, kernel):
        with open("guests", "a") as file:
            print(kernel.running.machine.pid, kernel.running.machine.way.name, file=file)
        command = "nproc --all; grep MemTotal /proc/meminfo; cat /proc/cmdline; ls /tmp"
        return vm.run(["sh", "-c", command]).stdout.decode()

    def test_first(bpf_vm, bpf_kernel):
        bpf_vm.run(["touch", "/tmp/soiled"])
        assert "soiled" in machine(bpf_vm, bpf_kernel)

    @pytest.mark.bpf_guest(memory="512M", cpus=2, cmdline="pytest_ebpf_word=1")
    def test_large(bpf_vm, bpf_kernel):
        said = machine(bpf_vm, bpf_kernel)
        assert said.startswith("2\\n") and bpf_kernel.cpus == 2
        assert int(said.split("MemTotal:")[1].split()[0]) < 512 * 1024
        assert "pytest_ebpf_word=1" in said

    @pytest.mark.bpf_fresh_guest
    @pytest.mark.parametrize("number", [1, 2])
    def test_fresh(bpf_vm, bpf_kernel, number):
        said = machine(bpf_vm, bpf_kernel)
        assert "soiled" not in said and said.startswith("1\\n")
        bpf_vm.run(["touch", "/tmp/soiled"])

    def test_last(bpf_vm, bpf_kernel):
        assert "soiled" in machine(bpf_vm, bpf_kernel)
"""


@pytest.mark.slow
def test_each_test_has_the_guest_that_it_asks_for(pytester: pytest.Pytester) -> None:
    """Four guests: the one of tests without wishes, the large one, and one for each that has to be fresh."""
    pytester.makepyfile(test_guests=TESTS)
    result = pytester.runpytest_subprocess("--bpf-kernels=6.1", "--bpf-accel=tcg", "--strict-markers")
    result.assert_outcomes(passed=5)
    guests = (pytester.path / "guests").read_text().split()
    assert len(guests) == 10
    assert len(set(guests[::2])) == 4
    assert set(guests[1::2]) == {"warm"}


@pytest.mark.parametrize("wish", ["'2G'", "memory='many'", "cpus=1000", "memory=2", "size='2G'", "fresh='x'"])
def test_a_guest_that_cannot_be_is_an_error_that_shows_one_that_can(pytester: pytest.Pytester, wish: str) -> None:
    pytester.makepyfile(f"import pytest\n@pytest.mark.bpf_guest({wish})\ndef test_a(bpf): pass")
    result = pytester.runpytest("--bpf-kernels=host")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [f"*bpf_guest({wish.replace(chr(34), chr(39))}): expected memory, cpus (up to 64) and cmdline*"]
    )


def test_on_the_host_the_wishes_have_no_effect(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.bpf_guest(memory="2G")
        def test_a(bpf_kernel): assert bpf_kernel.running.spec == "host"
        @pytest.mark.bpf_fresh_guest
        def test_b(bpf_kernel): assert bpf_kernel.running.local
        """
    )
    pytester.runpytest("--bpf-kernels=host").assert_outcomes(passed=2)


def test_tests_for_other_processors_are_skipped_with_the_reason(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import os, pytest
        @pytest.mark.bpf_arch(os.uname().machine, "s390x")
        def test_here(bpf_kernel): pass
        @pytest.mark.bpf_arch("riscv64" if os.uname().machine != "riscv64" else "s390x")
        def test_there(bpf_kernel): assert 0
        @pytest.mark.bpf_arch("vax")
        def test_nowhere(bpf_kernel): pass
        """
    )
    result = pytester.runpytest("--bpf-kernels=host", "-rs", "--strict-markers")
    result.assert_outcomes(passed=1, skipped=1, errors=1)
    result.stdout.fnmatch_lines(["*bpf_arch('vax'): expected machine types: aarch64, ppc64le, riscv64, s390x, x86_64*"])
    result.stdout.fnmatch_lines(["*kernel host is *, the test requires riscv64*"])
