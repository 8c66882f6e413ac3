"""The catalogue that was imported, if any (ADD-4)."""

from typing import Final

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from adapters.sql.database.schema import SettingRow
from domain.catalog import Catalog

_CATALOG: Final = "catalog"


async def imported_catalog(session: AsyncSession) -> Catalog | None:
    """What a file said last; None while the example applies."""
    row = await session.get(SettingRow, _CATALOG)
    try:
        return Catalog.model_validate(row.value) if row else None
    except ValidationError:
        # Kept by an early release, which took whatever a file said: quotes say `example`.
        return None


async def keep_catalog(session: AsyncSession, catalog: Catalog) -> None:
    """From now on it says what licenses cost."""
    value = catalog.model_dump(mode="json")
    await session.merge(SettingRow(key=_CATALOG, value=value))
