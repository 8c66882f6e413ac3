"""The imported catalogue (ADD-4)."""

from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from adapters.sql.database.schema import SettingRow
from domain.catalog import Catalog

_CATALOG: Final = "catalog"


async def imported_catalog(session: AsyncSession) -> Catalog | None:
    """Return the catalogue of the last import; None while the example applies."""
    row = await session.get(SettingRow, _CATALOG)
    return Catalog.model_validate(row.value) if row else None


async def keep_catalog(session: AsyncSession, catalog: Catalog) -> None:
    """Store the catalogue, which sets the prices from now on."""
    value = catalog.model_dump(mode="json")
    await session.merge(SettingRow(key=_CATALOG, value=value))
