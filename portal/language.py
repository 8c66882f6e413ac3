"""Languages of pages: the message catalogs, and the formats of dates and amounts.

The templates contain the English text. Every other language is a catalog
`locale/<language>/pages.po`; adding the file adds the language.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from gettext import GNUTranslations, NullTranslations
from io import BytesIO
from pathlib import Path
from typing import Literal

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_time, get_timezone
from babel.lists import format_list
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal
from markupsafe import Markup

from adapters.letter.language import format_amount, time_of_day, with_country, zone_name
from domain.day import to_utc
from domain.money import Money

CATALOGS = Path(__file__).parent / "locale"
ENGLISH = "en"


@dataclass(frozen=True)
class PageLanguage:
    """The language of one page, with the formats of a country and the reader's time zone."""

    locale: Locale
    time_zone: str

    @property
    def tag(self) -> str:
        """Return the language code for `<html lang>`, for example `de`."""
        return self.locale.language

    def moment(self, at: datetime) -> Markup:
        """Format the weekday, the date, the time and the zone, for a moment to decide by."""
        local = at.astimezone(get_timezone(self.time_zone))
        time = f"{time_of_day(local, self.locale)} ({zone_name(local, self.locale)})"
        return _time(at, f"{self._date(local.date(), 'full')}, {time}")

    def short_moment(self, at: datetime) -> Markup:
        """Format the date and the time, for a moment that has passed."""
        local = at.astimezone(get_timezone(self.time_zone))
        time = format_time(local, "short", tzinfo=local.tzinfo, locale=self.locale)
        return _time(at, f"{self._date(local.date(), 'medium')}, {time}")

    def clock(self, at: datetime) -> Markup:
        """Format the time of day."""
        local = at.astimezone(get_timezone(self.time_zone))
        return _time(at, format_time(local, "short", tzinfo=local.tzinfo, locale=self.locale))

    def day(self, day: date) -> Markup:
        """Format a day without its weekday; a moment is shown as the day in the reader's zone."""
        if isinstance(day, datetime):
            day = to_utc(day, self.time_zone).astimezone(get_timezone(self.time_zone)).date()
        return _time(day, self._date(day, "long"))

    def short_day(self, day: date) -> Markup:
        """Format a day with the short name of its month."""
        if isinstance(day, datetime):
            day = to_utc(day, self.time_zone).astimezone(get_timezone(self.time_zone)).date()
        return _time(day, self._date(day, "medium"))

    def amount(self, money: Money) -> str:
        """Format `money` with its currency and all decimals of that currency."""
        return format_amount(money, self.locale)

    def number(self, number: int) -> str:
        """Format `number` with thousands separators."""
        return format_decimal(number, locale=self.locale)

    def listed(self, names: Iterable[str]) -> str:
        """Join names as a sentence lists them."""
        return format_list(list(names), locale=self.locale)

    def _date(self, day: date, width: Literal["medium", "long", "full"]) -> str:
        return format_date(day, width, locale=self.locale)


def _time(at: date, text: str) -> Markup:
    return Markup('<time datetime="{}">{}</time>').format(at.isoformat(), text)


def page_language(locales: Iterable[str | None], time_zone: str) -> PageLanguage:
    """Return the language of the first locale that pages are written in, else English."""
    for each in locales:
        locale = _parsed(each) if each else None
        if locale and locale.language in languages():
            return PageLanguage(with_country(locale), time_zone)
    return PageLanguage(with_country(Locale(ENGLISH)), time_zone)


def _parsed(locale: str) -> Locale | None:
    try:
        return Locale.parse(locale.replace("_", "-"), sep="-")
    except (ValueError, UnknownLocaleError):
        return None


def accepted_locales(header: str) -> Iterator[str]:
    """Yield the locales of an Accept-Language header, the preferred first."""
    weighted = []
    for part in header.split(",")[:20]:
        name, _, quality = part.strip().partition(";q=")
        try:
            weighted.append((-float(quality or 1), name.strip()))
        except ValueError:
            continue
    yield from (name for _, name in sorted(weighted, key=lambda entry: entry[0]) if name)


@cache
def languages() -> tuple[str, ...]:
    """Return the codes of the languages that pages are written in, English first."""
    return (ENGLISH, *sorted(path.parent.name for path in CATALOGS.glob("*/pages.po")))


@cache
def catalog(language: str) -> NullTranslations:
    """Return the message catalog of `language`; English needs none."""
    if language == ENGLISH:
        return NullTranslations()
    compiled = BytesIO()
    with (CATALOGS / language / "pages.po").open("rb") as source:
        write_mo(compiled, read_po(source, locale=language))
    compiled.seek(0)
    return GNUTranslations(compiled)
