"""Pages of an account's invitations, and reviews of requests to invite."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import delete, event, insert

from adapters.sql.database.schema import InvitationRow
from adapters.sql.database.transaction import writing
from adapters.sql.store import SqlStore
from domain.batch import Batch, BatchRow, RowOutcome, request_digest
from domain.error import ErrorCode, Refused
from domain.invitation import InvitationState, Invite, License, Person
from domain.invitation_list import InvitationFilter, InvitationPage, Seats
from domain.person import pseudonym
from domain.remedy import Removal
from domain.search import PageRequest
from states.invitation import initial_record
from tests.builders.account import ADMIN, NOON, OWNER, ZOE, account, directory, user
from tests.builders.invitation import StoreScenario, delivered, ended
from tests.builders.refund import PAULA, accept_as_owner

MANY = 10_000
LATER = NOON + timedelta(days=5)
LIVE = InvitationFilter()
EVERYTHING = InvitationFilter(everything=True)


async def page(
    store: SqlStore,
    wanted: InvitationFilter = LIVE,
    after: str | None = None,
    limit: int = 50,
) -> InvitationPage:
    return await store.pages.invitations.page(
        "acme",
        wanted,
        PageRequest(after=after, limit=limit),
        quiet_before=LATER - timedelta(days=3),
        at=LATER,
    )


def emails(found: InvitationPage) -> list[str]:
    return [each.invitation.email for each in found.invitations]


@contextmanager
def statements(store: SqlStore) -> Iterator[list[str]]:
    """Yield the statements that are executed, without those that begin a transaction."""
    listed: list[str] = []

    def record(connection: object, cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("SELECT"):
            listed.append(statement)

    engine = store.engine.sync_engine
    event.listen(engine, "before_cursor_execute", record)
    try:
        yield listed
    finally:
        event.remove(engine, "before_cursor_execute", record)


async def insert_pending(scenario: StoreScenario, count: int) -> None:
    """Insert pending invitations, as their workflows would leave them."""
    rows = []
    for number in range(count):
        invite = scenario.new_invite(f"p{number:05}@example.com", name=f"Person {number:05}")
        at = NOON + timedelta(seconds=number)
        record = delivered(initial_record(invite, run_id=f"run-{number}", at=at), at)
        rows.append(
            {
                "invitation_id": invite.invitation_id,
                "account_id": invite.account,
                "invitee_key": invite.key,
                "email": invite.email,
                "state": record.state,
                "run_id": record.run_id,
                "seat_reserved": False,
                "claimed_at": at,
                "quiet_since": record.quiet_since,
                "deadline": record.expires_at,
                "ordered": invite,
                "record": record,
            }
        )
    async with writing(scenario.engine) as session:
        await session.execute(insert(InvitationRow), rows)


async def test_a_page_of_ten_thousand_invitations_takes_as_many_statements_as_one_of_ten(
    scenario: StoreScenario,
) -> None:
    """INV-5: one for the rows, one for the counts, whatever is filtered."""
    store = scenario.store
    await insert_pending(scenario, 10)
    with statements(store) as few:
        await page(store)
    async with writing(scenario.engine) as session:
        await session.execute(delete(InvitationRow))
    await insert_pending(scenario, MANY)
    with statements(store) as many:
        first = await page(store)
    assert many == few
    assert len([each for each in many if " invitations" in each]) == 2
    assert (len(first.invitations), first.counts.live, first.counts.quiet) == (50, MANY, MANY)
    with statements(store) as searching:
        found = await page(store, InvitationFilter(query="PERSON 0999", quiet_days=3))
    assert len(searching) == len(few)
    assert (len(found.invitations), found.counts.quiet, found.counts.unanswered) == (10, 10, MANY)
    second = await page(store, after=first.next_cursor)
    assert emails(second)[0] == "p09949@example.com"


async def test_pages_follow_each_other_without_gaps(scenario: StoreScenario) -> None:
    """Also those that were claimed at the same moment; an unknown cursor finds nothing."""
    for number in range(7):
        await scenario.send(scenario.new_invite(f"p{number}@example.com"))
    seen, after = list[str](), None
    for _ in range(3):
        found = await page(scenario.store, after=after, limit=3)
        seen += emails(found)
        after = found.next_cursor
    assert after is None
    assert len(seen) == len(set(seen)) == 7
    assert emails(await page(scenario.store, after="0" * 32)) == []


async def test_the_live_ones_are_listed_unless_others_are_asked_for(
    scenario: StoreScenario,
) -> None:
    """INV-5: by state, all, and quiet ones; a claim without a workflow is none."""
    store = scenario.store
    await scenario.send(scenario.new_invite("pending@example.com"))
    await scenario.send(scenario.new_invite("lively@example.com"), LATER - timedelta(days=1))
    gone = scenario.new_invite("gone@example.com")
    await store.invitations.end(gone.invitation_id, ended(await scenario.send(gone)))
    await scenario.claim(scenario.new_invite("claimed@example.com"))
    assert set(emails(await page(store))) == {"pending@example.com", "lively@example.com"}
    assert len(emails(await page(store, EVERYTHING))) == 3
    declined = InvitationFilter(states=(InvitationState.DECLINED,))
    assert emails(await page(store, declined)) == ["gone@example.com"]
    quiet = await page(store, InvitationFilter(quiet_days=3))
    assert emails(quiet) == ["pending@example.com"]
    assert quiet.counts.by_state == {InvitationState.PENDING: 2, InvitationState.DECLINED: 1}
    assert (quiet.counts.live, quiet.counts.all, quiet.counts.quiet) == (2, 3, 1)
    with pytest.raises(Refused) as refused:
        await store.pages.invitations.page(
            "nowhere", EVERYTHING, PageRequest(), quiet_before=NOON, at=NOON
        )
    assert refused.value.code is ErrorCode.NOT_FOUND


@pytest.mark.parametrize("query", ["weber", "WEBER", "jonas@", "Jonas W", "Jo%", "ÉMILE"])
async def test_a_search_finds_names_and_addresses(scenario: StoreScenario, query: str) -> None:
    """In any case; % and _ are characters like others."""
    await scenario.send(scenario.new_invite("jonas@weber.example", name="Jonas Weber"))
    await scenario.send(scenario.new_invite("e@example.com", name="Émile"))
    found = emails(await page(scenario.store, InvitationFilter(query=query)))
    expected = {"Jo%": [], "ÉMILE": ["e@example.com"]}
    assert found == expected.get(query, ["jonas@weber.example"])


async def test_a_name_from_the_directory_is_shown_after_the_acceptance(
    scenario: StoreScenario,
) -> None:
    """Before, an admin sees what the inviter has written, and finds nobody by more."""
    store = scenario.store
    solo = account("solo", user("sue@solo.example", "owner", name="Susan"))
    await store.directory.import_(directory(solo))
    invite = scenario.new_invite("sue@solo.example", name="Sue")
    record = await scenario.send(invite)
    susan = InvitationFilter(query="susan", everything=True)
    [listed] = (await page(store)).invitations
    assert listed.name == "Sue"
    assert emails(await page(store, susan)) == []
    await scenario.accept(invite, record)
    [listed] = (await page(store, susan)).invitations
    assert listed.name == "Susan"


async def test_who_can_be_invited_again(scenario: StoreScenario) -> None:
    """INV-8: the last invitation of a person who is not a user, and was not forgotten."""
    store = scenario.store
    for email in ("again@example.com", "once@example.com", pseudonym("x")):
        invite = scenario.new_invite(email)
        await store.invitations.end(invite.invitation_id, ended(await scenario.send(invite)))
    second = scenario.new_invite("again@example.com")
    await scenario.send(second, NOON + timedelta(hours=2))
    joined = scenario.new_invite("sue@solo.example")
    await scenario.send_and_accept(joined)
    found = await page(store, EVERYTHING)
    assert [each.invitation.email for each in found.invitations if each.repeatable] == [
        "once@example.com"
    ]


async def test_a_review_answers_as_the_claims_would(scenario: StoreScenario) -> None:
    """INV-2: members, members of others, open invitations and seats, and nothing is written."""
    store = scenario.store
    open_ = scenario.new_invite("open@example.com")
    await scenario.send(open_)
    accepted = scenario.new_invite("rita@rich.example")
    people = {
        OWNER: ErrorCode.ALREADY_MEMBER,
        "max@rich.example": ErrorCode.BELONGS_TO_OTHER_ACCOUNT,
        "open@example.com": License.BASIC,
        accepted.email: None,
        "new@example.com": None,
        ZOE: None,
    }
    invites = [scenario.new_invite(email) for email in people]
    seats, answers = await store.pages.invitations.review("acme", ADMIN, invites)
    assert seats == Seats(bought=6, free=5)
    found = [each.code if isinstance(each, Refused) else each for each in answers]
    assert found == list(people.values())
    assert len(emails(await page(store))) == 1
    for invite, answer in zip(invites, answers, strict=True):
        claimed = await claim_of(scenario, invite)
        if isinstance(answer, Refused):
            assert isinstance(claimed, Refused)
            assert claimed.as_json() == answer.as_json()
        else:
            assert (claimed is None) == (answer is None)


async def claim_of(scenario: StoreScenario, invite: Invite) -> object:
    record = initial_record(invite, run_id="", at=NOON)
    try:
        return await scenario.store.invitations.claim(invite, record, NOON)
    except Refused as refused:
        return refused


async def test_a_review_gives_the_free_seats_to_those_named_first(
    scenario: StoreScenario,
) -> None:
    """INV-15: the sixth licensed person gets no seat, a basic one needs none."""
    invites = [
        scenario.new_invite(f"p{number}@example.com", license=License.LICENSED)
        for number in range(6)
    ]
    invites.append(scenario.new_invite("basic@example.com"))
    _, answers = await scenario.store.pages.invitations.review("acme", ADMIN, invites)
    assert [each.code if isinstance(each, Refused) else each for each in answers] == [
        *[None] * 5,
        ErrorCode.NO_SEATS,
        None,
    ]
    for invite in invites[:5]:
        await scenario.claim(invite)
    claimed = await claim_of(scenario, invites[5])
    assert isinstance(claimed, Refused)
    assert isinstance(answers[5], Refused)
    assert claimed.as_json() == answers[5].as_json()


async def test_a_review_names_the_open_refund_of_an_earlier_invitation(
    scenario: StoreScenario,
) -> None:
    """INV-8."""
    await accept_as_owner(scenario)
    await scenario.store.remedies.remove_user("acme", PAULA, Removal.UNLINK, LATER)
    again = scenario.new_invite(PAULA)
    _, [answer] = await scenario.store.pages.invitations.review("acme", ADMIN, [again])
    claimed = await claim_of(scenario, again)
    assert isinstance(answer, Refused)
    assert isinstance(claimed, Refused)
    assert answer.code is ErrorCode.CONFLICT
    assert claimed.as_json() == answer.as_json()


@pytest.mark.parametrize(
    ("account", "by", "code"),
    [
        ("nowhere", ADMIN, ErrorCode.NOT_FOUND),
        ("acme", ZOE, ErrorCode.NOT_AUTHORIZED),
        ("solo", "sue@solo.example", ErrorCode.TARGET_NOT_PAID),
    ],
)
async def test_a_review_is_for_those_who_may_invite(
    scenario: StoreScenario, account: str, by: str, code: ErrorCode
) -> None:
    """INV-1."""
    with pytest.raises(Refused) as refused:
        await scenario.store.pages.invitations.review(account, by, [])
    assert refused.value.code is code


async def test_the_rows_of_a_batch_are_read_page_by_page(scenario: StoreScenario) -> None:
    """REM-3: with their results, and only by their own account; recent batches are listed."""
    store = scenario.store
    rows = [
        BatchRow(position=number, person=Person(email=f" p{number}@example.com"))
        for number in range(5)
    ]
    batch = Batch(batch_id="spring", account="acme", by=ADMIN)
    await store.batches.file(batch, request_digest("acme", ADMIN, 0, rows), rows, NOON)
    invite = scenario.new_invite("p0@example.com")
    await scenario.send(invite)
    outcome = RowOutcome(position=0, result="already_invited", invitation_id=invite.invitation_id)
    await store.batches.keep("spring", [outcome])
    first = await store.pages.invitations.batch("acme", "spring", None, 3, None)
    assert (first.progress.total, first.progress.done, first.next_cursor) == (5, 1, 2)
    assert first.rows[0].key == invite.key
    assert first.rows[0].state is InvitationState.PENDING
    assert first.rows[1].result is None
    second = await store.pages.invitations.batch("acme", "spring", None, 3, first.next_cursor)
    assert [row.email for row in second.rows] == ["p3@example.com", "p4@example.com"]
    only = await store.pages.invitations.batch("acme", "spring", "already_invited", 3, None)
    assert [row.position for row in only.rows] == [0]
    for other, name in (("zeta", "spring"), ("acme", "autumn")):
        with pytest.raises(Refused) as refused:
            await store.pages.invitations.batch(other, name, None, 3, None)
        assert refused.value.code is ErrorCode.NOT_FOUND
    at = NOON + timedelta(hours=1)
    listed = await store.pages.invitations.page(
        "acme", EVERYTHING, PageRequest(), quiet_before=NOON, at=at
    )
    assert [(each.batch_id, each.progress.done) for each in listed.batches] == [("spring", 1)]
    assert (await page(store)).batches == ()
