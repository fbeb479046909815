"""From declaration tags to what they ask for."""

from __future__ import annotations

import re

import pytest

from pytest_ebpf.verifier.log.expect import Wanted
from pytest_ebpf.verifier.tags.spec import ANY_VALUE, PROG_FLAGS, make_spec
from pytest_ebpf.verifier.tags.tags import TAGS, is_test_tag, read_tags
from support.paths import ROOT

HEADER = ROOT / "sample_programs" / "include" / "expectations.h"
DOCS = ROOT / "docs" / "expectations.md"


@pytest.mark.parametrize(
    "texts",
    [
        ["comment:test_expect_failure", "comment:test_expect_msg=a b", "comment:test_expect_msg=c=d"],
        ["comment:test_expect_failure", "comment:test_expect_msg=0=a b", "comment:test_expect_msg=1=c=d"],
        ["comment:test_expect_msg=11=c=d", "comment:test_expect_msg=9=a b", "comment:test_expect_failure"],
        ["comment:2:test_expect_msg=a b", "comment:10:test_expect_msg=c=d", "comment:1:test_expect_failure"],
        ["comment:10:test_expect_msg=c=d", "comment:2:test_expect_msg=a b", "comment:1:test_expect_failure"],
    ],
    ids=["6.1", "6.12", "6.12 turned", "7.1", "7.1 turned"],
)
def test_three_spellings_and_their_order(texts: list[str]) -> None:
    spec = make_spec("p", texts)
    assert spec.priv is not None
    assert spec.priv.rejected
    assert spec.priv.messages == (Wanted("a b"), Wanted("c=d"))
    assert spec.unpriv is None
    assert spec.problems == ()


def test_nothing_said_means_it_loads() -> None:
    spec = make_spec("p", [])
    assert spec.priv is not None
    assert (spec.priv.rejected, spec.priv.retval, spec.unpriv) == (False, None, None)


def test_the_unprivileged_load_takes_what_it_does_not_say() -> None:
    spec = make_spec(
        "p",
        [
            "comment:1:test_expect_success",
            "comment:2:test_retval=7",
            "comment:3:test_expect_msg=a",
            "comment:4:test_expect_failure_unpriv",
            "comment:5:test_caps_unpriv=39|12",
        ],
    )
    assert spec.priv is not None
    assert spec.unpriv is not None
    assert (spec.priv.rejected, spec.priv.retval) == (False, 7)
    assert (spec.unpriv.rejected, spec.unpriv.retval, spec.unpriv.caps) == (True, 7, (39, 12))
    assert spec.unpriv.messages == (Wanted("a"),)


def test_only_unprivileged() -> None:
    spec = make_spec("p", ["comment:test_expect_success_unpriv"])
    assert spec.priv is None
    assert spec.unpriv is not None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-1", -1),
        ("0x7fffffff", (1 << 31) - 1),
        ("0xffffffff", -1),
        ("4294967295", -1),
        ("_INT_MIN", -(1 << 31)),
        ("INT_MIN", -(1 << 31)),
        ("TEST_DATA_LEN", 64),
        ("POINTER_VALUE", ANY_VALUE),
        ("0xbadcafe", ANY_VALUE),
        ("0xcafe4all", ANY_VALUE),
    ],
)
def test_return_values(text: str, value: object) -> None:
    spec = make_spec("p", [f"comment:test_retval={text}"])
    assert spec.priv is not None
    assert spec.priv.retval == value


def test_lines_follow_each_other_unless_told() -> None:
    texts = [f"comment:{at}:test_expect_xlated={line}" for at, line in enumerate(["a", "b", "...", "c", "d"])]
    spec = make_spec("p", texts)
    assert spec.priv is not None
    assert [(one.pattern, one.next_line) for one in spec.priv.xlated] == [
        ("a", False),
        ("b", True),
        ("c", False),
        ("d", True),
    ]


def test_machine_code_belongs_to_the_machine_before_it() -> None:
    spec = make_spec(
        "p",
        [
            "comment:1:test_arch=X86_64",
            "comment:2:test_jited=push",
            "comment:3:test_jited=mov",
            "comment:4:test_arch=ARM64",
            "comment:5:test_jited=stp",
        ],
    )
    assert spec.machines == ("x86_64", "aarch64")
    assert spec.priv is not None
    assert [one.pattern for one in spec.priv.jited_on("x86_64")] == ["push", "mov"]
    assert [one.pattern for one in spec.priv.jited_on("aarch64")] == ["stp"]
    assert spec.priv.jited_on("riscv64") == ()


def test_flags_and_the_rest() -> None:
    spec = make_spec(
        "p",
        [
            "comment:test_prog_flags=BPF_F_STRICT_ALIGNMENT",
            "comment:test_prog_flags=0x8",
            "comment:test_prog_flags=!BPF_F_TEST_RND_HI32",
            "comment:test_log_level=2",
            "comment:test_linear_size=30",
            "comment:test_description=a title",
            "comment:load_mode=no_jited",
            "comment:test_btf_path=x.o",
            "comment:test_kernel=>=6.1,<7",
            "comment:test_kconfig=CONFIG_X",
            "comment:test_auxiliary_unpriv",
        ],
    )
    assert (spec.flags, spec.no_flags) == (1 | 8, PROG_FLAGS["BPF_F_TEST_RND_HI32"])
    assert (spec.log_level, spec.linear_size, spec.description) == (2, 30, "a title")
    assert (spec.load_mode, spec.btf_path) == ("interpreted", "x.o")
    assert (spec.kernels, spec.kconfig) == ((">=6.1,<7",), ("CONFIG_X",))
    assert spec.auxiliary == {"unpriv"}


def test_messages_and_negatives_keep_their_order() -> None:
    texts = ["comment:1:test_expect_msg=a", "comment:2:test_expect_not_msg=b", "comment:3:test_expect_regex=c+"]
    spec = make_spec("p", texts)
    assert spec.priv is not None
    assert spec.priv.messages == (Wanted("a"), Wanted("b", absent=True), Wanted("{{c+}}"))


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["comment:test_expect_msg=0=a{{b"], "never closed"),
        (["comment:test_expect_msg=0={{[}}"], "not a regular expression"),
        (["comment:test_expect_success", "comment:test_expect_failure"], "both __success and __failure"),
        (
            ["comment:test_expect_success_unpriv", "comment:test_expect_failure_unpriv"],
            "both __success_unpriv and __failure_unpriv",
        ),
        (["comment:test_retval=1", "comment:test_retval=2"], "__retval has the values 1 and 2"),
        (["comment:test_retval=0x1ffffffff"], "32 bits"),
        (["comment:test_retval_unpriv=x"], "__retval_unpriv wants"),
        (["comment:test_prog_flags=BPF_F_SLEEPABEL"], "did you mean BPF_F_SLEEPABLE"),
        (["comment:test_arch=X86"], "did you mean X86_64"),
        (["comment:1:test_jited=push"], "before any __arch"),
        (["comment:test_log_level=high"], "wants a number"),
        (["comment:test_caps_unpriv=CAP_BFP"], "did you mean CAP_BPF"),
        (["comment:load_mode=jit"], "did you mean jited"),
        (["comment:test_kernel=6.1"], "write releases as in"),
        (["comment:test_kernel=>="], "write releases as in"),
    ],
)
def test_what_makes_no_sense_is_a_problem(texts: list[str], words: str) -> None:
    assert words in "; ".join(make_spec("p", texts).problems)


def test_unknown_tags_are_kept_and_others_are_not_ours() -> None:
    texts = ["comment:test_expect_thunder=1", "comment:3:test_later", "kptr", "comment: a remark", "test_retval=1"]
    spec = make_spec("p", texts)
    assert spec.unknown == ("comment:test_expect_thunder=1", "comment:3:test_later")
    assert spec.problems == ()
    assert [is_test_tag(text) for text in texts] == [True, True, False, False, False]
    assert len(read_tags(texts)) == 2


def test_forms_that_have_no_unprivileged_kind_are_unknown() -> None:
    assert make_spec("p", ["comment:test_log_level_unpriv=2"]).unknown


def test_the_header_has_every_tag() -> None:
    """And nothing that would not be understood."""
    text = HEADER.read_text()
    written = set(re.findall(r'EXPECT\("(?:test_)?([a-z_]+)', text)) - {"caps_unpriv"}
    plain = {name.removesuffix("_unpriv") for name in written}
    assert plain <= set(TAGS)
    assert set(TAGS) - plain - {"caps_unpriv"} == {"expect_regex", "btf_func_path"}
    assert {name for name in written if name.endswith("_unpriv")} == {
        f"{name}_unpriv" for name, info in TAGS.items() if info.unpriv and name != "expect_regex"
    }


def test_the_documentation_has_every_macro() -> None:
    text = DOCS.read_text()
    for name, info in TAGS.items():
        macro = info.macro.partition("(")[0].partition(" ")[0]
        assert f"`{macro}" in text, f"{macro} ({name})"
