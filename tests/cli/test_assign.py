"""`takt assign`: ids in, variants out, one line each; wrong input ends with a sentence that names the line."""

import os
import subprocess
from pathlib import Path

import pytest

from experiments.assignment import assign
from experiments.design import Experiment
from tests.cli.command import TAKT, Ended, environment, takt

PLAN = """\
key: push-budget-2026q4
hypothesis: One promotional push a week keeps more customers reachable at no loss of revenue.
variants:
  - {name: one, weight: 1, control: true}
  - {name: three, weight: 1}
start: 2026-10-05
end: 2027-01-04
metrics:
  - {name: spend, kind: mean, column: spend, role: primary, direction: increase}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the command runs, with a plan in it."""
    monkeypatch.chdir(tmp_path)
    write("plan.yaml")
    return tmp_path


def write(name: str, more: str = "", plan: str = PLAN) -> Experiment:
    Path(name).write_text(plan + more)
    return Experiment.from_yaml(name)


def assigned(stdin: bytes | str, *arguments: str, plan: str = "plan.yaml") -> Ended:
    given = stdin if isinstance(stdin, bytes) else stdin.encode()
    return takt(None, "assign", "--plan", plan, *arguments, stdin=given)


def rows(ended: Ended) -> list[list[str]]:
    assert ended.code == 0, ended.err
    return [each.split("\t") for each in ended.out.removesuffix("\n").split("\n")] if ended.out else []


@pytest.mark.usefixtures("folder")
def test_every_id_comes_out_with_the_variant_of_the_library() -> None:
    plan = write(
        "part.yaml", "traffic: 0.5\nholdout: {name: always-on, share: 0.1}\nlayer: {name: l, slots: [0, 9000]}\n"
    )
    ids = [*(str(i) for i in range(1000)), "Zoë", "😀", " ", "o'hara", "x" * 200]
    seen: set[str] = set()
    for unit, row in zip(ids, rows(assigned("\n".join(ids), plan="part.yaml")), strict=True):
        expected = assign(plan, unit)
        assert row == ([unit, expected.variant] if expected.variant else [unit, "", expected.reason.value])
        seen.add(expected.reason.value)
    assert seen == {"assigned", "holdout", "other_slot", "not_in_traffic"}


@pytest.mark.usefixtures("folder")
def test_lines_end_as_they_do_anywhere() -> None:
    plain = assigned("ada\nbob\n")
    for form in ("ada\nbob", "ada\r\nbob\r\n", "\ufeffada\nbob\n"):
        assert assigned(form).out == plain.out
    assert assigned("").out == ""
    assert assigned("").code == 0


@pytest.mark.usefixtures("folder")
def test_ids_are_answered_as_they_come() -> None:
    with subprocess.Popen(
        [TAKT, "assign", "--plan", "plan.yaml"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(None),
        bufsize=0,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for part, unit in ((b"ada\nbo", b"ada"), (b"b\n", b"bob")):
            process.stdin.write(part)
            assert os.read(process.stdout.fileno(), 100).split(b"\t")[0] == unit
        process.stdin.close()
        assert process.wait(120) == 0


@pytest.mark.usefixtures("folder")
def test_more_ids_than_one_block_holds() -> None:
    ids = [f"customer-{i:020}" for i in range(100_000)]
    found = rows(assigned("\n".join(ids)))
    assert [each[0] for each in found] == ids
    assert {each[1] for each in found} == {"one", "three"}


@pytest.mark.usefixtures("folder")
def test_testers_are_marked() -> None:
    write("plan.yaml", "testers: {ada: three}\n")
    assert rows(assigned("ada\n")) == [["ada", "three", "tester"]]


@pytest.mark.usefixtures("folder")
def test_a_new_variant_moves_nobody_who_is_in_the_stored_file() -> None:
    write("plan.yaml", "traffic: 0.7\ntesters: {'5': three}\n")
    ids = "\n".join(map(str, range(2000)))
    before = rows(assigned(ids))
    Path("assigned.tsv").write_text(assigned(ids).out)
    write("plan.yaml", "traffic: 0.9\n", PLAN.replace("weight: 1}", "weight: 1}\n  - {name: five, weight: 1}"))
    after = rows(assigned(ids, "--stored", "assigned.tsv"))
    moved = [one for one, other in zip(before, after, strict=True) if one[1] and one[2:] != ["tester"] and one != other]
    assert moved == []
    assert {each[1] for each in after} == {"one", "three", "five", ""}
    assert [each for each in rows(assigned(ids)) if each[1] == "five"] != []


@pytest.mark.usefixtures("folder")
def test_a_plan_with_phases_asks_when_customers_entered() -> None:
    phases = """\
phases:
  - {start: 2026-10-05, weights: {one: 1, three: 1}}
  - {start: 2026-11-02, weights: {one: 1, three: 0}}
"""
    write("plan.yaml", phases)
    assert "plan.yaml has phases: --entered 2026-11-02" in assigned("ada\n").sentence
    ids = "\n".join(map(str, range(50)))
    assert {each[1] for each in rows(assigned(ids, "--entered", "2026-10-20"))} == {"one", "three"}
    assert {each[1] for each in rows(assigned(ids, "--entered", "2026-11-20"))} == {"one"}
    wrong = assigned(ids, "--entered", "soon")
    assert wrong.code == 2
    assert "'soon' is not a date" in wrong.err


@pytest.mark.usefixtures("folder")
def test_an_audience_is_unknown_unless_told() -> None:
    write("plan.yaml", "audience: {country: DE}\n")
    ended = assigned("ada\n")
    assert rows(ended) == [["ada", "", "audience_unknown"]]
    assert "audience by country" in ended.err
    assert "--in-audience" in ended.err
    told = assigned("ada\n", "--in-audience")
    assert rows(told) == [["ada", str(assign(write("bare.yaml"), "ada").variant)]]
    assert told.err == ""


@pytest.mark.parametrize(
    ("stdin", "sentence"),
    [
        (b"ada\n\xff\xfe\nbob\n", "takt: stdin:2: the line is not UTF-8"),
        (b"ada\nbob\n\n", "takt: stdin:3: the line is empty; one id a line is expected"),
        (b"ada\nbob\tone\n", "takt: stdin:2: the line holds a tab; one id a line is expected"),
        (b"ada\n" + b"x" * 3_000_000, "takt: stdin:2: the line is too long for an id"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_line_that_is_no_id_is_named(stdin: bytes, sentence: str) -> None:
    ended = assigned(stdin)
    assert ended.code == 1
    assert ended.sentence == sentence


@pytest.mark.usefixtures("folder")
def test_a_stored_file_that_is_none_is_named() -> None:
    for text, sentence in (
        ("ada one\n", "takt: kept.tsv:1: expected an id, a tab and a variant"),
        ("ada\tone\n\tone\n", "takt: kept.tsv:2: expected an id, a tab and a variant"),
        (
            "ada\tnine\n",
            "takt: 'ada' is stored as 'nine', which is no variant of push-budget-2026q4: expected one, three",
        ),
    ):
        Path("kept.tsv").write_text(text)
        ended = assigned("ada\n", "--stored", "kept.tsv")
        assert (ended.code, ended.sentence) == (1, sentence)
    Path("kept.tsv").write_bytes(b"ada\tone\n\xff\n")
    assert assigned("ada\n", "--stored", "kept.tsv").sentence == "takt: kept.tsv is not UTF-8"
    assert "none.tsv: No such file" in assigned("ada\n", "--stored", "none.tsv").sentence


@pytest.mark.usefixtures("folder")
def test_a_plan_that_is_none_is_named() -> None:
    assert assigned("ada\n", plan="none.yaml").sentence == "takt: none.yaml: No such file or directory"
    Path("wrong.yaml").write_text(PLAN + "traffic: 2\n")
    assert assigned("ada\n", plan="wrong.yaml").sentence.startswith(
        "takt: wrong.yaml cannot be used: line 10: traffic:"
    )
    assert takt(None, "assign").code == 2


@pytest.mark.usefixtures("folder")
def test_a_reader_who_leaves_is_no_error() -> None:
    Path("ids").write_text("\n".join(map(str, range(200_000))))
    command = f"{TAKT} assign --plan plan.yaml < ids | head -n 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, env=environment(None), check=False, text=True)
    assert done.stdout.startswith("0\t")
    assert done.stderr == ""
