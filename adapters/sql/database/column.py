"""Column types that return exactly what was stored, on both databases."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final, TypeVar

from pydantic import TypeAdapter
from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Text, TypeDecorator

from domain.address import is_dns_label

T = TypeVar("T")

_DECIMALS: Final = 4


class UtcTime(TypeDecorator[datetime]):
    """An aware datetime in UTC. SQLite itself has no time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert a value for the database."""
        return value and _utc(value)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert a value from the database."""
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


class ExactAmount(TypeDecorator[Decimal]):
    """An amount as text: SQLite would convert it to a float."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> str | None:
        """Convert a value for the database."""
        return None if value is None else f"{value:f}"

    def process_result_value(self, value: str | None, dialect: Dialect) -> Decimal | None:
        """Convert a value from the database."""
        return None if value is None else Decimal(value)


class CountedAmount(TypeDecorator[Decimal]):
    """An exact amount as whole ten-thousandths, which the database can add and compare.

    No currency has more decimals.
    """

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> int | None:
        """Convert a value for the database."""
        if value is None:
            return None
        units = value.scaleb(_DECIMALS)
        if units != int(units):
            raise ValueError(f"{value} has more than {_DECIMALS} decimals")
        return int(units)

    def process_result_value(self, value: int | Decimal | None, dialect: Dialect) -> Decimal | None:
        """Convert a value from the database."""
        return None if value is None else Decimal(value).scaleb(-_DECIMALS)


class DnsLabel(TypeDecorator[str]):
    """One DNS label; a stored text that is none reads as None, so that no link is built from it."""

    impl = Text
    cache_ok = True

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """Convert a value from the database."""
        return value if value and is_dns_label(value) else None


class DayOrMoment(TypeDecorator[date]):
    """A day in the account's time zone, or a moment (a `datetime`), as it was given."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: date | None, dialect: Dialect) -> str | None:
        """Convert a value for the database."""
        if value is None:
            return None
        return (_utc(value) if isinstance(value, datetime) else value).isoformat()

    def process_result_value(self, value: str | None, dialect: Dialect) -> date | None:
        """Convert a value from the database."""
        if value is None:
            return None
        return datetime.fromisoformat(value) if "T" in value else date.fromisoformat(value)


class Document(TypeDecorator[T]):
    """A domain value as JSON, for values that are never searched."""

    impl = JSON
    cache_ok = True

    def __init__(self, kind: TypeAdapter[T]) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: T | None, dialect: Dialect) -> object:
        """Convert a value for the database."""
        return None if value is None else self.kind.dump_python(value, mode="json", by_alias=True)

    def process_result_value(self, value: object, dialect: Dialect) -> T | None:
        """Convert a value from the database; None where an outer join found nothing."""
        return None if value is None else self.kind.validate_python(value)


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone")
    return moment.astimezone(UTC)
