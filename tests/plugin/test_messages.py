"""Messages of failures, as a terminal shows them: B5 of "the plugin tells the truth"."""

from __future__ import annotations

from collections.abc import Callable

import pytest


@pytest.mark.parametrize("in_ci", [False, True])
def test_b5_the_short_summary_has_short_names(
    pytester: pytest.Pytester, objects: Callable[..., None], monkeypatch: pytest.MonkeyPatch, in_ci: bool
) -> None:
    # pytest shortens the lines of the summary, but where one of these is set
    for name in ("CI", "BUILD_NUMBER"):
        monkeypatch.delenv(name, raising=False)
    if in_ci:
        monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("COLUMNS", "200")
    objects("config", "reject_null_value")
    pytester.makepyfile(
        """
        def test_a(bpf):
            bpf.load("config.bpf.o", programs={"police": "kproeb/vfs_read"})
        def test_b(bpf):
            bpf.load("confg.bpf.o")
        def test_c(bpf):
            bpf.load("reject_null_value.bpf.o")
        """
    )
    result = pytester.runpytest("--bpf-kernels=host", "-rf", "--no-header")
    text = result.stdout.str().partition("short test summary info")[2]
    assert "::test_a[host] - ObjectError: config.bpf.o: police: no section 'kproeb/vfs_read'" in text
    assert "::test_b[host] - ObjectError: confg.bpf.o: no such file" in text
    assert "::test_c[host] - ProgramRejected: unchecked_value: R0 invalid mem access" in text
    assert "pytest_ebpf." not in text
    assert str(pytester.path) not in text
    assert "\\n" not in text
    result.stdout.fnmatch_lines(["*did you mean 'kprobe/vfs_read'?*", "*did you mean config.bpf.o?*"])
