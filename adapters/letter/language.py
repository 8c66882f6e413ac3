"""The languages that letters are written in.

English is in the templates themselves. Every other language is a file
`locale/<language>/letters.po`; to add one, add the file.
"""

from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from gettext import GNUTranslations, NullTranslations
from io import BytesIO
from pathlib import Path

from babel import Locale, UnknownLocaleError
from babel.dates import (
    format_date,
    format_time,
    get_datetime_format,
    get_timezone,
    get_timezone_name,
)
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_currency, format_decimal

from domain.money import Money

CATALOGS = Path(__file__).parent / "locale"
ENGLISH = Locale("en")


@dataclass(frozen=True)
class Language:
    """A language that there are words for, as it is written in the reader's country."""

    locale: Locale

    @property
    def tag(self) -> str:
        """The name of the language in headers and markup, for example `de`."""
        return self.locale.language

    def moment(self, at: datetime, time_zone: str) -> str:
        """`at` to the minute, as clocks in `time_zone` show it, with the zone named."""
        local = at.astimezone(get_timezone(time_zone))
        time = format_time(local, "short", tzinfo=local.tzinfo, locale=self.locale)
        zone = get_timezone_name(local, locale=self.locale)
        return f"{get_datetime_format('full', locale=self.locale)} ({{2}})".format(
            time, self.day(local.date()), zone
        )

    def day(self, day: date) -> str:
        """`day` with its weekday; it is the same day in every zone."""
        return format_date(day, "full", locale=self.locale)

    def amount(self, money: Money) -> str:
        """`money` with its currency and all the decimals of it."""
        return format_currency(money.amount, money.currency, locale=self.locale)

    def number(self, number: int) -> str:
        """`number` with its thousands set apart."""
        return format_decimal(number, locale=self.locale)


def language_for(locale: str) -> Language:
    """The language for a reader of `locale`, for example `de-AT`; unknown ones read English."""
    try:
        wanted = Locale.parse(locale.replace("_", "-"), sep="-")
    except (ValueError, UnknownLocaleError):
        return Language(ENGLISH)
    known = wanted.language == ENGLISH.language or _file(wanted.language).exists()
    return Language(wanted if known else ENGLISH)


@cache
def catalog(language: str) -> NullTranslations:
    """What the English messages are in `language`."""
    if language == ENGLISH.language:
        return NullTranslations()
    compiled = BytesIO()
    with _file(language).open("rb") as written:
        write_mo(compiled, read_po(written, locale=language))
    compiled.seek(0)
    return GNUTranslations(compiled)


def _file(language: str) -> Path:
    return CATALOGS / language / "letters.po"
