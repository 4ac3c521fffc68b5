"""What is written of a screening: whole, by one process, and harmless in a spreadsheet."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from engine.core.cells import FORMULA_STARTS
from engine.core.errors import Conflict
from engine.operations.decider import Decider
from engine.operations.recheck import open_screened, recheck
from engine.operations.result_file import ResultFile, UnfitTarget
from engine.operations.screening import COLUMNS
from tests.operations.audiences import RESERVE, read, screened, write


@pytest.mark.anyio
async def test_cells_that_a_spreadsheet_would_run_are_guarded_and_ids_come_back(
    decider: Decider, tmp_path: Path
) -> None:
    evil = [f"{start}1" for start in "=+-@"]
    path = write(tmp_path / "in.csv", ("customer_id", "note"), *((each, each) for each in evil))
    await screened(decider, path, replace(RESERVE, campaign="=x"))
    rows = read(tmp_path / "allowed.csv")
    assert [row["note"] for row in rows] == [f"'{each}" for each in evil]
    assert not any(cell[:1] in FORMULA_STARTS and cell for row in rows for cell in row.values())
    found = await recheck(decider.database, open_screened(tmp_path / "allowed.csv"))
    assert found.states == {"reserved": 4}


def test_a_target_is_written_by_one_process_and_appears_whole(tmp_path: Path) -> None:
    schema = pa.schema([("customer_id", pa.string())])
    with ResultFile(tmp_path / "out.csv", schema, COLUMNS), pytest.raises(Conflict, match="written by another"):
        ResultFile(tmp_path / "out.csv", schema, COLUMNS)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "out.csv.part").write_text("left by a kill")
    with ResultFile(tmp_path / "out.csv", schema, COLUMNS) as file:
        file.finish()
    assert [each.name for each in tmp_path.iterdir()] == ["out.csv"]
    assert "left by a kill" not in (tmp_path / "out.csv").read_text()
    for target in (tmp_path / "out.xlsx", tmp_path / "no such folder" / "out.csv"):
        with pytest.raises(UnfitTarget):
            ResultFile(target, schema, COLUMNS)
