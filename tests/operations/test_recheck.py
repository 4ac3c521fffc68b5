"""A screened file looked at again: who must not be sent any more."""

from pathlib import Path

import pytest

from engine.core.errors import NotFound
from engine.core.suppression import Scope, Suppression, SuppressionReason
from engine.operations.audience import UnreadableAudience
from engine.operations.decider import Decider
from engine.operations.file import Suppress
from engine.operations.recheck import open_screened, recheck
from engine.operations.resolve import ConfirmCommand, ReleaseCommand
from tests.operations.audiences import CHECK, entries, ids, read, screened, write


@pytest.mark.anyio
async def test_recheck_names_who_must_not_be_sent_any_more_and_changes_nothing(
    decider: Decider, tmp_path: Path, database_url: str
) -> None:
    everybody = ["kept", "sent", "released", "gone", "late"]
    await screened(decider, write(tmp_path / "in.csv", ("customer_id",), *([each] for each in everybody)))
    await decider.settle(ConfirmCommand("sent", "autumn:1:sent"))
    await decider.settle(ReleaseCommand("released", "autumn:1:released"))
    now_us = await decider.database.clock_us()
    bounce = Suppression(Scope("email"), SuppressionReason.HARD_BOUNCE, now_us, "provider", binds_exempt=True)
    await decider.settle_all([Suppress("gone", bounce), Suppress("late", bounce)])
    await decider.settle(ConfirmCommand("late", "autumn:1:late"))
    with (tmp_path / "allowed.csv").open("a") as file:
        file.write("stranger,autumn:1:stranger,allow,reserved,,,true,\n")

    before = entries(database_url)
    opened = open_screened(tmp_path / "allowed.csv")
    found = await recheck(decider.database, opened, tmp_path / "still.csv", tmp_path / "lost.csv")
    assert entries(database_url) == before
    assert ids(tmp_path / "still.csv") == ["kept"]
    lost = {row["customer_id"]: row["state"] for row in read(tmp_path / "lost.csv")}
    assert lost == dict(found.named)
    assert lost == {
        "sent": "confirmed",
        "released": "released",
        "gone": "revoked",
        "late": "late",
        "stranger": "unknown",
    }
    assert (found.sendable, found.lost) == (1, 5)


@pytest.mark.anyio
async def test_recheck_wants_a_file_whose_messages_were_reserved(decider: Decider, tmp_path: Path) -> None:
    path = write(tmp_path / "in.csv", ("customer_id",), ("ada",))
    with pytest.raises(UnreadableAudience, match="no column 'message_id'"):
        open_screened(path)
    await screened(decider, path, CHECK)
    with pytest.raises(NotFound, match="--reserve"):
        await recheck(decider.database, open_screened(tmp_path / "allowed.csv"), tmp_path / "still.csv")
    assert not (tmp_path / "still.csv").exists()
