"""Quotes of accounts without an invitation."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.calendar import calendar_of
from adapters.sql.database.transaction import reading
from adapters.sql.membership import load_account, require_account
from domain.policy import Policy
from domain.preview import Preview, preview
from domain.quote import Returnable, quote, terms_of


class SqlQuotes:
    """Quotes that are shown and not recorded."""

    def __init__(self, engine: AsyncEngine, returnable: Returnable) -> None:
        self._engine = engine
        self._returnable = returnable

    async def quote(
        self, source: str, at: datetime, policy: Policy, target: str | None = None
    ) -> Preview:
        """Return the value of the unused time of `source` at `at`, and the credit for `target`.

        Raises Refused: `not_found`.
        """
        async with reading(self._engine) as session:
            for account in filter(None, (source, target)):
                await require_account(session, account)
            left = await load_account(session, source, only=None)
            joined = await load_account(session, target, only=None) if target else None
            quoted = quote(left, at, terms_of(policy, left)).as_returned(self._returnable)
            return preview(quoted, calendar_of(left).arrives_between(policy, at), joined)
