"""The prompt of a conversation, the included prompts of a call, and the indexes that count per prompt."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("conversations", sa.Column("prompt", sa.JSON))
    op.add_column("calls", sa.Column("prompt_parts", sa.JSON))
    prompted, rated = sa.text("prompt_name IS NOT NULL"), sa.text("rating <> 0")
    columns = ["prompt_name", "prompt_version", "visitor", "cost", "input", "output"]
    op.create_index("calls_by_prompt", "calls", columns, sqlite_where=prompted, postgresql_where=prompted)
    op.create_index("messages_rated", "messages", ["rating"], sqlite_where=rated, postgresql_where=rated)
