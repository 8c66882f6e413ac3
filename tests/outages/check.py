"""The checks after a run: records, money, pools, workflows, letters, rows, operators' list."""

from collections import Counter
from datetime import datetime, timedelta

from sqlalchemy import select, text

from adapters.sql.database.engine import BUSY_TIMEOUT_SECONDS
from adapters.sql.database.schema import InvitationRow
from adapters.sql.database.transaction import reading
from domain.address import masked
from domain.attention import AttentionKind
from domain.invitation import InvitationState
from domain.license import Sku
from domain.outbox import FollowUp, FollowUpKind
from runtime.attention import Attention
from runtime.visibility import on_queue
from tests.outages.lifecycle import BOUNCED, COMPLETED, MANAGED, WANTED, Play, licensed_of

SECOND = timedelta(seconds=1)
RECORDED_WITHIN = timedelta(seconds=BUSY_TIMEOUT_SECONDS)
"""Longest time from the acceptance of a letter to its record: SQLite has one writer at a time."""

COPIES_PER_CUT = 10
"""Letters that may have been accepted and not recorded when a worker was killed."""


def all_given_up(rows: list[FollowUp]) -> bool:
    """Return whether all rows that are left have been given up."""
    return all(row.given_up for row in rows)


DROPPED = {"attention", "blocked", "unblocked", "refund_failed", "refund_overdue"}
"""Letters that are not sent once they are untrue (OPS-2); the operators have no address here."""


async def check_records(play: Play) -> None:
    """Check the end of each case, its membership and its source account."""
    members = {
        user.email: account.id
        for account in (await play.world.store.directory.export(None)).accounts
        for user in account.users
    }
    ends = {(case.account, case.email): case.kind.end for case in play.cases}
    async with reading(play.world.store.engine) as session:
        for row in await session.scalars(select(InvitationRow)):
            expected = ends.pop((row.account_id, row.email), InvitationState.SUPERSEDED)
            assert row.state == row.record.state == expected, row.email
            assert not row.record.with_errors
    assert not ends, "these were never invited"
    for case in play.cases:
        joined = members.get(case.email) == case.account
        assert joined is (case.kind.end is COMPLETED), case
    assert await play.world.audit() == ()


async def check_money_and_pools(play: Play) -> None:
    """Check the credit of each target account, and its base licenses."""
    store = play.world.store
    for account in (*play.targets, MANAGED):
        credit = (await store.credits.show(account)).balance.amount
        assert credit == play.credited[account], account
        own = [case for case in play.cases if case.account == account]
        licensed = sum(case.kind.licensed and case.kind.end is COMPLETED for case in own)
        [pool] = [
            each for each in await store.assignments.licenses(account) if each.sku is Sku.WORKPLACE
        ]
        assert (pool.assigned, pool.reserved) == (len(licensed_of(account)) + licensed, 0)
    for shop in play.shops:
        [pool] = [
            each for each in await store.assignments.licenses(shop) if each.sku is not Sku.WORKPLACE
        ]
        assert (pool.bought, pool.assigned, pool.waiting) == (3, 3, ())
        [order] = await store.orders.listed(shop)
        assert [invoice.state for invoice in order.invoices] == ["paid"]


async def check_workflows(play: Play) -> None:
    """Check that no workflow has a second run, and that none ended from outside."""
    client, queue = play.world.temporal.client, play.world.settings.task_queue
    query = on_queue(queue, "StartTime > '2000-01-01T00:00:00Z'")
    runs = Counter([each.id async for each in client.list_workflows(query)])
    assert [name for name, times in runs.items() if times > 1] == []
    bad = on_queue(queue, "ExecutionStatus NOT IN ('Running', 'Completed')")
    assert [each.id async for each in client.list_workflows(bad)] == []
    stuck = on_queue(queue, "TemporalReportedProblems IS NOT NULL")
    assert [each.id async for each in client.list_workflows(stuck)] == []
    print(f"{len(runs)} workflows")


async def check_letters(play: Play, cuts: list[datetime]) -> None:
    """Check that each letter arrived once, and a few twice whose connection was cut."""
    arrived, received = arrivals(play), play.world.smtp.received
    copies = {letter_id: first for letter_id, (first, *more) in arrived.items() if more}
    for letter_id, first in copies.items():
        sent_at = received[first].message["Date"].datetime
        # The header has whole seconds.
        since_then = [cut - sent_at for cut in cuts]
        assert any(-SECOND <= each <= RECORDED_WITHIN + SECOND for each in since_then), letter_id
    assert len(copies) <= COPIES_PER_CUT * len(cuts)
    events = Counter(
        (str(received[first].message["To"]), str(received[first].message["Seatflow-Event"]))
        for first, *_ in arrived.values()
    )
    async with reading(play.world.store.engine) as session:
        ids = {
            (row.account_id, row.email): row.invitation_id
            for row in await session.scalars(select(InvitationRow))
        }
    for case in play.cases:
        kind, invitation_id = case.kind, ids[case.account, case.email]
        invited = {MANAGED: 0, BOUNCED: 0, WANTED: 2}.get(kind.name, 1)
        assert events[case.email, "invitation"] == invited, case
        assert [events[case.email, event] for event in kind.letters] == [1] * len(kind.letters), (
            case
        )
        if event := _event_for_inviter(kind.end):
            assert f"{event}.{invitation_id}" in arrived, case
    print(f"{len(arrived)} letters, {len(copies)} of them twice, with {len(cuts)} cuts")


def arrivals(play: Play) -> dict[str, list[int]]:
    """Return the positions at which each letter was received, by its id."""
    found = dict[str, list[int]]()
    for number, letter in enumerate(play.world.smtp.received):
        letter_id = str(letter.message["Message-ID"]).strip().lstrip("<").partition("@")[0]
        found.setdefault(letter_id, []).append(number)
    return found


def _event_for_inviter(end: InvitationState) -> str | None:
    """Return the event of the letter to the inviter."""
    if end is InvitationState.REVOKED:
        return None
    return "accepted" if end is COMPLETED else end.value


async def check_rows(play: Play) -> None:
    """Check that each row that the outbox ever had was carried out once, or given up."""
    async with reading(play.world.store.engine) as session:
        rows = (await session.execute(text("SELECT kind, key, attempts, ended FROM counted"))).all()
    letters = Counter(row.key for row in rows if row.kind == FollowUpKind.LETTER)
    assert set(letters.values()) == {1}
    given_up = {row.key for row in await play.world.store.outbox.listed()}
    dropped = letters.keys() - arrivals(play).keys() - given_up
    assert {letter_id.partition(".")[0] for letter_id in dropped} <= DROPPED, dropped
    done = [row for row in rows if row.kind != FollowUpKind.SWEEP and row.key not in given_up]
    assert {row.ended for row in done} == {1}
    kinds = dict(Counter(row.kind for row in done))
    print(f"{len(done)} rows carried out in {sum(row.attempts for row in done)} leases: {kinds}")


async def check_attention(play: Play) -> None:
    """Check that only the letters to lost mailboxes are left for a person."""
    outbox = play.world.store.outbox
    left = await outbox.listed()
    for row in left:
        assert row.letter and row.letter.to in {masked(each) for each in play.world.smtp.unknown}, (
            row
        )
    cases = await Attention(play.world.clients).cases()
    assert {case.id for case in cases} == {str(row.number) for row in left}, cases
    assert {case.kind for case in cases} <= {AttentionKind.LETTER_UNDELIVERABLE}
    print(f"{len(cases)} letters to lost mailboxes wait for an operator")
    for row in left:
        await outbox.discard(row.number)
    assert await Attention(play.world.clients).cases() == []
