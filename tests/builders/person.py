"""A person in every place where the store can have one, and the text of a whole database."""

import re
from contextlib import suppress
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from activities.move import MoveItem
from adapters.sql.content import SqlContent
from adapters.sql.database.schema import Base
from domain.attention import Problem
from domain.author import Author
from domain.batch import Batch, BatchRow, RowOutcome
from domain.error import ErrorCode, Refused
from domain.invitation import Blocker, BlockerItem, Choice, Invite, Person
from domain.manifest import ItemStatus
from domain.reconciliation import Divergence, DivergenceKind
from domain.refund import PartState
from domain.remedy import Removal
from domain.reversal import FailedRefund
from states.invitation import InvitationMachine
from states.lifecycle import after
from states.refund import RefundMachine, initial_record
from tests.builders.account import ADMIN, NOON, OWNER, ZOE, account, directory, user
from tests.builders.assignment import HOSTED, assign, pools
from tests.builders.invitation import StoreScenario
from tests.builders.order import OrderScenario, an_order
from tests.builders.refund import LINE, book, with_part_states

NINA = "nina@nord.example"
WRITTEN = "Nina@NORD.example"
NAME = "Nina Nord"
TRACES = (NINA, NAME, "nord.example", "nina", "Fjord", "Kiruna", "hush")
"""Texts of which none may be left, in any case."""

LATER = NOON + timedelta(hours=2)
LATE = NOON + timedelta(days=9)


async def fill(scenario: StoreScenario) -> dict[str, Invite]:
    """Add Nina to every table, and remove her from her account; return her invitations."""
    store = scenario.store
    nord = account(
        "n-1",
        user(
            NINA,
            "owner",
            name=NAME,
            licensed=True,
            settings={"greeting": f"Hello from {NAME}", "theme": "light"},
            recordings=2,
            contacts=3,
            chat_messages=4,
            **HOSTED,
        ),
        plan="pro",
        subscriptions=[LINE],
        rooms=[{"id": "r", "name": "Nina's room"}],
        vanity_url="fjord",
        managed_domains=["nord.example"],
        locked_settings={"greeting": "from Nina"},
    )
    nord["name"] = "Fjord & Nina Nord"
    acme = account(
        "acme",
        plan="business",
        vanity_url="acme",
        locked_settings={"theme": "dark"},
        licenses=9,
        pools=pools(c500=1),
    )
    await store.directory.import_(directory(nord, acme), by=f"operator {NAME} for {NINA}")
    await store.remedies.remove_room("n-1", "r", NOON)
    declined = await _decline(scenario)
    accepted = await _accept(scenario)
    await _administer(scenario)
    await _list(scenario)
    await store.remedies.remove_user("acme", NINA, Removal.DELETE, LATE)
    return {"declined": declined, "accepted": accepted}


def _invite(scenario: StoreScenario, into: str, by: str) -> Invite:
    invite = scenario.new_invite(NINA, into=into, by=by, name=NAME, locale="sv")
    noted = {"mail_to": WRITTEN, "note": f"Welcome {NAME}, see you in Kiruna."}
    return invite.model_copy(update=noted)


async def _decline(scenario: StoreScenario) -> Invite:
    """Decline as Nina with a reason, and name her in a file of people, twice."""
    store, invite = scenario.store, _invite(scenario, "zeta", ZOE)
    record = await scenario.send(invite)
    reason = "I moved to Kiruna."
    by = Author(operator="Ann").acting_for_invitee(NINA)
    ended = after(InvitationMachine, record, "decline", at=LATER, by=by, note=reason)
    await store.invitations.end(invite.invitation_id, ended)
    batch = Batch(batch_id="spring", account="zeta", by=ZOE)
    rows = [
        BatchRow(position=0, person=Person(email=WRITTEN, name=NAME, locale="sv")),
        BatchRow(position=1, person=Person(email=f" {WRITTEN} ")),
        BatchRow(position=2, person=Person(email="joannina@nord.example.org", name="Nina")),
    ]
    await store.batches.file(batch, "digest", rows, NOON)
    refused = Refused(ErrorCode.ALREADY_MEMBER, f"{NINA} is on zeta already.").as_json()
    await store.batches.keep(
        "spring",
        [
            RowOutcome(position=0, result="invited", invitation_id=invite.invitation_id),
            RowOutcome(position=1, result="refused", error=refused),
            RowOutcome(position=2, result="refused", error=refused | {"message": "No."}),
        ],
    )
    return invite


async def _accept(scenario: StoreScenario) -> Invite:
    """Accept as Nina with a refund, which arrives, and move her data."""
    store, invite = scenario.store, _invite(scenario, "acme", ADMIN)
    kept = await scenario.join_account(invite, await scenario.send(invite), Choice.REFUND)
    content = SqlContent(scenario.engine, "meet.example")
    for item in kept.invitation.manifest:
        if item.unfinished:
            moved = await content.move(
                MoveItem(
                    invitation_id=invite.invitation_id, account="acme", email=NINA, item=item.item
                )
            )
            done = {"status": ItemStatus.MOVED, "count": moved.count, "changed": moved.changed}
            await store.invitations.record_item(invite.invitation_id, item.model_copy(update=done))
    assert kept.refund
    refund = initial_record(kept.refund)
    pending = with_part_states(refund, *[PartState.PENDING] * len(refund.parts))
    processing = after(RefundMachine, pending, "submit", at=LATER, by="seatflow", note=NAME)
    await book(scenario, processing, LATER)
    arrived = with_part_states(processing, *[PartState.SUCCEEDED] * len(refund.parts))
    await book(scenario, after(RefundMachine, arrived, "settle", at=LATER, by="seatflow"), LATER)
    stored = await store.invitations.by_id(invite.invitation_id)
    assert stored
    record = stored.invitation
    for event in ("refund", "complete"):
        record = after(InvitationMachine, record, event, at=LATER, by="seatflow")
        await store.invitations.record(invite.invitation_id, record)
    return invite


async def _administer(scenario: StoreScenario) -> None:
    """Invite, buy and assign as Nina, an admin of acme, and assign her a license."""
    await scenario.store.directory.import_(
        directory({**account("acme", user(NINA, "admin", licensed=True), plan="business")})
    )
    pat = scenario.new_invite("pat@person.example", by=NINA)
    record = await scenario.send(pat)
    resent = after(InvitationMachine, record, "resend", at=LATER, by=NINA, sent_count=2)
    await scenario.store.invitations.record(pat.invitation_id, resent)
    await OrderScenario(scenario).place(an_order(account="acme", bought_by=NINA))
    await assign(scenario, OWNER, account="acme", by=NINA)
    await assign(scenario, NINA, account="acme", by=ADMIN)


async def _list(scenario: StoreScenario) -> None:
    """Name Nina in the record of somebody else, and on the operators' list."""
    store = scenario.store
    kim = scenario.new_invite("kim@crowd.example")
    item = BlockerItem(kind="user", id=NINA, name=NAME)
    blocker = Blocker.of(
        [item, BlockerItem(kind="user", id="other@crowd.example", name="Otto")],
        code="1009",
        message="m",
        remedy="r",
        cleared_by="owner",
    )
    record = await scenario.send(kim)
    blocked = after(
        InvitationMachine, record, "block", at=LATER, by="seatflow", blockers=(blocker,)
    )
    await store.invitations.record(kim.invitation_id, blocked)
    await store.problems.report(
        Problem(key="addon/acme/o-1/run/3", since=NOON, message=f"550 <{WRITTEN}>: unknown user")
    )
    await store.restore.report(
        [
            Divergence.of(
                DivergenceKind.RECORD_MISSING,
                f"invitation/zeta/key-of-{NINA}",
                store=None,
                elsewhere="pending",
                account="zeta",
                run="r",
            )
        ]
    )
    with suppress(Refused):
        await store.reversals.report_failed_refund(
            FailedRefund(refund_id="rf-x", provider_id="x", reason=NAME, reported_at=LATE)
        )
    letters = [row for row in await store.outbox.lease(1000, timedelta(minutes=1)) if row.letter]
    for row in letters:
        await store.letters.record_failure(str(row.key), f"{WRITTEN} refused", final=True)


async def dump(engine: AsyncEngine) -> dict[str, str]:
    """Return the text of every table, as the database has it."""
    found: dict[str, str] = {}
    async with engine.connect() as connection:
        for name in Base.metadata.tables:
            rows = await connection.execute(text(f"SELECT * FROM {name}"))
            found[name] = "\n".join(sorted(repr(tuple(row)) for row in rows))
    return found


def traces(tables: dict[str, str], *texts: str) -> dict[str, list[str]]:
    """Return the lines of each table that contain one of the texts, in any case."""
    pattern = re.compile("|".join(map(re.escape, texts or TRACES)), re.IGNORECASE)
    found = {
        name: [line for line in lines.splitlines() if pattern.search(line)]
        for name, lines in tables.items()
    }
    return {name: lines for name, lines in found.items() if lines}
