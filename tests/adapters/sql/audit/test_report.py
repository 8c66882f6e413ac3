"""The audit sees what is broken, whoever broke it (AUD)."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.invitation import Choice, License
from domain.refund import PartState
from tests.builders.assignment import assigned, crew, named, pools
from tests.builders.invitation import NOON, OWNER, ZOE, Town, ended
from tests.builders.refund import PAULA, accepted, refunding, told

UNGUARDED = {
    "sqlite": [
        "PRAGMA ignore_check_constraints = ON",
        "DROP TRIGGER transfers_refuse_UPDATE",
        "DROP TRIGGER transfers_refuse_DELETE",
    ],
    "postgresql": [
        "ALTER TABLE license_pools DROP CONSTRAINT ck_license_pools_free",
        "ALTER TABLE invitations DROP CONSTRAINT ck_invitations_seat",
        "ALTER TABLE balances DROP CONSTRAINT ck_balances_overdrawn",
        "DROP TRIGGER transfers_refuse_change ON transfers",
    ],
}


async def execute(engine: AsyncEngine, *statements: str) -> None:
    async with engine.begin() as connection:
        for statement in statements:
            await connection.execute(text(statement))


async def broken(town: Town, *statements: str) -> set[tuple[str, str]]:
    """The rules and subjects that the audit names after that."""
    await execute(town.engine, *UNGUARDED[town.engine.dialect.name], *statements)
    found = (await town.store.audit()).violations
    assert all(violation.message for violation in found)
    return {(violation.rule, violation.subject) for violation in found}


async def test_a_sound_store_has_no_violations(town: Town) -> None:
    await town.joined(town.invite("sue@solo.example", license=License.LICENSED))
    refused = town.invite("no@person.example")
    await town.store.invitations.end(refused.invitation_id, ended(await town.pending(refused)))
    report = await town.store.audit()
    assert report.violations == ()
    assert report.checked == {
        "accounts": 5,
        "memberships": 9,
        "invitations": 2,
        "pools": 5,
        "holders": 0,
        "subscriptions": 0,
        "transfers": 0,
        "settlements": 0,
        "refunds": 0,
        "orders": 0,
    }


async def test_a_pool_that_is_overdrawn_is_named(town: Town) -> None:
    found = await broken(town, "UPDATE license_pools SET bought = 0 WHERE account_id = 'acme'")
    assert found == {("ASG-6", "acme")}


async def test_counters_that_do_not_count_their_rows_are_named(town: Town) -> None:
    found = await broken(
        town, "UPDATE license_pools SET assigned = 2, reserved = 1 WHERE account_id = 'acme'"
    )
    assert found == {("AUD", "acme"), ("INV-15", "acme")}


async def test_a_seat_held_by_an_ended_invitation_is_named(town: Town) -> None:
    invite = town.invite("no@person.example", license=License.LICENSED)
    await town.store.invitations.end(invite.invitation_id, ended(await town.pending(invite)))
    found = await broken(
        town,
        "UPDATE license_pools SET reserved = 1 WHERE account_id = 'acme'",
        "UPDATE invitations SET seat_reserved = true",
    )
    assert found == {("INV-15", invite.invitation_id)}


async def test_a_user_on_two_accounts_is_named(town: Town) -> None:
    found = await broken(
        town,
        "DROP INDEX one_account_a_person",
        "INSERT INTO memberships (account_id, email, role, licensed, origin)"
        f" VALUES ('zeta', '{OWNER}', 'member', false, 'import')",
    )
    assert found == {("AUD", OWNER)}


async def test_an_acceptance_without_its_membership_is_named(town: Town) -> None:
    """INV-11: and the membership that points at it for somebody else."""
    invite = town.invite("new@person.example")
    await town.joined(invite)
    found = await broken(
        town,
        "UPDATE memberships SET account_id = 'zeta' WHERE origin = 'invitation'",
    )
    assert found == {("INV-11", invite.invitation_id), ("AUD", "new@person.example")}


async def test_a_membership_whose_invitation_was_not_accepted_is_named(town: Town) -> None:
    await town.joined(town.invite("new@person.example"))
    found = await broken(town, "UPDATE invitations SET state = 'pending', ended_at = NULL")
    assert found == {("AUD", "new@person.example")}


async def test_a_person_who_has_left_again_is_no_violation(town: Town) -> None:
    """AUD: a membership or a recorded leaving."""
    await town.joined(town.invite("new@person.example"))
    assert not await broken(
        town,
        f"UPDATE memberships SET until = '{NOON:%Y-%m-%d %H:%M:%S}', leaving = 'unlink'"
        " WHERE origin = 'invitation'",
    )


async def test_a_leaving_for_an_invitation_that_was_not_accepted_is_named(town: Town) -> None:
    """AUD: a leaving is recorded with what it was for."""
    await town.pending(town.invite("lee@crowd.example"))
    found = await broken(
        town,
        f"UPDATE memberships SET until = '{NOON:%Y-%m-%d %H:%M:%S}',"
        " leaving = 'invitation:' || (SELECT invitation_id FROM invitations)"
        " WHERE email = 'lee@crowd.example'",
    )
    assert found == {("AUD", "lee@crowd.example")}


async def test_a_user_who_was_unlinked_from_nowhere_is_named(town: Town) -> None:
    """AUD: no current membership without its origin."""
    found = await broken(
        town,
        f"UPDATE memberships SET origin = 'unlink', since = '{NOON:%Y-%m-%d %H:%M:%S}'"
        " WHERE email = 'sue@solo.example'",
    )
    assert found == {("AUD", "sue@solo.example")}


async def test_a_superseded_invitation_without_a_winner_is_named(town: Town) -> None:
    """INV-14: and no seat, settlement or refund is held by one."""
    invite, _ = await accepted(town)
    other = town.invite("new@person.example", into="zeta", by=ZOE)
    await town.pending(other)
    found = await broken(
        town,
        "UPDATE invitations SET state = 'superseded', ended_at = claimed_at",
    )
    assert found == {
        ("INV-14", invite.invitation_id),
        ("INV-14", other.invitation_id),
        ("AUD", PAULA),
        ("QUO-4", invite.invitation_id),
        ("REF-5", f"rf-{invite.invitation_id}"),
    }


async def test_a_closed_account_with_users_or_a_live_subscription_is_named(town: Town) -> None:
    found = await broken(
        town,
        "UPDATE accounts SET state = 'closed' WHERE id IN ('solo', 'zeta')",
        "UPDATE memberships SET until = '2026-01-01 00:00:00', leaving = 'x', licensed = false"
        " WHERE account_id = 'zeta'",
        "UPDATE license_pools SET assigned = 0 WHERE account_id = 'zeta'",
        "INSERT INTO subscriptions (account_id, id, position, product, kind, quantity, cycle,"
        " period_start, period_end, cancellation_pending, discount, tax) VALUES ('zeta', 's', 0,"
        " 'P', 'plan', 1, 'annual', '2026-01-01', '2027-01-01', false, '0', '0')",
    )
    assert found == {("SRC-2", "solo"), ("SRC-2", "zeta")}


async def holding(town: Town) -> None:
    """Ann and Ben hold a license each, Cid waits for one."""
    await crew(town, "ann", "ben", "cid", pools=pools(c500=2))
    await assigned(town, "ann", "ben", "cid")


async def test_an_addon_pool_that_does_not_count_its_holders_is_named(town: Town) -> None:
    await holding(town)
    found = await broken(town, "UPDATE license_pools SET assigned = 1 WHERE capacity = 500")
    # And so a license is free, for which somebody waits.
    assert found == {("AUD", "crew"), ("ASG-5", named("cid"))}


async def test_a_promised_addon_is_named(town: Town) -> None:
    await holding(town)
    found = await broken(
        town, "UPDATE license_pools SET reserved = 1, bought = 3 WHERE capacity = 500"
    )
    assert found == {("AUD", "crew")}


async def test_a_holder_without_a_base_license_is_named(town: Town) -> None:
    """ASG-1: and one whose meetings are of another size (ASG-3)."""
    await holding(town)
    found = await broken(
        town,
        f"UPDATE memberships SET licensed = false WHERE email = '{named('ann')}'",
        "UPDATE license_pools SET assigned = 2 WHERE account_id = 'crew' AND capacity = 0",
        f"UPDATE meetings SET capacity = NULL WHERE host = '{named('ben')}'",
    )
    assert found == {("ASG-1", named("ann")), ("ASG-3", named("ben"))}


async def test_a_holder_who_has_left_is_named(town: Town) -> None:
    await holding(town)
    found = await broken(
        town,
        "UPDATE memberships SET until = '2026-03-02 00:00:00', leaving = 'delete'"
        f" WHERE email = '{named('ann')}'",
        "UPDATE license_pools SET assigned = 2 WHERE account_id = 'crew' AND capacity = 0",
    )
    assert found == {("ASG-1", named("ann"))}


async def test_a_user_with_two_capacities_is_named(town: Town) -> None:
    """ASG-4: through a membership that they have left."""
    await holding(town)
    found = await broken(
        town,
        "INSERT INTO memberships (id, account_id, email, role, licensed, origin, until, leaving)"
        f" VALUES (99, 'crew', '{named('ann')}', 'member', true, 'import',"
        " '2026-03-02 00:00:00', 'delete')",
        "INSERT INTO held_licenses VALUES"
        " (99, 'crew', 'large-meeting', 500, '2026-03-02 00:00:00')",
        "UPDATE license_pools SET assigned = 3, bought = 3 WHERE capacity = 500",
    )
    assert found == {("ASG-4", named("ann")), ("ASG-1", named("ann"))}


async def test_an_entry_that_was_changed_is_named(town: Town) -> None:
    """CRD-4: on both sides."""
    await accepted(town, Choice.TRANSFER)
    found = await broken(town, "UPDATE transfers SET amount = amount + 1 WHERE kind = 'transfer'")
    assert found == {("CRD-4", "prepaid/paid"), ("CRD-4", "credit/acme"), ("CRD-1", "prepaid/paid")}


async def test_an_entry_that_was_taken_away_is_named(town: Town) -> None:
    await accepted(town, Choice.TRANSFER)
    found = await broken(town, "DELETE FROM transfers WHERE kind = 'earned'")
    assert found == {("CRD-4", "prepaid/paid"), ("CRD-4", "revenue/paid")}


async def test_a_balance_that_was_changed_is_named(town: Town) -> None:
    await accepted(town, Choice.TRANSFER)
    found = await broken(
        town, "UPDATE balances SET amount = amount + 1 WHERE ledger_account = 'credit/acme'"
    )
    assert found == {("CRD-4", "EUR"), ("CRD-4", "credit/acme")}


async def test_a_paid_account_without_its_settlement_is_named(town: Town) -> None:
    invite, _ = await accepted(town)
    found = await broken(town, "DELETE FROM settlements")
    assert found == {("QUO-4", invite.invitation_id)}


async def test_a_settlement_of_nobody_is_named(town: Town) -> None:
    invite, _ = await accepted(town)
    other = town.invite("new@person.example")
    await town.joined(other)
    found = await broken(
        town,
        "INSERT INTO settlements SELECT"
        f" '{other.invitation_id}', account_id, kind, quote FROM settlements",
    )
    assert found == {("QUO-4", other.invitation_id)}
    assert other.invitation_id != invite.invitation_id


async def test_a_refund_that_its_entries_do_not_bear_out_is_named(town: Town) -> None:
    order, refund = await refunding(town)
    await town.store.refunds.book(
        order, told(refund, PartState.SUCCEEDED, PartState.SUCCEEDED), NOON
    )
    found = await broken(
        town,
        "DELETE FROM transfers WHERE id LIKE 'refunded/%/bank-1'",
        "UPDATE balances SET amount = amount + 100000 WHERE ledger_account LIKE 'refund_due/%'",
        "UPDATE balances SET amount = amount - 100000 WHERE ledger_account = 'methods/paid'",
    )
    assert found == {("REF-5", order.refund_id)}


async def test_a_payment_that_is_returned_twice_is_named(town: Town) -> None:
    """REF-5: by the provider, whatever the ledger says."""
    await accepted(town)
    one = "'{0}', '{0}', 'paid', 'card-1', 'EUR', 400000, '2026-03-03 00:00:00', 'succeeded', NULL"
    found = await broken(
        town,
        *(f"INSERT INTO provider_refunds VALUES ({one.format(key)})" for key in ("a", "b")),
    )
    assert found == {("REF-5", "paid/card-1")}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE license_pools SET bought = 0 WHERE account_id = 'acme'",
        "UPDATE license_pools SET reserved = -1 WHERE account_id = 'acme'",
        "UPDATE memberships SET email = 'olga@acme.example' WHERE email = 'sue@solo.example'",
        "UPDATE memberships SET role = 'owner' WHERE email = 'adam@acme.example'",
        "UPDATE memberships SET until = '2026-01-01 00:00:00' WHERE account_id = 'acme'",
        "UPDATE memberships SET origin = 'invitation' WHERE account_id = 'acme'",
        "UPDATE memberships SET account_id = 'nobody' WHERE account_id = 'acme'",
    ],
)
async def test_what_must_be_true_is_kept_by_the_database_itself(town: Town, statement: str) -> None:
    with pytest.raises(IntegrityError):
        await execute(town.engine, statement)
