"""Sign-in links and sessions, on both databases."""

import asyncio
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select

from adapters.sql.database.schema import SessionRow, SignInLinkRow
from adapters.sql.database.transaction import reading
from adapters.sql.session import KEPT
from adapters.sql.store import SqlStore
from domain.letter.base import Reader
from domain.letter.sign_in import SignInLetter
from domain.outbox import QueuedLetter
from domain.session import LINK_LASTS, SESSION_LASTS, SignInLink
from tests.builders.account import ADMIN, NOON
from tests.builders.invitation import StoreScenario

STRANGER = "stranger@nowhere.example"
SECOND = timedelta(seconds=1)


async def request(store: SqlStore, email: str, at: datetime, *, operator: bool = False) -> str:
    """Request a link; return its id."""
    link = SignInLink(id=f"link-of-{email}", email=email, next=None)
    letter = SignInLetter(id=f"sign_in.{link.id}", reader=Reader(email=email))
    queued = QueuedLetter(letter=letter, sign_in=link.id)
    await store.sessions.request_link(link, queued, at, operator=operator)
    return link.id


async def rows(store: SqlStore, table: type[SessionRow] | type[SignInLinkRow]) -> int:
    async with reading(store.engine) as session:
        return await session.scalar(select(func.count()).select_from(table)) or 0


async def test_a_link_opens_one_session_whatever_runs_at_once(store: SqlStore) -> None:
    """The update of the link and the session are one transaction."""
    link = await request(store, ADMIN, NOON)
    used = await asyncio.gather(
        *(store.sessions.use_link(link, f"session-{number}", NOON) for number in range(5))
    )
    assert len([each for each in used if each]) == 1
    assert len(await store.sessions.listed(ADMIN, NOON)) == 1


async def test_links_and_sessions_end_at_their_last_moment(store: SqlStore) -> None:
    """Exactly then they are over."""
    link = await request(store, ADMIN, NOON)
    assert await store.sessions.link(link, NOON + LINK_LASTS) is None
    assert await store.sessions.use_link(link, "late", NOON + LINK_LASTS) is None
    assert await store.sessions.use_link(link, "session", NOON + LINK_LASTS - SECOND)
    opened_at = NOON + LINK_LASTS - SECOND
    assert await store.sessions.find("session", opened_at + SESSION_LASTS - SECOND)
    assert await store.sessions.find("session", opened_at + SESSION_LASTS) is None


async def test_only_those_who_administer_or_operate_get_the_link(scenario: StoreScenario) -> None:
    """It is decided when the e-mail is sent, also for an admin who was removed meanwhile."""
    store, now = scenario.store, datetime.now(UTC)
    admin = await request(store, ADMIN, now)
    requested = await store.letters.requested_sign_in(admin)
    assert requested is not None
    assert requested.account_name is not None
    assert requested.reader.email == ADMIN
    stranger = await request(store, STRANGER, now)
    assert await store.letters.requested_sign_in(stranger) is None
    operator = await request(store, "operator@seatflow.example", now, operator=True)
    requested = await store.letters.requested_sign_in(operator)
    assert requested is not None
    assert requested.account_name is None
    await store.sessions.use_link(admin, "session", now)
    assert await store.letters.requested_sign_in(admin) is None
    late = await request(store, "late@seatflow.example", now - LINK_LASTS, operator=True)
    assert await store.letters.requested_sign_in(late) is None


async def test_rows_that_ended_a_day_ago_are_deleted(store: SqlStore) -> None:
    """By the next sign-in."""
    await request(store, ADMIN, NOON)
    await store.sessions.open("session", ADMIN, NOON)
    await request(store, STRANGER, NOON + LINK_LASTS + KEPT + SECOND)
    assert (await rows(store, SignInLinkRow), await rows(store, SessionRow)) == (1, 1)
    await store.sessions.open("other", STRANGER, NOON + SESSION_LASTS + KEPT + SECOND)
    assert await rows(store, SessionRow) == 1


async def test_a_forgotten_person_has_no_link_and_no_session(store: SqlStore) -> None:
    """OPS-9: they are named by an access request before, and gone afterwards."""
    await request(store, STRANGER, NOON)
    await store.sessions.open("session", STRANGER, NOON)
    exported = await store.people.export(STRANGER)
    assert {"sessions", "sign_in_links", "announcements"} == exported.records.keys()
    forgotten = await store.people.forget(STRANGER, NOON, by="operator")
    assert forgotten.forgotten == {"announcements": 1, "sessions": 1, "sign_in_links": 1}
    assert forgotten.kept == {}
    assert await store.sessions.find("session", NOON) is None
