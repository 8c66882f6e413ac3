"""Checks of accounts and their owners (AUD)."""

from typing import Final

from sqlalchemy import exists, select

from adapters.sql.audit.check import Check
from adapters.sql.database.schema import AccountRow, MembershipRow, SettlementRow
from domain.account import Role

_ON_IT: Final = MembershipRow.account_id == AccountRow.id
_CURRENT: Final = MembershipRow.until.is_(None)
_OWNER: Final = MembershipRow.role == Role.OWNER

ACCOUNT_CHECKS: Final = (
    Check(
        "AUD",
        "the account has users, but no owner",
        select(AccountRow.id).where(
            exists().where(_ON_IT, _CURRENT), ~exists().where(_ON_IT, _CURRENT, _OWNER)
        ),
    ),
    Check(
        "SRC-2",
        "the owner has left, but the account is open",
        select(AccountRow.id).where(
            AccountRow.state == "open", exists().where(_ON_IT, ~_CURRENT, _OWNER)
        ),
    ),
    Check(
        "SRC-2",
        "its money was settled, but the account is open",
        select(AccountRow.id).where(
            AccountRow.state == "open", exists().where(SettlementRow.account_id == AccountRow.id)
        ),
    ),
)
