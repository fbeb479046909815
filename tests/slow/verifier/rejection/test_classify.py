"""Each message of every log in the test data, and of every kernel seen, has one rule."""

from __future__ import annotations

from pytest_ebpf.verifier.rejection.rules import RULES, find_rule, matches
from pytest_ebpf.verifier.verifier_log import parse_log
from support.verifier_logs import DATA, all_logs


def test_exactly_one_rule() -> None:
    """Every message line of a rejection has one rule, and all first lines together one."""
    logs = {name: parse_log(text) for name, text in all_logs().items()}
    rejected = {name: log for name, log in logs.items() if log.rejection is not None}
    assert len(rejected) > 900
    for name, log in rejected.items():
        rules = [list(matches(line)) for line in log.messages]
        assert all(len(found) == 1 for found in rules), name
        assert len({rule.id for found in rules for rule, _ in found if not rule.second}) <= 1, name


def messages() -> list[tuple[str, str, str]]:
    """Rules, the kernels that were seen to say it ("source": only in sources), and what they say."""
    rows = (DATA / "verifier-messages.tsv").read_text().splitlines()
    return [tuple(row.split("\t")) for row in rows]  # type: ignore[misc]


def test_every_rule_has_messages_of_kernels() -> None:
    """Each wording is found by its own rule and by no other."""
    rows = messages()
    assert {rule for rule, _, _ in rows} == {rule.id for rule in RULES}
    assert len({rule for rule, kernels, _ in rows if kernels != "source"}) >= 100
    for rule, _, text in rows:
        lines = text.split(" || ")
        found = find_rule(lines)
        assert found is not None, text
        assert found[0].id == rule
        assert all(len(list(matches(line))) == 1 for line in lines), text
        assert len({one.id for line in lines for one, _ in matches(line) if not one.second}) <= 1, text
