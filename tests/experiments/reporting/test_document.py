"""docs/readout.md says what a readout is: its page, its JSON and its fields are compared with the real thing."""

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import experiments as ex
from experiments import aggregates, estimates, readout
from experiments.aggregates import Aggregates, Cell, Exclusion
from experiments.estimators import dose, value
from experiments.moments import Counts
from experiments.reporting import verdicts

DOCUMENT = Path(__file__).parents[3] / "docs" / "readout.md"
SECTIONS: dict[str, type] = {
    "readout": readout.Readout,
    "verdict": verdicts.Verdict,
    "group": readout.Group,
    "metric": readout.MetricReadout,
    "arm": readout.Arm,
    "comparison": readout.Comparison,
    "estimate": estimates.Estimate,
    "level": estimates.Level,
    "break-even": value.BreakEven,
    "curve": readout.Line,
    "point": readout.Point,
    "received": readout.Received,
    "doses": readout.Doses,
    "dose table": dose.DoseTable,
    "dose row": dose.DoseRow,
    "recommendation": dose.Recommendation,
    "check": readout.Check,
    "caution": readout.Caution,
    "exclusion": aggregates.Exclusion,
}


def block(kind: str) -> str:
    found = re.search(rf"```{kind}\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def the_example(tmp_path: Path) -> readout.Readout:
    file = tmp_path / "plan.yaml"
    file.write_text(block("yaml"))
    outcomes: dict[str, dict[Cell, Any]] = {
        "visit": {Cell("none"): Counts(1_010, 10_000), Cell("mail"): Counts(1_180, 10_050)},
        "complaint": {Cell("none"): Counts(21, 10_000), Cell("mail"): Counts(26, 10_050)},
    }
    units = {Cell("none"): 10_000, Cell("mail"): 10_050}
    left_out = (Exclusion("tester", 3, "3 units of the plan's testers"),)
    return ex.readout_of(ex.Experiment.from_yaml(file), Aggregates(units, outcomes, exclusions=left_out))


def test_the_page_of_the_document_is_what_prints(tmp_path: Path) -> None:
    assert str(the_example(tmp_path)) + "\n" == block("text")


def test_the_json_of_the_document_is_what_is_written(tmp_path: Path) -> None:
    written, shown = json.loads(the_example(tmp_path).to_json()), json.loads(block("json"))
    assert rounded(written) == rounded(shown)
    assert ex.Readout.from_json(block("json")).verdicts == the_example(tmp_path).verdicts


def rounded(found: Any) -> Any:
    if isinstance(found, dict):
        return {name: rounded(each) for name, each in found.items()}
    if isinstance(found, list):
        return [rounded(each) for each in found]
    return pytest.approx(found, rel=1e-6) if isinstance(found, float) else found


@pytest.mark.parametrize("section", SECTIONS)
def test_each_field_is_in_the_document_and_no_other(section: str) -> None:
    found = re.search(rf"^### {section}\n(.*?)(?=^##|\Z)", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None
    listed = re.findall(r"^\| `(\w+)` ", found[1], re.MULTILINE)
    derived = ["schema", "verdicts", "recommendation"] if section == "readout" else []
    assert listed == derived + [each.name for each in fields(SECTIONS[section])]


@pytest.mark.parametrize("codes", [readout.CheckCode, readout.CautionCode, verdicts.Call, verdicts.Standing])
def test_each_code_is_in_the_document(codes: Any) -> None:
    text = DOCUMENT.read_text()
    assert [each.value for each in codes if f"`{each.value}`" not in text] == []
