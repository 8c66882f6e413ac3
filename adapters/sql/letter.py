"""The letters that the mail server has accepted."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql.database.schema import LetterRow
from adapters.sql.database.transaction import insert_missing, reading, writing


class SqlLetters:
    """The ids of accepted letters, so that none is sent twice."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def is_sent(self, letter_id: str) -> bool:
        """Return whether the mail server has accepted this letter."""
        async with reading(self._engine) as session:
            return await session.get(LetterRow, letter_id) is not None

    async def record_sent(self, letter_id: str, at: datetime) -> None:
        """Record that the mail server accepted the letter at `at`; the first call counts."""
        async with writing(self._engine) as session:
            letter = {"letter_id": letter_id, "taken_at": at}
            await insert_missing(session, LetterRow, [letter])
