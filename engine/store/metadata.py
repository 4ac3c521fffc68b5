"""All tables together, as Alembic compares them with the database."""

from sqlalchemy import MetaData

from engine.store import event_tables, experiment_tables, tables, traffic_tables

TABLES: MetaData = tables.SQLModel.metadata  # one register, which each of the modules above has filled
MODULES = (tables, event_tables, experiment_tables, traffic_tables)
PARTITIONED = tables.PARTITIONED
