"""Are verifier logs that people paste read right? Five scores over the corpus in tests/data/pasted.

    python benchmarks/pasted_logs.py [--set=seen|unseen] [--json]

Each NAME.txt is a text as somebody pastes it, each NAME.toml what a right answer to it is. The command
``pytest-ebpf log explain`` is run on every text, in this process. The unseen part is for the end only: whoever changes
the code looks at its totals, never at its texts, so ``--set=unseen`` names the wrong answers without their reasons.

class   the verdict, and the class of the rejection
kind    who has to act
place   program, instruction and source line
advice  one of the right hints, and none of the wrong ones
false   nothing untrue: verdict, number of rejections, program, the verifier's words as it printed them
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # this tree, whichever is installed

from pytest_ebpf.cli.log import log  # noqa: E402  # from the path just added

CORPUS = ROOT / "tests" / "data" / "pasted"
SCORES = ("class", "kind", "place", "advice", "false")

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the command said: its rows, an advice per row, and the text without the names of files."""

    rows: list[Row]
    advice: list[str]
    text: str


@dataclass(frozen=True, slots=True)
class Result:
    """One score of one text; ``reason`` is "" when it is right."""

    name: str
    fault: int
    score: str
    reason: str


def one_line(text: str) -> str:
    """With single blanks: what is wrapped at 80 columns is matched as it was written."""
    return " ".join(text.split())


def ask(path: Path) -> Answer:
    """Run the command twice: JSON, and the text for people, which has the advice."""
    runner = CliRunner()
    rows: list[Row] = json.loads(runner.invoke(log, ["explain", "--json", str(path)]).stdout)
    shown = runner.invoke(log, ["explain", str(path)]).stdout
    refused = [row for row in rows if row["verdict"] == "rejected"] or rows[:1]
    # Without an advice in the JSON it is the paragraph of the text; a headline where there is none.
    told = [one_line(part) for part in re.findall(r"what to do: (.*?)(?:\n\s*\n|\Z)", shown, re.DOTALL)]
    if len(told) != len(refused):
        told = [" ".join(told)] * len(refused)
    advice = [str(row.get("advice") or text or row["headline"] or "") for row, text in zip(refused, told, strict=True)]
    values = (str(value) for row in rows for key, value in row.items() if key != "file" and value is not None)
    return Answer(refused, [one_line(text) for text in advice], one_line(" ".join([shown, *values])))


def any_of(wanted: Any) -> list[Any]:
    """A list in the corpus is a choice."""
    return wanted if isinstance(wanted, list) else [wanted]


def class_of(want: Row, row: Row, advice: str) -> Iterator[str]:
    """Verdict and class. "" in the corpus: there is no class."""
    if "verdict" in want and row["verdict"] not in any_of(want["verdict"]):
        yield f"verdict {row['verdict']}, not {want['verdict']}"
    if "class" in want and (row["class"] or "") not in any_of(want["class"]):
        yield f"class {row['class']}, not {want['class']}"


def kind_of(want: Row, row: Row, advice: str) -> Iterator[str]:
    """The kind. "": there is none."""
    if (row["kind"] or "") not in any_of(want["kind"]):
        yield f"kind {row['kind']}, not {want['kind']}"


def place_of(want: Row, row: Row, advice: str) -> Iterator[str]:
    """Each part that the corpus names."""
    place = want.get("place", {})
    if "program" in want and (row["program"] or "") != want["program"]:
        yield f"program {row['program']!r}, not {want['program']!r}"
    if "insn" in place and row["insn"] not in any_of(place["insn"]):
        yield f"instruction {row['insn']}, not {place['insn']}"
    if "source" in place and place["source"] not in one_line(str(row["source_line"])):
        yield f"source {row['source_line']!r}, not {place['source']!r}"


def advice_of(want: Row, row: Row, advice: str) -> Iterator[str]:
    """One right hint, no wrong one."""
    if not any(re.search(hint, advice, re.IGNORECASE) for hint in want.get("advice_any", [""])):
        yield f"none of {want['advice_any']} in {advice[:70]!r}"
    for hint in want.get("advice_never", []):
        if re.search(hint, advice, re.IGNORECASE):
            yield f"wrong advice: {hint}"


def words_of(want: Row, row: Row, advice: str) -> Iterator[str]:
    """The verifier's own words, whole and nothing behind them; a program that is another one."""
    if row["program"] and want.get("program", row["program"]) != row["program"]:
        yield f"program {row['program']!r}, not {want['program']!r}"
    if "message" not in want:
        return
    rest, lines = one_line(row["message"] or ""), any_of(want["message"])
    if lines[0] not in rest and lines[-1] not in rest:
        yield f"the verifier's words: {rest[:90]!r}"
        return
    for line in sorted(lines, key=len, reverse=True):
        rest = rest.replace(line, "", 1)
    if rest.strip(" ;:.,"):
        yield f"not the verifier's words: {rest[:70]!r}"


CHECKS = {"class": class_of, "kind": kind_of, "place": place_of, "advice": advice_of, "false": words_of}
KEYS = {
    "class": ("verdict", "class"),
    "kind": ("kind",),
    "place": ("place", "program"),
    "advice": ("advice_any", "advice_never"),
    "false": ("verdict", "message", "program", "false"),
}


def untrue(want: Row, answer: Answer) -> Iterator[str]:
    """What is wrong about the answer as a whole."""
    verdicts = {row["verdict"] for row in answer.rows}
    if not verdicts & set(any_of(want["verdict"])):
        yield f"verdict {', '.join(sorted(verdicts))}"
    count = sum(row["verdict"] == "rejected" for row in answer.rows)
    if count not in any_of(want["rejections"]):
        yield f"{count} rejections, not {want['rejections']}"
    for claim in want.get("false", []):
        if found := re.search(claim, answer.text, re.IGNORECASE):
            yield f"says {found[0][:60]!r}"


def judge(path: Path) -> Iterator[Result]:
    """The scores of a text, those that apply to it."""
    want = tomllib.loads(path.with_suffix(".toml").read_text())
    wanted = [want, *want.get("more", [])]
    answer = ask(path)
    for score in SCORES:
        if not any(key in one for one in wanted for key in KEYS[score]):
            continue
        reasons = list(untrue(want, answer)) if score == "false" else []
        for number, one in enumerate(wanted):
            if number >= len(answer.rows):
                reasons.append(f"rejection {number + 1} is not reported")
            elif any(key in one for key in KEYS[score]):
                reasons += CHECKS[score](one, answer.rows[number], answer.advice[number])
        yield Result(path.stem, want["fault"], score, "; ".join(reasons))


def main() -> None:
    """Print the scores, and every wrong answer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=("seen", "unseen"), help="default: both")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    report: dict[str, Any] = {}
    for part in [options.set] if options.set else ["seen", "unseen"]:
        results = [result for path in sorted((CORPUS / part).glob("*.txt")) for result in judge(path)]
        by_score: dict[str, list[Result]] = defaultdict(list)
        for result in results:
            by_score[result.score].append(result)
        right = {score: [sum(not one.reason for one in by_score[score]), len(by_score[score])] for score in SCORES}
        wrong = sorted((one.fault, one.name, one.score, one.reason) for one in results if one.reason)
        report[part] = {"scores": right, "wrong": wrong if part == "seen" else sorted({row[1] for row in wrong})}
    if options.json:
        json.dump(report, sys.stdout, indent=1, ensure_ascii=False)
        return
    for part, found in report.items():
        print(f"{part}: " + ", ".join(f"{score} {done}/{of}" for score, (done, of) in found["scores"].items()))
        for row in found["wrong"]:
            print("  " + (row if isinstance(row, str) else "{:2} {} {}: {}".format(*row)))


if __name__ == "__main__":
    main()
