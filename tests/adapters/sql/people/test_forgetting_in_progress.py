"""Batches and reminders in progress do not write a forgotten person back (OPS-9)."""

import asyncio
from datetime import timedelta

import pytest

from activities.reminder import InviterToNotify
from domain.batch import Batch, BatchRow, RowOutcome
from domain.error import ErrorCode, Refused
from domain.invitation import Invite, Person
from domain.journal import OPERATOR
from domain.letter.reminder import DigestLetter, digest_letter
from domain.outbox import REPLACE
from domain.person import Forgotten, is_pseudonym
from domain.remedy import Removal
from domain.reminder import ReminderRun
from tests.builders.account import ADMIN, NOON, OWNER
from tests.builders.invitation import StoreScenario, ended
from tests.builders.person import LATE, LATER, dump, traces

DAY = timedelta(days=1)
BATCH = Batch(batch_id="spring", account="acme", by=ADMIN, author=f"operator Ann for {ADMIN}")
NOT_AUTHORIZED = Refused(ErrorCode.NOT_AUTHORIZED, f"{ADMIN} is neither owner nor admin of acme.")
RUN = ReminderRun(run_id="run-1", started_at=NOON + 3 * DAY, by="operator ann@ops.example")
PAT, KIT = "pat@person.example", "kit@person.example"


async def file(scenario: StoreScenario, *emails: str) -> None:
    rows = [BatchRow(position=n, person=Person(email=email)) for n, email in enumerate(emails)]
    await scenario.store.batches.file(BATCH, "digest", rows, NOON)


async def remove(scenario: StoreScenario, email: str) -> None:
    await scenario.store.remedies.remove_user("acme", email, Removal.DELETE, LATER)


async def forget(scenario: StoreScenario, email: str) -> Forgotten:
    return await scenario.store.people.forget(email, LATE, by=OPERATOR)


async def assert_refused(scenario: StoreScenario, email: str, message: str) -> None:
    """Check that the person is not forgotten, and that nothing is changed."""
    before = await dump(scenario.engine)
    with pytest.raises(Refused) as refused:
        await forget(scenario, email)
    assert (refused.value.code, refused.value.message) == (ErrorCode.CONFLICT, message)
    assert await dump(scenario.engine) == before


async def assert_nothing_about(scenario: StoreScenario, email: str) -> None:
    assert traces(await dump(scenario.engine), email) == {}


async def test_the_requester_of_a_running_batch_is_not_forgotten(scenario: StoreScenario) -> None:
    """OPS-9, REM-3: its rows would be refused with the requester's address."""
    await file(scenario, PAT, KIT)
    await remove(scenario, ADMIN)
    running = f"The batch spring, which names {ADMIN}, still has to finish."
    await assert_refused(scenario, ADMIN, running)
    refused = [
        RowOutcome(position=n, result="refused", error=NOT_AUTHORIZED.as_json()) for n in (0, 1)
    ]
    await scenario.store.batches.keep("spring", refused[:1])
    await assert_refused(scenario, ADMIN, running)
    await scenario.store.batches.keep("spring", refused[1:])
    assert (await forget(scenario, ADMIN)).forgotten["bulk_rows"] == 2
    await assert_nothing_about(scenario, ADMIN)


async def test_a_late_attempt_of_a_batch_replaces_no_result(scenario: StoreScenario) -> None:
    """OPS-9, REM-3: a worker may not notice for a while that its attempt was given up."""
    await file(scenario, PAT)
    already = Refused(ErrorCode.ALREADY_MEMBER, f"{PAT} is on acme already.").as_json()
    outcome = RowOutcome(position=0, result="refused", error=already)
    await scenario.store.batches.keep("spring", [outcome])
    await forget(scenario, PAT)
    await scenario.store.batches.keep("spring", [outcome])
    await assert_nothing_about(scenario, PAT)


async def test_a_requester_who_has_left_files_no_batch(scenario: StoreScenario) -> None:
    """OPS-9, INV-1: they may have been forgotten since the request was checked."""
    await scenario.store.invitations.authorize_inviter("acme", ADMIN)
    await remove(scenario, ADMIN)
    await forget(scenario, ADMIN)
    with pytest.raises(Refused) as refused:
        await file(scenario, PAT)
    assert refused.value.code is ErrorCode.NOT_AUTHORIZED
    await assert_nothing_about(scenario, ADMIN)


async def test_the_inviter_of_a_claim_is_not_forgotten(scenario: StoreScenario) -> None:
    """OPS-9, INV-15: the workflow that is being started would write the address."""
    invite = scenario.new_invite(PAT)
    await scenario.claim(invite)
    await remove(scenario, ADMIN)
    await assert_refused(
        scenario,
        ADMIN,
        f"An invitation into acme, which names {ADMIN}, is being started: "
        "repeat the command in a few minutes.",
    )
    await scenario.store.invitations.bind(invite.invitation_id, "run")
    # From here on the workflow is replaced.
    await forget(scenario, ADMIN)
    assert {row.key for row in await scenario.store.outbox.listed()} == {
        f"{REPLACE}{invite.workflow_id}"
    }
    await assert_nothing_about(scenario, ADMIN)


async def test_a_reminder_run_keeps_the_pseudonym_of_its_author(scenario: StoreScenario) -> None:
    """OPS-9, REM-1: its workflow writes the run several times."""
    await scenario.store.reminders.keep(RUN)
    await forget(scenario, "ann@ops.example")
    await scenario.store.reminders.keep(RUN.model_copy(update={"found": 3}))
    [run] = await scenario.store.reminders.runs()
    assert (run.found, is_pseudonym(run.by)) == (3, True)
    await assert_nothing_about(scenario, "ann@ops.example")


async def digests(scenario: StoreScenario) -> list[DigestLetter]:
    """Return the digests of acme, as a reminder run reads them before it queues them."""
    return [
        _digest(inviter)
        for inviter in await scenario.store.reminders.inviters_to_notify("acme", "run-1", NOON)
    ]


def _digest(inviter: InviterToNotify) -> DigestLetter:
    return digest_letter(
        inviter.reader,
        inviter.account,
        inviter.account_name,
        inviter.invitations,
        id=f"digest.{inviter.reader.email[:2]}.run-1",
        contact=inviter.contact,
    )


async def queued(scenario: StoreScenario, read: list[DigestLetter]) -> list[tuple[str, list[str]]]:
    """Queue the digests; return the readers with the invitees, as they are in the outbox."""
    number = await scenario.store.reminders.queue_digests("acme", read)
    found = list[tuple[str, list[str]]]()
    for digest in read:
        if row := await scenario.store.letters.queued(digest.id):
            assert isinstance(row.letter, DigestLetter)
            found.append((row.letter.reader.email, [each.email for each in row.letter.invitations]))
    assert len(found) == number
    return found


async def decline(scenario: StoreScenario, invite: Invite) -> None:
    stored = await scenario.store.invitations.by_id(invite.invitation_id)
    assert stored
    await scenario.store.invitations.end(invite.invitation_id, ended(stored.invitation))


async def test_a_digest_does_not_name_an_invitee_who_was_forgotten_meanwhile(
    scenario: StoreScenario,
) -> None:
    """OPS-9, REM-2: nor one whose invitation has ended; without invitees it is not queued."""
    pat, kit = scenario.new_invite(PAT), scenario.new_invite(KIT, by=ADMIN)
    own = scenario.new_invite("own@person.example", by=OWNER)
    for invite in (pat, kit, own):
        await scenario.send(invite)
    read = await digests(scenario)
    assert len(read) == 2
    for invite in (pat, own):
        await decline(scenario, invite)
        await forget(scenario, invite.email)
    assert await queued(scenario, read) == [(ADMIN, [KIT])]
    await assert_nothing_about(scenario, PAT)


async def test_a_digest_neither_goes_to_nor_names_an_inviter_who_was_forgotten_meanwhile(
    scenario: StoreScenario,
) -> None:
    """OPS-9, REM-2, TXT-4: the other admin's digest has them as the contact."""
    await scenario.send(scenario.new_invite(PAT, by=ADMIN))
    await scenario.send(scenario.new_invite(KIT, by=OWNER))
    read = await digests(scenario)
    assert {each.contact and each.contact.email for each in read} == {ADMIN, OWNER}
    await remove(scenario, ADMIN)
    await forget(scenario, ADMIN)
    assert await queued(scenario, read) == [(OWNER, [KIT])]
    await assert_nothing_about(scenario, ADMIN)


async def test_in_any_order_a_digest_names_nobody_who_is_forgotten(
    scenario: StoreScenario,
) -> None:
    """OPS-9: one transaction waits for the other."""
    for number in range(5):
        invite = scenario.new_invite(f"ned{number}@person.example")
        await scenario.send(invite)
        read = [
            each.model_copy(update={"id": f"digest.{number}.run-1"})
            for each in await digests(scenario)
        ]
        await decline(scenario, invite)
        await asyncio.gather(
            scenario.store.reminders.queue_digests("acme", read), forget(scenario, invite.email)
        )
        await assert_nothing_about(scenario, invite.email)
