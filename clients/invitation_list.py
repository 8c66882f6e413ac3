"""The client of an admin's lists: the invitations of an account, its batches, and reviews."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import JsonValue

from adapters.sql.invitations.listing import SqlInvitationLists
from domain.address import normalized
from domain.batch import BatchRow, RowResult, is_batch_id
from domain.error import ErrorCode, Refused
from domain.invitation import Invite, License
from domain.invitation_list import (
    BatchPage,
    InvitationFilter,
    InvitationPage,
    ListedInvitation,
    Review,
    ReviewedRow,
)
from domain.policy import Policy
from domain.search import PageRequest

Error = dict[str, JsonValue]

ROWS_OF_A_DOWNLOAD: Final = 500
"""Invitations that are read at once for a download."""


@dataclass(frozen=True)
class InvitationListClient:
    """Reads pages of invitations and batches, and reviews requests before they are sent.

    Every method raises Refused or Unavailable, and changes nothing.
    """

    lists: SqlInvitationLists
    policy: Policy

    async def page(
        self, account: str, wanted: InvitationFilter, after: str | None = None
    ) -> InvitationPage:
        """Return a page of the account's invitations, the latest first (INV-5).

        A cursor that is none is ignored.
        """
        cursor = after if after and re.fullmatch("[0-9a-f]{32}", after) else None
        now = datetime.now(UTC)
        return await self.lists.page(
            account,
            wanted,
            PageRequest(after=cursor),
            quiet_before=self._quiet_before(wanted, now),
            at=now,
        )

    async def every(
        self, account: str, wanted: InvitationFilter
    ) -> AsyncIterator[tuple[ListedInvitation, ...]]:
        """Yield all invitations that the filter finds, some at a time, for a download."""
        quiet_before = self._quiet_before(wanted, datetime.now(UTC))
        part = PageRequest(limit=ROWS_OF_A_DOWNLOAD)
        while True:
            rows, cursor = await self.lists.rows(account, wanted, part, quiet_before=quiet_before)
            yield rows
            if cursor is None:
                return
            part = part.model_copy(update={"after": cursor})

    def _quiet_before(self, wanted: InvitationFilter, now: datetime) -> datetime:
        if wanted.quiet_days is None:
            return now - self.policy.remind_after
        return now - timedelta(days=wanted.quiet_days)

    async def review(self, account: str, rows: Sequence[BatchRow], by: str) -> Review:
        """Return the result that each row would have now (INV-2).

        Raises Refused when `by` may not invite at all.
        """
        admin = normalized(by)
        # Ten thousand addresses take a second to parse; other requests are answered meanwhile.
        requests = await asyncio.to_thread(_requests, account, rows, admin)
        invites = [each for each in requests if isinstance(each, Invite)]
        seats, answers = await self.lists.review(account, admin, invites)
        answer_of = {invite.email: each for invite, each in zip(invites, answers, strict=True)}
        reviewed = (
            _reviewed(row, request, answer_of) for row, request in zip(rows, requests, strict=True)
        )
        return Review(rows=tuple(reviewed), seats=seats)

    async def batch(
        self,
        account: str,
        batch_id: str,
        result: RowResult | None = None,
        after: int | None = None,
    ) -> BatchPage:
        """Return a page of the rows of a batch. Raises Refused: `not_found`."""
        if not is_batch_id(batch_id):
            raise Refused(ErrorCode.NOT_FOUND, "There is no such batch.")
        return await self.lists.batch(account, batch_id, result, PageRequest().limit, after)


def _requests(account: str, rows: Sequence[BatchRow], admin: str) -> list[Invite | Error]:
    """Return the request of each row, as far as a review needs it, or the row's error."""
    requests = list[Invite | Error]()
    for row in rows:
        if row.refused:
            requests.append(row.refused)
            continue
        try:
            email = normalized(row.person.email)
        except Refused as refused:
            requests.append(refused.as_json())
            continue
        license = row.person.license
        requests.append(
            Invite(
                invitation_id="",
                account=account,
                key="",
                email=email,
                license=license,
                invited_by=admin,
            )
        )
    return requests


def _reviewed(
    row: BatchRow, request: Invite | Error, answers: Mapping[str, Refused | License | None]
) -> ReviewedRow:
    email = row.person.email.strip() if isinstance(request, dict) else request.email
    answer = request if isinstance(request, dict) else answers[email]
    reviewed = ReviewedRow(
        email=email, name=row.person.name, license=row.person.license, result="invited"
    )
    if answer is None:
        return reviewed
    if isinstance(answer, License):
        kept = answer if answer is not row.person.license else None
        changes: dict[str, object] = {"result": "already_invited", "kept_license": kept}
    else:
        error = answer.as_json() if isinstance(answer, Refused) else answer
        changes = {"result": "refused", "error": error}
    return reviewed.model_copy(update=changes)
