"""Whatever runs at the same time, the store stays true."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from domain.error import ErrorCode, Refused
from domain.invitation import InvitationState, License
from states.invitation import opening
from tests.adapters.sql.town import NOON, Town, account, directory, ended, user

T = TypeVar("T")


async def at_once(*actions: Awaitable[T]) -> tuple[list[T], list[ErrorCode]]:
    """What came of them, and with which codes the others were refused."""
    outcomes = await asyncio.gather(*actions, return_exceptions=True)
    done: list[T] = []
    refused: list[ErrorCode] = []
    for outcome in outcomes:
        if isinstance(outcome, Refused):
            refused.append(outcome.code)
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            done.append(outcome)
    return done, refused


async def test_five_seats_are_claimed_five_times(town: Town) -> None:
    """INV-15, ASG-6: twenty claims, five seats."""
    invites = [
        town.invite(f"p{number}@person.example", license=License.LICENSED) for number in range(20)
    ]
    done, refused = await at_once(*(town.claimed(invite) for invite in invites))
    assert len(done) == 5
    assert refused == [ErrorCode.NO_SEATS] * 15
    assert (await town.store.audit()).violations == ()


async def test_one_person_is_claimed_once(town: Town) -> None:
    """INV-3: one live row, and all others are given it."""
    invites = [town.invite("new@person.example", license=License.LICENSED) for _ in range(20)]
    done = await asyncio.gather(
        *(
            town.store.invitations.claim(invite, opening(invite, run_id="", at=NOON), NOON)
            for invite in invites
        )
    )
    assert done.count(None) == 1
    assert len({filed.invitation_id for filed in done if filed}) == 1
    assert (await town.store.audit()).violations == ()


async def test_one_invitation_is_accepted_once(town: Town) -> None:
    """INV-10, INV-11: twenty joins, one membership, one answer."""
    invite = town.invite("sue@solo.example", license=License.LICENSED)
    record = await town.pending(invite)
    done, refused = await at_once(*(town.join(invite, record) for _ in range(20)))
    assert refused == []
    assert all(kept == done[0] for kept in done)
    assert (await town.store.audit()).violations == ()


async def test_accepting_against_revoking_has_one_winner(town: Town) -> None:
    """INV-10: everybody is told the same."""
    for number in range(4):
        invite = town.invite(f"p{number}@person.example", license=License.LICENSED)
        record = await town.pending(invite)
        join = town.join(invite, record)
        end = town.store.invitations.end(invite.invitation_id, ended(record, "revoke"))
        one, other = await asyncio.gather(*([join, end] if number % 2 else [end, join]))
        assert one == other
        is_member = invite.email in await town.users("acme")
        assert is_member == (one.state is InvitationState.ACCEPTED)
    assert (await town.store.audit()).violations == ()


async def test_two_accounts_that_bring_in_one_person_have_one_winner(town: Town) -> None:
    """SRC-4: the first committed acceptance wins."""
    for person in ("new@person.example", "sue@solo.example", "lee@crowd.example"):
        here = town.invite(person)
        there = town.invite(person, into="zeta", by="zoe@zeta.example")
        records = [await town.pending(here), await town.pending(there)]
        done, refused = await at_once(
            *(
                town.join(invite, record)
                for invite, record in zip((here, there), records, strict=True)
            )
        )
        assert len(done) == 1
        assert refused == [ErrorCode.BELONGS_TO_OTHER_ACCOUNT]
    assert (await town.store.audit()).violations == ()


async def test_claims_joins_ends_and_imports_do_not_lock_each_other_out(town: Town) -> None:
    """Rows are locked in one order: nobody waits for ever."""
    invites = [town.invite(f"p{number}@person.example") for number in range(8)]
    records = [await town.pending(invite) for invite in invites]
    file = directory(
        account("zeta", user("extra@zeta.example", licensed=True), plan="pro"),
        account("acme", *(user(f"p{n}@person.example") for n in range(0, 8, 2)), plan="pro"),
    )
    done, refused = await at_once(
        *(
            town.join(invite, record)
            for invite, record in zip(invites[:6], records[:6], strict=True)
        ),
        *(
            town.store.invitations.end(invite.invitation_id, ended(record))
            for invite, record in zip(invites[4:], records[4:], strict=True)
        ),
        *(town.claimed(town.invite(f"q{n}@person.example")) for n in range(4)),
        *(town.store.directory.import_(file) for _ in range(3)),
    )
    assert set(refused) <= {ErrorCode.ALREADY_MEMBER}
    assert len(done) + len(refused) == 17
    assert (await town.store.audit()).violations == ()
