"""What accounts are worth, asked without an invitation."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql.database.transaction import reading
from adapters.sql.membership import known_account, load_account
from adapters.sql.money.refund_schedule import arrives_between
from domain.policy import Policy
from domain.preview import Preview, preview
from domain.quote import quote, terms_of


class SqlQuotes:
    """Looks, and records nothing."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def quote(
        self, source: str, at: datetime, policy: Policy, target: str | None = None
    ) -> Preview:
        """What the unused time of `source` is worth at `at`, and for `target` as credit.

        Raises Refused: `not_found`.
        """
        async with reading(self._engine) as session:
            for account in filter(None, (source, target)):
                await known_account(session, account)
            left = await load_account(session, source)
            joined = await load_account(session, target) if target else None
            quoted = quote(left, at, terms_of(policy, left))
            return preview(quoted, arrives_between(left, policy, at), joined)
