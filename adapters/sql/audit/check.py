"""A check of an audit."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Select

from adapters.sql.database.schema import InvitationRow
from domain.invitation import InvitationState


@dataclass(frozen=True)
class Check:
    """A rule, and the query for the ids of all rows that break it."""

    rule: str
    message: str
    broken: Select[str]


ACCEPTED: Final = InvitationRow.state.in_([s for s in InvitationState if s.accepted])
"""Condition on invitations that have a membership (INV-11)."""
