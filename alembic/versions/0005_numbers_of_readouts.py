"""Readouts in the order in which they were begun, which no clock tells that was set back.

Revision: 0005
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

NUMBERS = """
CREATE SEQUENCE readout_numbers;
ALTER TABLE snapshots ADD COLUMN number bigint;
ALTER TABLE holdout_readouts ADD COLUMN number bigint;

-- Of what is there, the instants are all that tells.
UPDATE snapshots s SET number = n.number FROM (
    SELECT experiment, computed_us, row_number() OVER (ORDER BY computed_us, experiment) AS number FROM snapshots
) n WHERE n.experiment = s.experiment AND n.computed_us = s.computed_us;
UPDATE holdout_readouts s SET number = n.number FROM (
    SELECT experiment, computed_us, row_number() OVER (ORDER BY computed_us, experiment) AS number FROM holdout_readouts
) n WHERE n.experiment = s.experiment AND n.computed_us = s.computed_us;
SELECT setval('readout_numbers', 1 + greatest(
    (SELECT coalesce(max(number), 0) FROM snapshots), (SELECT coalesce(max(number), 0) FROM holdout_readouts)));

ALTER TABLE snapshots ALTER COLUMN number SET NOT NULL,
    ADD CONSTRAINT snapshots_number UNIQUE (experiment, number);
ALTER TABLE holdout_readouts ALTER COLUMN number SET NOT NULL,
    ADD CONSTRAINT holdout_readouts_number UNIQUE (experiment, number);
"""


def upgrade() -> None:
    op.execute(NUMBERS)


def downgrade() -> None:
    op.execute("ALTER TABLE holdout_readouts DROP COLUMN number")
    op.execute("ALTER TABLE snapshots DROP COLUMN number")
    op.execute("DROP SEQUENCE readout_numbers")
