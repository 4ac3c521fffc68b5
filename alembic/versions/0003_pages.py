"""Links that sign a person in, once.

Revision: 0003
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
CREATE TABLE sign_in_links (
    expires_us bigint NOT NULL,
    digest bytea NOT NULL,
    key_id text NOT NULL REFERENCES keys,
    CONSTRAINT sign_in_links_pkey PRIMARY KEY (digest),
    CONSTRAINT sign_in_links_sane CHECK (octet_length(digest) = 32)
);
"""
    )


def downgrade() -> None:
    op.execute("DROP TABLE sign_in_links")
