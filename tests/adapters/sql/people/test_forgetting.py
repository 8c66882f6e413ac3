"""A person who has left is taken out of every row of the store (OPS-9)."""

import asyncio
import re
from datetime import timedelta

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from adapters.sql.database.schema import OutboxRow, TransferRow
from adapters.sql.database.transaction import reading
from domain.error import ErrorCode, Refused
from domain.invitation import Choice, Invite
from domain.journal import ENGINE, OPERATOR
from domain.outbox import REPLACE
from domain.person import Forgotten, is_pseudonym
from domain.refund import PartState, Refund
from domain.remedy import Removal
from states.invitation import InvitationMachine
from states.lifecycle import after
from states.refund import RefundMachine, initial_record
from tests.builders import whole_store
from tests.builders.account import account, directory
from tests.builders.invitation import StoreScenario, ended
from tests.builders.person import LATE, LATER, NINA, dump, fill, traces
from tests.builders.refund import (
    PAULA,
    accept_as_owner,
    book,
    import_paid_account,
    with_part_states,
)

OTHERS = ("joannina@nord.example.org",)
NOTHING = Forgotten(forgotten={}, kept={})


async def forget(scenario: StoreScenario, email: str = NINA) -> Forgotten:
    return await scenario.store.people.forget(email, LATE, by=OPERATOR)


async def refusal(scenario: StoreScenario, email: str) -> tuple[str, str]:
    """Return code and message; check that nothing was changed."""
    before = await dump(scenario.engine)
    with pytest.raises(Refused) as refused:
        await forget(scenario, email)
    assert await dump(scenario.engine) == before
    return refused.value.code.value, refused.value.message


async def test_nothing_is_left_of_a_person_who_was_everywhere(scenario: StoreScenario) -> None:
    """OPS-9: no table has the address, a name or content of the person; amounts stay."""
    await fill(scenario)
    before = await dump(scenario.engine)
    assert traces(before).keys() >= {
        "accounts", "announcements", "assignment_requests", "assignments", "bulk_rows", "changes",
        "divergences", "invitations", "memberships", "moved_items", "orders",
        "people", "problems", "refunds", "transfers",
    }  # fmt: skip
    assert (await scenario.store.audit()).violations == ()
    result = await forget(scenario)
    left = await dump(scenario.engine)
    found = [line for lines in traces(left).values() for line in lines]
    assert [line for line in found if not any(other in line for other in OTHERS)] == []
    assert (await scenario.store.audit()).violations == ()
    assert len(before["transfers"].splitlines()) == len(left["transfers"].splitlines())
    for table in ("balances", "payments", "subscriptions", "settlements"):
        assert before[table] == left[table]
    assert result.forgotten.keys() >= {"invitations", "memberships", "orders", "announcements"}
    assert result.kept["invitations"] >= 2


async def test_forgetting_again_changes_nothing(scenario: StoreScenario) -> None:
    """OPS-9: it is idempotent, also for a person whom the store never knew."""
    await fill(scenario)
    await forget(scenario)
    before = await dump(scenario.engine)
    assert await forget(scenario) == NOTHING
    assert await forget(scenario, "nobody@person.example") == NOTHING
    assert await dump(scenario.engine) == before


async def test_records_keep_amounts_dates_and_states(scenario: StoreScenario) -> None:
    """OPS-9: the records of the person have a pseudonym, and are otherwise the same."""
    invites = await fill(scenario)
    accepted = invites["accepted"].invitation_id
    before = await scenario.store.invitations.by_id(accepted)
    await forget(scenario)
    kept = await scenario.store.invitations.by_id(accepted)
    assert before
    assert kept
    assert is_pseudonym(kept.invitation.email)
    assert kept.ordered.email == kept.invitation.email
    assert kept.invitation.workflow_id == kept.ordered.workflow_id != before.ordered.workflow_id
    own = {"email", "workflow_id"}
    assert kept.invitation.model_dump(exclude=own) == before.invitation.model_dump(exclude=own)
    assert kept.invitation.settlement
    refund = await scenario.store.refunds.latest(str(kept.invitation.settlement.refund_id))
    assert refund.state == "settled"
    assert (await scenario.account("n-1")).name == kept.invitation.email.partition("@")[0]


async def test_a_later_invitation_starts_fresh(scenario: StoreScenario) -> None:
    """OPS-9: the earlier invitations are not found by the address or its hash."""
    await fill(scenario)
    await forget(scenario)
    assert await scenario.store.invitations.latest("acme", NINA) is None
    invite = scenario.new_invite(NINA)
    await scenario.send_and_accept(invite)
    found = await scenario.store.invitations.latest("acme", NINA)
    assert found
    assert found.invitation_id == invite.invitation_id
    assert (await scenario.store.audit()).violations == ()
    await scenario.store.remedies.remove_user("acme", NINA, Removal.DELETE, LATE)
    assert (await forget(scenario)).kept["invitations"] == 1
    assert (await scenario.store.audit()).violations == ()


async def test_workflows_that_know_the_person_are_replaced(scenario: StoreScenario) -> None:
    """OPS-9: an open order and an open invitation to another person would write the address."""
    await fill(scenario)
    await forget(scenario)
    async with reading(scenario.engine) as session:
        keys = await session.scalars(select(OutboxRow.key).where(OutboxRow.key.startswith(REPLACE)))
        replaced = {key.removeprefix(REPLACE).partition("/o-")[0] for key in keys if key}
    assert replaced == {
        "invitation/acme/key-of-pat@person.example",
        "invitation/acme/key-of-kim@crowd.example",
        "addon/acme",
    }


async def test_letters_of_a_forgotten_person_are_not_queued(scenario: StoreScenario) -> None:
    """OPS-9, REF-4: a late success of a closed refund notifies only those who are known."""
    _, requested = await _leave_with_refund(scenario)
    closed = await _close(scenario, requested)
    await forget(scenario, PAULA)
    await scenario.take_letters()
    stored = await scenario.store.refunds.latest(closed.refund_id)
    arrived = with_part_states(stored, *[PartState.SUCCEEDED] * len(stored.parts))
    settled = after(RefundMachine, arrived, "settle", at=LATE, by=ENGINE, settled_at=LATE)
    await book(scenario, settled, LATE)
    assert [to for to, _ in await scenario.take_letters() if is_pseudonym(to)] == []
    assert (await scenario.store.audit()).violations == ()


async def _leave_with_refund(scenario: StoreScenario) -> tuple[Invite, Refund]:
    """Accept as Paula with a refund that stays open, and remove her."""
    invite, kept = await accept_as_owner(scenario, Choice.REFUND)
    assert kept.refund
    record = kept.invitation
    for event in ("refund", "complete"):
        record = after(InvitationMachine, record, event, at=LATER, by=ENGINE)
        await scenario.store.invitations.record(invite.invitation_id, record)
    await scenario.store.remedies.remove_user("acme", PAULA, Removal.DELETE, LATER)
    return invite, initial_record(kept.refund)


async def _close(scenario: StoreScenario, requested: Refund) -> Refund:
    pending = with_part_states(requested, *[PartState.PENDING] * len(requested.parts))
    overdue = after(RefundMachine, pending, "fall_due", at=LATER, by=ENGINE)
    await book(scenario, overdue, LATER)
    given_up = with_part_states(overdue, *[PartState.CLOSED] * len(overdue.parts))
    closed = after(RefundMachine, given_up, "close", at=LATER, by=OPERATOR)
    await book(scenario, closed, LATER)
    return closed


async def test_a_user_is_not_forgotten(scenario: StoreScenario) -> None:
    """OPS-9: a person on an account is refused."""
    assert await refusal(scenario, "sue@solo.example") == (
        "conflict",
        "sue@solo.example is a user of solo: remove the user first.",
    )


async def test_an_invitee_is_not_forgotten(scenario: StoreScenario) -> None:
    """OPS-9: a person with a live invitation is refused until it has ended."""
    invite = scenario.new_invite("pat@person.example")
    record = await scenario.send(invite)
    code, message = await refusal(scenario, "pat@person.example")
    assert (code, "into acme is pending" in message) == ("conflict", True)
    await scenario.store.invitations.end(invite.invitation_id, ended(record))
    assert (await forget(scenario, "pat@person.example")).forgotten["invitations"] == 1


async def test_a_payee_of_an_open_refund_is_not_forgotten(scenario: StoreScenario) -> None:
    """OPS-9: a person who is owed money is refused until the refund is closed."""
    _, requested = await _leave_with_refund(scenario)
    assert await refusal(scenario, PAULA) == (
        "conflict",
        f"{PAULA} is owed money: the refund {requested.refund_id} is requested.",
    )
    await _close(scenario, requested)
    assert (await forget(scenario, PAULA)).forgotten["refunds"] == 1


async def test_the_former_owner_of_credit_is_not_forgotten(scenario: StoreScenario) -> None:
    """OPS-9, QUO-6: credit in another currency stays on the account that was left."""
    yen = {**account("yen", {"email": NINA, "role": "owner"}, plan="pro", credit="700")}
    await scenario.store.directory.import_(directory({**yen, "currency": "JPY"}))
    invite = scenario.new_invite(NINA)
    await scenario.send_and_accept(invite)
    await scenario.store.remedies.remove_user("acme", NINA, Removal.DELETE, LATER)
    assert await refusal(scenario, NINA) == (
        "conflict",
        f"{NINA} is owed money: credit/yen.",
    )


async def test_an_access_request_has_everything_about_one_person(scenario: StoreScenario) -> None:
    """OPS-9: all rows that forgetting would change, with other people masked."""
    await fill(scenario)
    exported = await scenario.store.people.export(NINA)
    forgotten = await forget(scenario)
    assert exported.email == NINA
    assert exported.records.keys() >= {*forgotten.forgotten, *forgotten.kept}
    text = exported.model_dump_json()
    assert "Kiruna" in text
    assert "adam@acme.example" not in text
    assert "a…@acme.example" in text
    assert "Otto" not in text
    with pytest.raises(Refused) as refused:
        await scenario.store.people.export(NINA)
    assert refused.value.code.value == "not_found"


async def test_people_are_forgettable_once_all_their_records_are_old(
    scenario: StoreScenario,
) -> None:
    """OPS-9: the last end counts; users and invitees never are."""
    await fill(scenario)
    people = scenario.store.people
    assert await people.forgettable(LATE) == [*OTHERS]
    assert await people.forgettable(LATE + timedelta(seconds=1)) == [*OTHERS, NINA]
    declined = scenario.new_invite("dee@person.example")
    record = await scenario.send(declined)
    await scenario.store.invitations.end(declined.invitation_id, ended(record))
    for email in await people.forgettable(LATE + timedelta(seconds=1)):
        await forget(scenario, email)
    assert await people.forgettable(LATE + timedelta(seconds=1)) == []
    assert (await scenario.store.audit()).violations == ()


async def test_a_person_is_forgotten_before_or_after_an_invitation(scenario: StoreScenario) -> None:
    """OPS-9, INV-3: in either order, no live invitation loses its address."""
    for number in range(5):
        invite = scenario.new_invite(f"ned{number}@person.example")
        record = await scenario.send(invite)
        await scenario.store.invitations.end(invite.invitation_id, ended(record))
        again = scenario.new_invite(invite.email)
        result, _ = await asyncio.gather(
            forget(scenario, invite.email), scenario.send(again), return_exceptions=True
        )
        stored = await scenario.store.invitations.latest("acme", invite.email)
        assert stored
        assert stored.invitation_id == again.invitation_id
        assert isinstance(result, Forgotten | Refused)
        first = await scenario.store.invitations.by_id(invite.invitation_id)
        assert first
        assert is_pseudonym(first.invitation.email) == isinstance(result, Forgotten)
    assert (await scenario.store.audit()).violations == ()


@pytest.mark.full
async def test_everybody_in_a_store_with_rows_in_every_table_can_be_forgotten(
    scenario: StoreScenario,
) -> None:
    """OPS-9: each person is refused with nothing changed, or is gone; the audit stays clean."""
    await whole_store.fill(scenario)
    before = (await scenario.store.audit()).violations
    people = sorted(
        {*re.findall(r"[a-z0-9.]+@[a-z0-9.]+", " ".join((await dump(scenario.engine)).values()))}
    )
    refused = set[str]()
    for email in people:
        try:
            await forget(scenario, email)
        except Refused as error:
            assert error.code is ErrorCode.CONFLICT
            refused.add(email)
        else:
            assert traces(await dump(scenario.engine), f"'{email}", f'"{email}') == {}
        assert (await scenario.store.audit()).violations == before
    assert {"max@rich.example", "stranger@person.example"} <= {*people} - refused
    assert {"pat@person.example", "later@person.example", "bill@bill.example"} <= refused


async def test_only_the_author_of_a_ledger_entry_can_be_replaced(scenario: StoreScenario) -> None:
    """OPS-9, CRD-1: the amounts, dates and parties of the ledger stay immutable."""
    await import_paid_account(scenario)
    async with scenario.engine.begin() as connection:
        columns = [column.name for column in TransferRow.__table__.columns if column.name != "by"]
        if columns == [*TransferRow.__table__.columns.keys()]:
            await connection.execute(text("ALTER TABLE transfers ADD COLUMN by TEXT"))
    async with scenario.engine.begin() as connection:
        changed = await connection.execute(text("UPDATE transfers SET by = 'forgotten'"))
        assert changed.rowcount > 0
    for column in columns:
        with pytest.raises(IntegrityError, match="immutable"):
            async with scenario.engine.begin() as connection:
                await connection.execute(text(f"UPDATE transfers SET {column} = {column}"))
