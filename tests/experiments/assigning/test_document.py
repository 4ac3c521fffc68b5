"""What docs/assignment.md shows is what happens: its commands, its Python and its queries are run."""

import re
import subprocess
import sys
from hashlib import sha256
from io import StringIO
from pathlib import Path

import duckdb
import psycopg

from experiments.assigning.draws import Draw
from experiments.assignment import Dialect, Reason, assign
from experiments.design import Experiment
from tests.experiments.assignment_oracle import HOSTILE

DOCUMENT = (Path(__file__).parents[3] / "docs" / "assignment.md").read_text()
SHOWN = re.compile(r"<!-- (?:sh: \w+|python) -->\n```(sh|python)\n(.*?)```\n```text\n(.*?)```", re.DOTALL)
QUERIES = dict(re.findall(r"<!-- sql: (\w+) -->\n```sql\n(.*?)```", DOCUMENT, re.DOTALL))
PLAN = """\
key: push-budget-2026q4
hypothesis: One promotional push a week keeps more customers reachable at no loss of revenue.
variants: [{name: one, weight: 1, control: true}, {name: three, weight: 1}]
traffic: 0.8
start: 2026-10-05
end: 2027-01-04
metrics: [{name: spend, kind: mean, column: spend, role: primary, direction: increase}]
"""


def expected() -> list[tuple[str, str | None]]:
    plan = Experiment.from_yaml(StringIO(PLAN))
    return sorted((unit, assign(plan, unit).variant) for unit in HOSTILE)


def test_commands_print_what_is_shown(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(PLAN)
    found = SHOWN.findall(DOCUMENT)
    assert [language for language, _, _ in found] == ["sh", "sh", "python"]
    for language, body, printed in found:
        command = ["sh", "-ec", body] if language == "sh" else [sys.executable, "-W", "error", "-c", body]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
        assert done.stdout == printed


def test_there_is_a_query_for_every_dialect() -> None:
    assert set(QUERIES) == set(Dialect)


def test_the_query_for_duckdb_says_what_python_says() -> None:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE customers (customer_id text)")
        connection.executemany("INSERT INTO customers VALUES (?)", [(each,) for each in HOSTILE])
        assert sorted(connection.execute(QUERIES["duckdb"]).fetchall()) == expected()


def test_the_query_for_postgresql_says_what_python_says(database_url: str) -> None:
    with psycopg.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE customers (customer_id text)")
        cursor.executemany("INSERT INTO customers VALUES (%s)", [(each,) for each in HOSTILE])
        assert sorted(cursor.execute(QUERIES["postgres"].encode()).fetchall()) == expected()


def test_every_reason_is_explained_in_its_order() -> None:
    assert re.findall(r"^\| `(\w+)` \|", DOCUMENT, re.MULTILINE) == [each.value for each in Reason]


def test_the_layer_s_message_is_the_one_shown() -> None:
    [message] = re.findall(r"is the message `(5:layer[^`]*)`", DOCUMENT)
    assert int(sha256(message.encode()).hexdigest()[:15], 16) == Draw("layer", "push").pair(b"ada")[0]
