"""One thing that an audit looks for."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Select

from adapters.sql.database.schema import InvitationRow
from domain.invitation import InvitationState


@dataclass(frozen=True)
class Check:
    """Whatever `broken` finds, by its name, breaks the rule."""

    rule: str
    message: str
    broken: Select[str]


ACCEPTED: Final = InvitationRow.state.in_([s for s in InvitationState if s.accepted])
"""A membership stands behind the invitation (INV-11)."""
