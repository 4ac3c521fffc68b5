"""Asks counted by the hour, how full budgets are, and what became of messages by the day: for people who look.

Revision: 0004
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLES = """
-- Rows come in the order of their time: a summary of every few pages finds an hour, and costs an insert little.
CREATE INDEX journal_at_us ON journal USING brin (at_us) WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX refusals_at_us ON refusals USING brin (at_us) WITH (pages_per_range = 32, autosummarize = on);

CREATE TABLE counted_until (
    until_us bigint NOT NULL,
    name text NOT NULL,
    CONSTRAINT counted_until_pkey PRIMARY KEY (name)
);

CREATE TABLE hourly_asks (
    hour_us bigint NOT NULL,
    asks bigint NOT NULL,
    messages bigint NOT NULL,
    topic integer NOT NULL,
    team integer NOT NULL,
    sender integer NOT NULL,
    rule integer NOT NULL,
    channel smallint NOT NULL,
    outcome smallint NOT NULL,
    code smallint NOT NULL,
    is_exempt boolean NOT NULL,
    CONSTRAINT hourly_asks_pkey PRIMARY KEY (hour_us, channel, topic, team, sender, outcome, code, rule, is_exempt),
    CONSTRAINT hourly_asks_sane CHECK (hour_us % 3600000000 = 0 AND asks > 0 AND messages BETWEEN 0 AND asks)
);

CREATE TABLE hourly_crowding (
    hour_us bigint NOT NULL,
    stands_for double precision NOT NULL,
    looked_at integer NOT NULL,
    topic integer NOT NULL,
    asker integer NOT NULL,
    filler integer NOT NULL,
    rule integer NOT NULL,
    channel smallint NOT NULL,
    is_others boolean NOT NULL,
    CONSTRAINT hourly_crowding_pkey PRIMARY KEY (hour_us, channel, topic, asker, filler, rule, is_others),
    CONSTRAINT hourly_crowding_sane CHECK (looked_at > 0 AND stands_for >= looked_at)
);

CREATE TABLE budget_levels (
    at_us bigint NOT NULL,
    customers bigint NOT NULL,
    saturated integer NOT NULL,
    close integer NOT NULL,
    comfortable integer NOT NULL,
    forgotten integer NOT NULL,
    place smallint NOT NULL,
    is_shadow boolean NOT NULL,
    budget text NOT NULL,
    CONSTRAINT budget_levels_pkey PRIMARY KEY (at_us, place),
    CONSTRAINT budget_levels_sane CHECK (least(saturated, close, comfortable, forgotten) >= 0)
);

CREATE TABLE daily_outcomes (
    delivered bigint NOT NULL,
    audible bigint NOT NULL,
    unsubscribed bigint NOT NULL,
    complained bigint NOT NULL,
    day integer NOT NULL,
    channel smallint NOT NULL,
    CONSTRAINT daily_outcomes_pkey PRIMARY KEY (day, channel),
    CONSTRAINT daily_outcomes_sane CHECK (audible BETWEEN 0 AND delivered AND channel BETWEEN 0 AND 6)
);
"""


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    op.execute("DROP TABLE daily_outcomes, budget_levels, hourly_crowding, hourly_asks, counted_until")
    op.execute("DROP INDEX refusals_at_us, journal_at_us")
