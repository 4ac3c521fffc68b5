"""How Alembic reaches the database: over the connection that `engine.store.migrations` hands it.

Several processes may migrate at the same start; without the advisory lock all but one of them fail.
"""

from sqlalchemy import Connection, text

from alembic import context
from engine.store.metadata import PARTITIONED, TABLES

MIGRATION_LOCK = 7_236_871_001


def _is_ours(_object: object, name: str | None, kind: str, _reflected: bool, _other: object) -> bool:
    """The weekly partitions of a table are the table's own affair."""
    return not (kind == "table" and name is not None and name.startswith(tuple(f"{each}_w" for each in PARTITIONED)))


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=TABLES,
        include_object=_is_ours,
        compare_type=True,
        compare_server_default=True,
    )
    with context.begin_transaction():
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
        context.run_migrations()


_run(context.config.attributes["connection"])
