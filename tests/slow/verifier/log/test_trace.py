"""The whole trace of every log in the test data, and of any text: nothing is dropped."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st

from pytest_ebpf.verifier.log.lines import Kind
from pytest_ebpf.verifier.log.trace import parse_trace
from pytest_ebpf.verifier.verifier_log import parse_log
from support.verifier_logs import all_logs

LOGS = all_logs()


def test_nothing_is_dropped() -> None:
    """Byte for byte, and only words that a rule knows or the cuts of whoever collected the log are messages."""
    for name, text in LOGS.items():
        trace = parse_trace(text)
        assert trace.render() == text, name
        assert len(trace.kinds) == len(trace.lines), name
        if "cut" not in text and "processed" in text:
            assert trace.unknown == (), name


@settings(deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=200), st.sampled_from(sorted(LOGS)), st.data())
def test_any_text_is_kept(noise: str, name: str, data: st.DataObject) -> None:
    """Cut anywhere, with anything in between."""
    text = LOGS[name][:2000]
    at = data.draw(st.integers(0, len(text)))
    for damaged in (noise, text[:at] + noise + text[at:], text[at:], text[:at]):
        trace = parse_trace(damaged)
        assert trace.render() == damaged
        assert len([str(insn) for insn in trace.instructions]) == trace.count(Kind.INSN)
        assert len(trace.states) == trace.count(Kind.STATE)
        log = parse_log(damaged)
        assert log.explanation is None or log.rejected
