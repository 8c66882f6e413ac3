"""Languages of letters.

The templates contain the English text. Every other language is a message catalog
`locale/<language>/letters.po`; adding the file adds the language.
"""

import re
from collections.abc import Iterable
from copy import copy
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
from babel.lists import format_list
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal

from domain.money import Money, minor_digits

CATALOGS = Path(__file__).parent / "locale"
ENGLISH = Locale("en")

_TIME_OF_DAY = {"de": "{} Uhr", "nl": "{} uur", "sv": "kl. {}"}
"""A time of day with the word that it has in a sentence, by language."""


@dataclass(frozen=True)
class Language:
    """A language with a message catalog, with the number and date formats of a country."""

    locale: Locale

    @property
    def tag(self) -> str:
        """Return the language code for headers and markup, for example `de`."""
        return self.locale.language

    def moment(self, at: datetime, time_zone: str) -> str:
        """Format `at` to the minute in the local time of `time_zone`, with the name of the zone."""
        local = at.astimezone(get_timezone(time_zone))
        return f"{get_datetime_format('full', locale=self.locale)} ({{2}})".format(
            time_of_day(local, self.locale), self.day(local.date()), zone_name(local, self.locale)
        )

    def short_moment(self, at: datetime, time_zone: str) -> str:
        """Format `at` for a list, which names the zone once."""
        local = at.astimezone(get_timezone(time_zone))
        time = format_time(local, "short", tzinfo=local.tzinfo, locale=self.locale)
        return f"{format_date(local.date(), 'medium', locale=self.locale)}, {time}"

    def day(self, day: date) -> str:
        """Format `day` with its weekday; a date needs no time zone."""
        return format_date(day, "full", locale=self.locale)

    def amount(self, money: Money) -> str:
        """Format `money` with its currency and all decimals of that currency."""
        return format_amount(money, self.locale)

    def listed(self, names: Iterable[str]) -> str:
        """Join names as a sentence lists them."""
        return format_list(list(names), locale=self.locale)

    def number(self, number: int) -> str:
        """Format `number` with thousands separators."""
        return format_decimal(number, locale=self.locale)


def format_amount(money: Money, locale: Locale) -> str:
    """Format `money` with its currency and all decimals that ISO 4217 gives it.

    `format_currency` would round RSD 1499.90 to whole dinars, as shops do.
    """
    pattern = copy(locale.currency_formats["standard"])
    digits = minor_digits(money.currency)
    pattern.frac_prec = (digits, digits)
    text = pattern.apply(
        money.amount,
        locale,
        currency=money.currency,
        currency_digits=False,
        decimal_quantization=False,
    )
    # CLDR separates letters from digits; Babel does not.
    return re.sub(r"([^\W\d_])(?=\d)", "\\1\N{NO-BREAK SPACE}", text)


def language_for(locale: str) -> Language:
    """Return the language for `locale`, for example `de-AT`; English when it is unknown."""
    try:
        requested = Locale.parse(locale.replace("_", "-"), sep="-")
    except (ValueError, UnknownLocaleError):
        return Language(with_country(ENGLISH))
    available = requested.language == ENGLISH.language or _file(requested.language).exists()
    return Language(with_country(requested if available else ENGLISH))


def with_country(locale: Locale) -> Locale:
    """Return British formats for English of no country: most readers write the day first."""
    if locale.language == ENGLISH.language and locale.territory is None:
        return Locale(ENGLISH.language, "GB")
    return locale


def time_of_day(local: datetime, locale: Locale) -> str:
    """Format the time to the minute, with the word that it has in a sentence."""
    time = format_time(local, "short", tzinfo=local.tzinfo, locale=locale)
    return _TIME_OF_DAY.get(locale.language, "{}").format(time)


def zone_name(local: datetime, locale: Locale) -> str:
    """Return the short name of the zone; where the language has none, the usual one."""
    name = get_timezone_name(local, "short", locale=locale)
    usual = local.tzname() or ""
    return usual if usual.isalpha() and not name.isalpha() else name


@cache
def catalog(language: str) -> NullTranslations:
    """Return the message catalog of `language`; English needs none."""
    if language == ENGLISH.language:
        return NullTranslations()
    compiled = BytesIO()
    with _file(language).open("rb") as source:
        write_mo(compiled, read_po(source, locale=language))
    compiled.seek(0)
    return GNUTranslations(compiled)


def _file(language: str) -> Path:
    return CATALOGS / language / "letters.po"
