"""How values lie in columns, so that both databases give back exactly what they got."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final, TypeVar

from pydantic import TypeAdapter
from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Text, TypeDecorator

T = TypeVar("T")

_DECIMALS: Final = 4


class UtcTime(TypeDecorator[datetime]):
    """A moment; aware, and UTC. SQLite itself knows no zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Into the database."""
        return value and _utc(value)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Out of the database."""
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


class ExactAmount(TypeDecorator[Decimal]):
    """An amount as text: SQLite would make a float of it."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> str | None:
        """Into the database."""
        return None if value is None else f"{value:f}"

    def process_result_value(self, value: str | None, dialect: Dialect) -> Decimal | None:
        """Out of the database."""
        return None if value is None else Decimal(value)


class CountedAmount(TypeDecorator[Decimal]):
    """An exact amount that the database can add up and compare: whole ten-thousandths.

    No currency is divided more finely.
    """

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> int | None:
        """Into the database."""
        if value is None:
            return None
        units = value.scaleb(_DECIMALS)
        if units != int(units):
            raise ValueError(f"{value} is finer than the ledger counts")
        return int(units)

    def process_result_value(self, value: int | Decimal | None, dialect: Dialect) -> Decimal | None:
        """Out of the database."""
        return None if value is None else Decimal(value).scaleb(-_DECIMALS)


class DayOrMoment(TypeDecorator[date]):
    """A day of the account's own calendar, or a moment (a `datetime`): as it was written."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: date | None, dialect: Dialect) -> str | None:
        """Into the database."""
        if value is None:
            return None
        return (_utc(value) if isinstance(value, datetime) else value).isoformat()

    def process_result_value(self, value: str | None, dialect: Dialect) -> date | None:
        """Out of the database."""
        if value is None:
            return None
        return datetime.fromisoformat(value) if "T" in value else date.fromisoformat(value)


class Document(TypeDecorator[T]):
    """A value of the domain as JSON: for what is kept whole and never searched."""

    impl = JSON
    cache_ok = True

    def __init__(self, kind: TypeAdapter[T]) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: T | None, dialect: Dialect) -> object:
        """Into the database."""
        return None if value is None else self.kind.dump_python(value, mode="json", by_alias=True)

    def process_result_value(self, value: object, dialect: Dialect) -> T | None:
        """Out of the database; None where an outer join found nothing."""
        return None if value is None else self.kind.validate_python(value)


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(f"{moment} says no time zone")
    return moment.astimezone(UTC)
