"""Whatever runs at the same time, the store stays true."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import pytest

from adapters.sql.database.engine import create_engine
from adapters.sql.database.transaction import writing
from adapters.sql.licenses.pool import grow
from adapters.sql.membership import require_account
from adapters.sql.store import SqlStore
from domain.error import ErrorCode, Refused
from domain.invitation import Choice, InvitationState, License
from domain.license import Sku
from domain.refund import PartState
from domain.remedy import Removal
from states.invitation import initial_record
from tests.builders.assignment import assigned, counted, crew, named, outcomes, pools, unassigned
from tests.builders.invitation import NOON, ZOE, Town, account, directory, ended, user
from tests.builders.refund import PAULA, eur, imported, refunding, told

T = TypeVar("T")

Rounds = Callable[[int], range]

BASIC_OR_LICENSED = (License.BASIC, License.LICENSED)


@pytest.fixture
def rounds(town: Town) -> Rounds:
    """So many on PostgreSQL; a fifth on SQLite, where one writes after the other."""
    share = 5 if town.engine.dialect.name == "sqlite" else 1
    return lambda number: range(number // share)


def one_winner(states: Iterable[InvitationState]) -> bool:
    """One is accepted, the other superseded (INV-14)."""
    [lost] = [state for state in states if not state.accepted]
    return lost is InvitationState.SUPERSEDED


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


async def test_fifty_licenses_are_assigned_fifty_times(town: Town) -> None:
    """ASG-6: two hundred requests by four processes; all others wait (ASG-5)."""
    names = [f"u{number}" for number in range(200)]
    await crew(town, *names, pools=pools(c500=50))
    engines = [create_engine(str(town.engine.url)) for _ in range(4)]
    towns = [Town(engine, SqlStore(engine)) for engine in engines]
    done = await asyncio.gather(
        *(assigned(towns[number % 4], name) for number, name in enumerate(names))
    )
    for engine in engines:
        await engine.dispose()
    found = Counter(state for request in done for state in outcomes(request).values())
    assert found == {"assigned": 50, "waiting insufficient_licenses": 150}
    assert await counted(town) == (50, 50, 150)
    assert (await town.store.audit()).violations == ()


async def test_whatever_frees_and_takes_at_once_leaves_the_pool_sound(town: Town) -> None:
    """ASG-5, ASG-6: who gives one back, buys one, leaves, and asks."""
    names = [f"u{number}" for number in range(20)]
    await crew(town, *names, pools=pools(c500=5, c1000=5))
    await assigned(town, *names, capacity=500)

    async def buy() -> None:
        async with writing(town.engine) as session:
            await require_account(session, "crew", lock=True)
            await grow(session, "crew", Sku.LARGE_MEETING, 500, quantity=1, at=NOON)

    await asyncio.gather(
        *(unassigned(town, name) for name in names[:4]),
        *(assigned(town, name, capacity=1000) for name in names[4:8]),
        *(buy() for _ in range(3)),
        *(
            town.store.remedies.remove_user("crew", named(name), Removal.UNLINK, NOON)
            for name in names[8:11]
        ),
    )
    assert await counted(town, 1000) == (5, 4, 0)
    assert await counted(town) == (8, 8, 1)
    assert (await town.store.audit()).violations == ()


async def test_one_person_is_claimed_once(town: Town) -> None:
    """INV-3: one live row, and all others are given it."""
    invites = [town.invite("new@person.example", license=License.LICENSED) for _ in range(20)]
    done = await asyncio.gather(
        *(
            town.store.invitations.claim(invite, initial_record(invite, run_id="", at=NOON), NOON)
            for invite in invites
        )
    )
    assert done.count(None) == 1
    assert len({stored.invitation_id for stored in done if stored}) == 1
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
        assert is_member == one.state.accepted
    assert (await town.store.audit()).violations == ()


async def test_two_accounts_that_bring_in_one_person_have_one_winner(
    town: Town, rounds: Rounds
) -> None:
    """INV-14: fifty times in the same instant; the other is superseded, without its seat."""
    rich = [account("acme", plan="pro", licenses=60), account("zeta", plan="pro", licenses=60)]
    await town.store.directory.import_(directory(*rich))
    for number in rounds(50):
        here = town.invite(f"p{number}@person.example", license=BASIC_OR_LICENSED[number % 2])
        there = town.invite(
            here.email, into="zeta", by="zoe@zeta.example", license=License.LICENSED
        )
        records = [await town.pending(here), await town.pending(there)]
        done = await asyncio.gather(town.join(here, records[0]), town.join(there, records[1]))
        assert one_winner(kept.state for kept in done)
        [winner] = [kept for kept in done if kept.state.accepted]
        assert here.email in await town.users(winner.account)
        [told] = await town.announced()
        assert told.run_id == next(kept.run_id for kept in done if kept is not winner)
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


async def test_an_owner_who_accepts_often_is_settled_once(town: Town) -> None:
    """REF-5, CRD-1: twenty answers with different choices, one settlement."""
    await imported(town, credit="5.00")
    invite = town.invite(PAULA)
    record = await town.pending(invite)
    answers = await asyncio.gather(
        *(town.settle(invite, record, choice) for choice in [*Choice] * 10)
    )
    assert all(answer == answers[0] for answer in answers)
    assert len(await town.store.refunds.listed(None)) == (answers[0].refund is not None)
    assert (await town.store.audit()).violations == ()


async def test_two_accounts_that_accept_one_owner_settle_once(town: Town, rounds: Rounds) -> None:
    """INV-14: fifty owners of paid accounts, one settlement each."""
    for number in rounds(50):
        await imported(town, f"paid{number}")
        here = town.invite(f"paula@paid{number}.example")
        there = town.invite(here.email, into="zeta", by="zoe@zeta.example")
        records = [await town.pending(here), await town.pending(there)]
        done = await asyncio.gather(
            town.settle(here, records[0], Choice.REFUND),
            town.settle(there, records[1], Choice.TRANSFER),
        )
        assert one_winner(joined.invitation.state for joined in done)
        assert [joined.invitation.settlement is None for joined in done].count(True) == 1
    report = await town.store.audit()
    assert report.checked["settlements"] == len(rounds(50))
    assert report.violations == ()


async def test_credit_is_not_drawn_twice(town: Town) -> None:
    """CRD-1: ten operators, and enough credit for two of three invoices."""
    invoices = [{"id": f"i{n}", "amount_due": "10.00", "due_on": "2026-04-01"} for n in range(3)]
    target = account("acme", plan="pro", collection="net_terms", credit="20.00", invoices=invoices)
    await town.store.directory.import_(directory(target))
    done, refused = await at_once(
        *(town.store.credits.apply("acme", None, NOON) for _ in range(10))
    )
    assert len(done) == 2
    assert refused == [ErrorCode.CONFLICT] * 8
    assert (await town.store.credits.show("acme")).balance == eur("0.00")
    assert (await town.store.audit()).violations == ()


async def test_applying_against_taking_back_has_one_winner(town: Town) -> None:
    """REF-4: the credit is used or reversed, not both."""
    invoice = {"id": "i1", "amount_due": "50.00", "due_on": "2026-04-01"}
    target = account("acme", plan="pro", collection="net_terms", invoices=[invoice])
    await town.store.directory.import_(directory(target))
    order, refund = await refunding(town)
    converted = told(refund, PartState.CONVERTED, PartState.CONVERTED)
    await town.store.refunds.book(order, converted, NOON)
    settled = told(refund, PartState.SUCCEEDED, PartState.SUCCEEDED)
    _, refused = await at_once(
        town.store.credits.apply("acme", None, NOON),
        _ignoring(town.store.refunds.book(order, settled, NOON)),
    )
    kept = await town.store.refunds.latest(order.refund_id)
    left = (await town.store.credits.show("acme")).balance
    assert left == eur("0.00")
    assert kept == (converted if refused else settled)
    assert (await town.store.audit()).violations == ()


async def test_a_remedy_in_the_moment_of_an_acceptance_lets_it_through_or_is_announced(
    town: Town, rounds: Rounds
) -> None:
    """BLK-4: whichever comes first, nothing is lost."""
    for number in rounds(20):
        name = f"team{number}"
        owner = user(f"kim@{name}.example", "owner")
        await town.store.directory.import_(directory(account(name, owner, rooms=[{"id": "r"}])))
        invite = town.invite(f"kim@{name}.example")
        record = await town.pending(invite)
        await town.announced()
        _, refused = await at_once(
            _ignoring(town.join(invite, record)),
            _ignoring(town.store.remedies.remove_room(name, "r", NOON)),
        )
        told = [announcement.run_id for announcement in await town.announced()]
        if refused:
            assert refused == [ErrorCode.BLOCKED]
            assert told == [f"run-{invite.invitation_id}"]
            await town.join(invite, record)
        assert (await town.account(name)).state == "closed"
    assert (await town.store.audit()).violations == ()


async def test_a_user_who_is_removed_while_they_accept_goes_one_way(
    town: Town, rounds: Rounds
) -> None:
    """AUD: whichever comes first, a person is on one account."""
    for number in rounds(20):
        lee = f"lee{number}@crowd.example"
        await town.store.directory.import_(directory(account("crowd", user(lee))))
        invite = town.invite(lee)
        record = await town.pending(invite)
        how = list(Removal)[number % 2]
        _, refused = await at_once(
            _ignoring(town.join(invite, record)),
            _ignoring(town.store.remedies.remove_user("crowd", lee, how, NOON)),
        )
        assert refused == []
        assert lee in await town.users("acme")
    assert (await town.store.audit()).violations == ()


async def test_superseding_and_remedies_do_not_lock_the_others_out(town: Town) -> None:
    """Rows are locked in one order, however many invitations a person has."""
    people = [f"p{number}@crowd.example" for number in range(8)]
    await town.store.directory.import_(directory(account("crowd", *map(user, people))))
    here = [town.invite(email, license=License.LICENSED) for email in people[:5]]
    there = [town.invite(email, into="zeta", by=ZOE) for email in people]
    records = {invite.invitation_id: await town.pending(invite) for invite in (*here, *there)}
    file = directory(account("crowd"), account("zeta", plan="pro"), account("acme", plan="pro"))
    _, refused = await at_once(
        *(_ignoring(town.join(i, records[i.invitation_id])) for i in (*here, *there)),
        *(
            _ignoring(town.store.invitations.end(i.invitation_id, ended(records[i.invitation_id])))
            for i in there[::2]
        ),
        *(
            _ignoring(town.store.remedies.remove_user("crowd", email, Removal.UNLINK, NOON))
            for email in people
        ),
        *(_ignoring(town.claimed(town.invite(email))) for email in people[5:]),
        *(_ignoring(town.store.directory.import_(file)) for _ in range(3)),
    )
    assert set(refused) <= {ErrorCode.BELONGS_TO_OTHER_ACCOUNT}
    for invite in (*here, *there):
        found = await town.store.invitations.by_id(invite.invitation_id)
        assert found
        assert not found.invitation.state.unanswered
    assert (await town.store.audit()).violations == ()


async def test_an_invoice_is_charged_once(town: Town) -> None:
    done, refused = await at_once(
        *(town.store.remedies.pay_invoice("crowd", "i1", NOON) for _ in range(10))
    )
    assert (len(done), refused) == (10, [])
    assert [bool(changed) for changed in done].count(True) == 1
    assert (await town.store.audit()).violations == ()


async def _ignoring(action: Awaitable[object]) -> None:
    await action
