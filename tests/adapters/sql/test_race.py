"""Concurrent changes leave the store consistent (AUD)."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import pytest

from adapters.sql.database.engine import LONG, create_engine
from adapters.sql.database.transaction import writing
from adapters.sql.licenses.pool import grow
from adapters.sql.membership import require_account
from adapters.sql.store import SqlStore
from domain.account import Role
from domain.error import ErrorCode, Refused
from domain.invitation import Choice, InvitationState, License
from domain.license import Sku
from domain.refund import PartState
from domain.remedy import Removal
from states.invitation import initial_record
from tests.builders.account import NOON, ZOE, account, directory, eur, user
from tests.builders.assignment import (
    LARGE,
    WEBINAR,
    assign,
    crew_email,
    import_crew,
    name_pools,
    outcomes,
    pool_counts,
    pools,
    unassign,
)
from tests.builders.invitation import StoreScenario, ended
from tests.builders.order import an_order
from tests.builders.refund import PAULA, book, import_paid_account, request_refund, with_part_states

T = TypeVar("T")

Rounds = Callable[[int], range]

BASIC_OR_LICENSED = (License.BASIC, License.LICENSED)


@pytest.fixture
def rounds(scenario: StoreScenario) -> Rounds:
    """Return the rounds: all on PostgreSQL, a fifth on SQLite, where writers take turns."""
    share = 5 if scenario.engine.dialect.name == "sqlite" else 1
    return lambda number: range(number // share)


def one_winner(states: Iterable[InvitationState]) -> bool:
    """Return if the one who lost was superseded (INV-14)."""
    [lost] = [state for state in states if not state.accepted]
    return lost is InvitationState.SUPERSEDED


async def at_once(*actions: Awaitable[T]) -> tuple[list[T], list[ErrorCode]]:
    """Run the actions concurrently; return their results and the codes of the refused ones."""
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


async def test_five_seats_are_claimed_five_times(scenario: StoreScenario) -> None:
    """INV-15, ASG-6: twenty claims, five seats."""
    invites = [
        scenario.new_invite(f"p{number}@person.example", license=License.LICENSED)
        for number in range(20)
    ]
    done, refused = await at_once(*(scenario.claim(invite) for invite in invites))
    assert len(done) == 5
    assert refused == [ErrorCode.NO_SEATS] * 15
    assert (await scenario.store.audit()).violations == ()


async def test_fifty_licenses_are_assigned_fifty_times(scenario: StoreScenario) -> None:
    """ASG-6, ASG-8: two hundred requests by four processes; all others wait (ASG-5).

    Half of the licenses are of each kind.
    """
    names = [f"u{number}" for number in range(100)]
    await import_crew(scenario, *names, pools=[*pools(LARGE, c500=25), *pools(WEBINAR, c500=25)])
    # All requests but one wait for the pool, on a busy machine for longer than a command may.
    engines = [create_engine(str(scenario.engine.url), limits=LONG) for _ in range(4)]
    scenarios = [StoreScenario(engine, SqlStore(engine)) for engine in engines]
    done = await asyncio.gather(
        *(
            assign(scenarios[number % 4], name, sku=sku)
            for number, name in enumerate(names)
            for sku in (LARGE, WEBINAR)
        )
    )
    for engine in engines:
        await engine.dispose()
    found = Counter(state for request in done for state in outcomes(request).values())
    assert found == {"assigned": 50, "waiting insufficient_licenses": 150}
    for sku in (LARGE, WEBINAR):
        assert await pool_counts(scenario, 500, sku) == (25, 25, 75)
    assert (await scenario.store.audit()).violations == ()


@pytest.mark.parametrize(("sku", "other"), [(LARGE, WEBINAR), (WEBINAR, LARGE)])
async def test_concurrent_releases_purchases_and_requests_keep_the_pool_consistent(
    scenario: StoreScenario, sku: Sku, other: Sku
) -> None:
    """ASG-5, ASG-6, ASG-8: a license is released, bought, left behind and requested.

    All users hold a license of the other kind, whose pool only those who leave change.
    """
    names = [f"u{number}" for number in range(20)]
    both = [*pools(sku, c500=5, c1000=5), *pools(other, c500=20)]
    await import_crew(scenario, *names, pools=both)
    await assign(scenario, *names, sku=sku, capacity=500)
    await assign(scenario, *names, sku=other)

    async def buy() -> None:
        async with writing(scenario.engine) as session:
            await require_account(session, "crew", lock=True)
            await grow(session, "crew", sku, 500, quantity=1, at=NOON)
            await name_pools(session)

    await asyncio.gather(
        *(unassign(scenario, name, sku=sku) for name in names[:4]),
        *(assign(scenario, name, sku=sku, capacity=1000) for name in names[4:8]),
        *(buy() for _ in range(3)),
        *(
            scenario.store.remedies.remove_user("crew", crew_email(name), Removal.UNLINK, NOON)
            for name in names[8:11]
        ),
    )
    assert await pool_counts(scenario, 1000, sku) == (5, 4, 0)
    assert await pool_counts(scenario, 500, sku) == (8, 8, 1)
    assert await pool_counts(scenario, 500, other) == (20, 17, 0)
    assert (await scenario.store.audit()).violations == ()


async def test_one_person_is_claimed_once(scenario: StoreScenario) -> None:
    """INV-3: one live row, which all other claims return."""
    invites = [
        scenario.new_invite("new@person.example", license=License.LICENSED) for _ in range(20)
    ]
    done = await asyncio.gather(
        *(
            scenario.store.invitations.claim(
                invite, initial_record(invite, run_id="", at=NOON), NOON
            )
            for invite in invites
        )
    )
    assert done.count(None) == 1
    assert len({stored.invitation_id for stored in done if stored}) == 1
    assert (await scenario.store.audit()).violations == ()


async def test_one_invitation_is_accepted_once(scenario: StoreScenario) -> None:
    """INV-10, INV-11: twenty joins, one membership, one answer."""
    invite = scenario.new_invite("sue@solo.example", license=License.LICENSED)
    record = await scenario.send(invite)
    done, refused = await at_once(*(scenario.accept(invite, record) for _ in range(20)))
    assert refused == []
    assert all(kept == done[0] for kept in done)
    assert (await scenario.store.audit()).violations == ()


async def test_accept_and_revoke_have_one_winner(scenario: StoreScenario) -> None:
    """INV-10: both calls return the same record."""
    for number in range(4):
        invite = scenario.new_invite(f"p{number}@person.example", license=License.LICENSED)
        record = await scenario.send(invite)
        join = scenario.join_account(invite, record)
        end = scenario.store.invitations.end(invite.invitation_id, ended(record, "revoke"))
        one, other = await asyncio.gather(*([join, end] if number % 2 else [end, join]))
        assert one == other
        is_member = invite.email in await scenario.users("acme")
        assert is_member == one.invitation.state.accepted
    assert (await scenario.store.audit()).violations == ()


async def test_two_accounts_that_invite_one_person_have_one_winner(
    scenario: StoreScenario, rounds: Rounds
) -> None:
    """INV-14: fifty concurrent pairs; the other is superseded, without its seat."""
    rich = [account("acme", plan="pro", licenses=60), account("zeta", plan="pro", licenses=60)]
    await scenario.store.directory.import_(directory(*rich))
    for number in rounds(50):
        here = scenario.new_invite(
            f"p{number}@person.example", license=BASIC_OR_LICENSED[number % 2]
        )
        there = scenario.new_invite(
            here.email, into="zeta", by="zoe@zeta.example", license=License.LICENSED
        )
        records = [await scenario.send(here), await scenario.send(there)]
        done = await asyncio.gather(
            scenario.accept(here, records[0]), scenario.accept(there, records[1])
        )
        assert one_winner(kept.state for kept in done)
        [winner] = [kept for kept in done if kept.state.accepted]
        assert here.email in await scenario.users(winner.account)
        [signalled] = await scenario.take_signals()
        assert signalled.run_id == next(kept.run_id for kept in done if kept is not winner)
    assert (await scenario.store.audit()).violations == ()


async def test_concurrent_claims_acceptances_ends_and_imports_do_not_deadlock(
    scenario: StoreScenario,
) -> None:
    """INV-10: rows are locked in one order."""
    invites = [scenario.new_invite(f"p{number}@person.example") for number in range(8)]
    records = [await scenario.send(invite) for invite in invites]
    file = directory(
        account("zeta", user("extra@zeta.example", licensed=True), plan="pro"),
        account("acme", *(user(f"p{n}@person.example") for n in range(0, 8, 2)), plan="pro"),
    )
    done, refused = await at_once(
        *(
            scenario.accept(invite, record)
            for invite, record in zip(invites[:6], records[:6], strict=True)
        ),
        *(
            scenario.store.invitations.end(invite.invitation_id, ended(record))
            for invite, record in zip(invites[4:], records[4:], strict=True)
        ),
        *(scenario.claim(scenario.new_invite(f"q{n}@person.example")) for n in range(4)),
        *(scenario.store.directory.import_(file) for _ in range(3)),
    )
    assert set(refused) <= {ErrorCode.ALREADY_MEMBER}
    assert len(done) + len(refused) == 17
    assert (await scenario.store.audit()).violations == ()


async def test_an_owner_who_accepts_often_is_settled_once(scenario: StoreScenario) -> None:
    """REF-5, CRD-1: twenty acceptances with different choices, one settlement."""
    await import_paid_account(scenario, credit="5.00")
    invite = scenario.new_invite(PAULA)
    record = await scenario.send(invite)
    answers = await asyncio.gather(
        *(scenario.join_account(invite, record, choice) for choice in [*Choice] * 10)
    )
    assert all(answer == answers[0] for answer in answers)
    assert len(await scenario.store.refunds.listed(None)) == (answers[0].refund is not None)
    assert (await scenario.store.audit()).violations == ()


async def test_two_accounts_that_accept_one_owner_settle_once(
    scenario: StoreScenario, rounds: Rounds
) -> None:
    """INV-14: fifty owners of paid accounts, one settlement each."""
    for number in rounds(50):
        await import_paid_account(scenario, f"paid{number}")
        here = scenario.new_invite(f"paula@paid{number}.example")
        there = scenario.new_invite(here.email, into="zeta", by="zoe@zeta.example")
        records = [await scenario.send(here), await scenario.send(there)]
        done = await asyncio.gather(
            scenario.join_account(here, records[0], Choice.REFUND),
            scenario.join_account(there, records[1], Choice.TRANSFER),
        )
        assert one_winner(joined.invitation.state for joined in done)
        assert [joined.invitation.settlement is None for joined in done].count(True) == 1
    report = await scenario.store.audit()
    assert report.checked["settlements"] == len(rounds(50))
    assert report.violations == ()


async def test_credit_is_not_drawn_twice(scenario: StoreScenario) -> None:
    """CRD-1: ten operators, and enough credit for two of three invoices."""
    invoices = [{"id": f"i{n}", "amount_due": "10.00", "due_on": "2026-04-01"} for n in range(3)]
    target = account("acme", plan="pro", collection="net_terms", credit="20.00", invoices=invoices)
    await scenario.store.directory.import_(directory(target))
    done, refused = await at_once(
        *(scenario.store.credits.apply("acme", None, NOON) for _ in range(10))
    )
    assert len(done) == 2
    assert refused == [ErrorCode.CONFLICT] * 8
    assert (await scenario.store.credits.show("acme")).balance == eur("0.00")
    assert (await scenario.store.audit()).violations == ()


async def test_use_and_reversal_of_credit_have_one_winner(scenario: StoreScenario) -> None:
    """REF-4: the credit is used or reversed, not both."""
    invoice = {"id": "i1", "amount_due": "50.00", "due_on": "2026-04-01"}
    target = account("acme", plan="pro", collection="net_terms", invoices=[invoice])
    await scenario.store.directory.import_(directory(target))
    order, refund = await request_refund(scenario)
    converted = with_part_states(refund, PartState.CONVERTED, PartState.CONVERTED)
    await book(scenario, converted, NOON)
    settled = with_part_states(refund, PartState.SUCCEEDED, PartState.SUCCEEDED)
    _, refused = await at_once(
        scenario.store.credits.apply("acme", None, NOON),
        without_result(book(scenario, settled, NOON)),
    )
    kept = await scenario.store.refunds.latest(order.refund_id)
    left = (await scenario.store.credits.show("acme")).balance
    assert left == eur("0.00")
    assert kept == (converted if refused else settled)
    assert (await scenario.store.audit()).violations == ()


async def test_a_concurrent_remedy_permits_the_acceptance_or_is_signalled(
    scenario: StoreScenario, rounds: Rounds
) -> None:
    """BLK-4: in either order the acceptance succeeds in the end."""
    for number in rounds(20):
        name = f"team{number}"
        owner = user(f"kim@{name}.example", "owner")
        await scenario.store.directory.import_(directory(account(name, owner, rooms=[{"id": "r"}])))
        invite = scenario.new_invite(f"kim@{name}.example")
        record = await scenario.send(invite)
        await scenario.take_signals()
        _, refused = await at_once(
            without_result(scenario.accept(invite, record)),
            without_result(scenario.store.remedies.remove_room(name, "r", NOON)),
        )
        signalled = [signal.run_id for signal in await scenario.take_signals()]
        if refused:
            assert refused == [ErrorCode.BLOCKED]
            assert signalled == [f"run-{invite.invitation_id}"]
            await scenario.accept(invite, record)
        assert (await scenario.account(name)).state == "closed"
    assert (await scenario.store.audit()).violations == ()


async def test_a_user_removed_during_their_acceptance_is_on_one_account(
    scenario: StoreScenario, rounds: Rounds
) -> None:
    """AUD, INV-11: in either order."""
    for number in rounds(20):
        lee = f"lee{number}@crowd.example"
        await scenario.store.directory.import_(directory(account("crowd", user(lee))))
        invite = scenario.new_invite(lee)
        record = await scenario.send(invite)
        how = list(Removal)[number % 2]
        _, refused = await at_once(
            without_result(scenario.accept(invite, record)),
            without_result(scenario.store.remedies.remove_user("crowd", lee, how, NOON)),
        )
        assert refused == []
        assert lee in await scenario.users("acme")
    assert (await scenario.store.audit()).violations == ()


@pytest.mark.parametrize("how", Removal)
async def test_a_new_owner_and_a_removal_leave_one_owner(
    scenario: StoreScenario, rounds: Rounds, how: Removal
) -> None:
    """AUD: in either order; the file makes the user the owner who is removed."""
    for number in rounds(20):
        name = f"swap{number}"
        kim, lee = f"kim@{name}.example", f"lee@{name}.example"
        await scenario.store.directory.import_(
            directory(account(name, user(kim, "owner"), user(lee)))
        )
        swapped = directory(account(name, user(kim), user(lee, "owner")))
        await at_once(
            without_result(scenario.store.directory.import_(swapped)),
            without_result(scenario.store.remedies.remove_user(name, lee, how, NOON)),
        )
        users = (await scenario.account(name)).users
        assert [each.role for each in users].count(Role.OWNER) == 1
    assert (await scenario.store.audit()).violations == ()


async def test_an_order_has_the_currency_of_its_account(
    scenario: StoreScenario, rounds: Rounds
) -> None:
    """CRD-4: in either order, an import of another currency is refused or came before."""
    for number in rounds(20):
        name = f"shop{number}"
        shop = account(name, user(f"kim@{name}.example", "owner"), plan="pro")
        await scenario.store.directory.import_(directory(shop))
        order = an_order(account=name, bought_by=f"kim@{name}.example")
        _, refused = await at_once(
            without_result(scenario.store.orders.open(order, NOON)),
            without_result(
                scenario.store.directory.import_(directory({**shop, "currency": "USD"}))
            ),
        )
        assert set(refused) <= {ErrorCode.INVALID_INPUT}
        opened = await scenario.store.orders.open(order, NOON)
        assert opened.quote.due_now.currency == (await scenario.account(name)).currency
    assert (await scenario.store.audit()).violations == ()


async def test_concurrent_supersessions_and_remedies_do_not_deadlock(
    scenario: StoreScenario,
) -> None:
    """INV-14: rows are locked in one order, however many invitations a person has."""
    people = [f"p{number}@crowd.example" for number in range(8)]
    await scenario.store.directory.import_(directory(account("crowd", *map(user, people))))
    here = [scenario.new_invite(email, license=License.LICENSED) for email in people[:5]]
    there = [scenario.new_invite(email, into="zeta", by=ZOE) for email in people]
    records = {invite.invitation_id: await scenario.send(invite) for invite in (*here, *there)}
    file = directory(account("crowd"), account("zeta", plan="pro"), account("acme", plan="pro"))
    _, refused = await at_once(
        *(without_result(scenario.accept(i, records[i.invitation_id])) for i in (*here, *there)),
        *(
            without_result(
                scenario.store.invitations.end(i.invitation_id, ended(records[i.invitation_id]))
            )
            for i in there[::2]
        ),
        *(
            without_result(
                scenario.store.remedies.remove_user("crowd", email, Removal.UNLINK, NOON)
            )
            for email in people
        ),
        *(without_result(scenario.claim(scenario.new_invite(email))) for email in people[5:]),
        *(without_result(scenario.store.directory.import_(file)) for _ in range(3)),
    )
    assert set(refused) <= {ErrorCode.BELONGS_TO_OTHER_ACCOUNT}
    for invite in (*here, *there):
        found = await scenario.store.invitations.by_id(invite.invitation_id)
        assert found
        assert not found.invitation.state.unanswered
    assert (await scenario.store.audit()).violations == ()


async def test_an_invoice_is_charged_once(scenario: StoreScenario) -> None:
    """BLK-2: ten concurrent payments, one charge."""
    done, refused = await at_once(*(scenario.pay_invoice("crowd", "i1") for _ in range(10)))
    assert (len(done), refused) == (10, [])
    assert [bool(changed) for changed in done].count(True) == 1
    assert (await scenario.store.audit()).violations == ()


async def without_result(action: Awaitable[object]) -> None:
    await action
