"""Which package is the newest of a series, over all suites."""

from __future__ import annotations

import pytest

from pytest_ebpf.errors import ImageError
from pytest_ebpf.vm.images.candidates import choose
from pytest_ebpf.vm.images.catalogue import Series
from pytest_ebpf.vm.images.index import Package, SuiteIndex
from pytest_ebpf.vm.images.spec import SeriesSpec

SINGLE = Series("6.1", "6.1", "amd64", "single", ("a", "b"))
SPLIT = Series("7.2", "7.2", "amd64", "split", ("a", "b"))
RC = Series("7.3-rc", "7.3~rc", "amd64", "split", ("a",))


def package(name: str, version: str, *, depends: str = "kmod") -> Package:
    return Package(name, version, f"pool/{name}_{version}.deb", f"{name}{version}", 10, 100, depends)


def suite(name: str, *packages: Package) -> SuiteIndex:
    return SuiteIndex(name, f"http://{name}", "signature", packages)


def newest(series: Series, *suites: SuiteIndex, release: str = "") -> tuple[str, str, str]:
    best = choose(SeriesSpec(series.name, series, release), suites)[0]
    return best.suite, best.version, best.release


def trio(release: str, version: str, *, binary: str = "linux-binary-") -> list[Package]:
    return [package(f"{prefix}{release}", version) for prefix in (binary, "linux-modules-", "linux-base-")]


def test_the_newest_by_debian_version_wins_wherever_it_is() -> None:
    first = suite("a", package("linux-image-6.1.0-9-amd64", "6.1.9-1"))
    second = suite(
        "b", package("linux-image-6.1.0-10-amd64", "6.1.10-1"), package("linux-image-6.1.0-2-amd64", "6.1.2-1")
    )
    assert newest(SINGLE, first, second) == ("b", "6.1.10-1", "6.1.0-10-amd64")


def test_a_rebuild_for_an_older_debian_is_older() -> None:
    rebuilt = suite("a", package("linux-image-6.1.0-0.deb11.9-amd64", "6.1.9-1~deb11u1"))
    assert newest(SINGLE, rebuilt, suite("b", package("linux-image-6.1.0-9-amd64", "6.1.9-1")))[0] == "b"
    assert newest(SINGLE, rebuilt)[2] == "6.1.0-0.deb11.9-amd64"


def test_other_flavours_series_and_kinds_are_left_alone() -> None:
    noise = [
        package("linux-image-6.1.0-99-cloud-amd64", "6.1.99-1"),
        package("linux-image-6.1.0-99-rt-amd64", "6.1.99-1"),
        package("linux-image-6.1.0-99-amd64-dbg", "6.1.99-1"),
        package("linux-image-6.12.99-amd64", "6.12.99-1"),
        package("linux-image-6.1-amd64", "6.1.99-1", depends="linux-image-6.1.0-99-amd64 (= 6.1.99-1)"),
    ]
    real = package("linux-image-6.1.0-9-amd64", "6.1.9-1")
    assert newest(SINGLE, suite("a", *noise, real)) == ("a", "6.1.9-1", "6.1.0-9-amd64")
    with pytest.raises(ImageError, match=r"kernel 6\.1: no package in a, b \(not in this archive\)"):
        newest(SINGLE, suite("a", *noise), suite("b"))


def test_signed_before_unsigned_and_unsigned_where_it_is_alone() -> None:
    unsigned = package("linux-image-6.1.0-9-amd64-unsigned", "6.1.9-1")
    signed = package("linux-image-6.1.0-9-amd64", "6.1.9-1")
    spec = SeriesSpec("6.1", SINGLE)
    for order in ([signed, unsigned], [unsigned, signed]):
        assert choose(spec, [suite("a", *order)])[0].parts[0].package == signed
    alone = choose(spec, [suite("a", unsigned)])[0]
    assert (alone.release, alone.parts[0].package) == ("6.1.0-9-amd64", unsigned)


def test_three_packages_of_one_version_make_a_kernel() -> None:
    whole = trio("7.2.6+deb13-amd64", "7.2.6-1", binary="linux-binary-unsigned-")
    best = choose(SeriesSpec("7.2", SPLIT), [suite("a", *whole)])[0]
    assert [part.role for part in best.parts] == ["image", "modules", "base"]
    assert (best.size, best.installed) == (30, 300)


def test_a_kernel_in_parts_is_passed_over_and_named_if_there_is_no_other() -> None:
    partial = trio("7.2.9+deb13-amd64", "7.2.9-1")[:1]
    whole = trio("7.2.6+deb13-amd64", "7.2.6-1")
    assert newest(SPLIT, suite("a", *partial, *whole))[1] == "7.2.6-1"
    with pytest.raises(ImageError, match=r"has only parts of it: linux-binary-7\.2\.9\+deb13-amd64 7\.2\.9-1 without"):
        newest(SPLIT, suite("a", *partial))
    # modules of another version do not fit
    with pytest.raises(ImageError, match="only parts"):
        newest(SPLIT, suite("a", *partial, package("linux-modules-7.2.9+deb13-amd64", "7.2.9-2")))


def test_candidates_and_releases_are_kept_apart() -> None:
    both = suite("a", *trio("7.3-amd64", "7.3~rc7-1~exp1"), *trio("7.3.4-amd64", "7.3.4-1"))
    assert newest(RC, both)[1] == "7.3~rc7-1~exp1"
    released = Series("7.3", "7.3", "amd64", "split", ("a",))
    assert newest(released, both)[1] == "7.3.4-1"
    assert newest(RC, both, release="7.3-rc7")[1] == "7.3~rc7-1~exp1"
    with pytest.raises(ImageError, match="no package"):
        newest(RC, both, release="7.3-rc6")


def test_an_exact_version_or_release() -> None:
    several = suite("a", *(package(f"linux-image-6.1.0-{number}-amd64", f"6.1.{number}-1") for number in (17, 176, 9)))
    assert newest(SINGLE, several, release="6.1.17")[1] == "6.1.17-1"
    assert newest(SINGLE, several, release="6.1.0-9-amd64")[1] == "6.1.9-1"
    with pytest.raises(ImageError, match=r"kernel 6\.1\.3 \(series 6\.1\): no package"):
        newest(SINGLE, several, release="6.1.3")


def test_the_digest_is_that_of_the_packages() -> None:
    spec = SeriesSpec("6.1", SINGLE)
    one = package("linux-image-6.1.0-9-amd64", "6.1.9-1")
    here, there = (choose(spec, [suite(name, one)])[0].digest for name in ("a", "b"))
    other = choose(spec, [suite("a", package("linux-image-6.1.0-9-amd64", "6.1.9-2"))])[0].digest
    assert here == there != other
