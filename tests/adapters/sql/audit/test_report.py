"""The audit report names every inconsistency of the store, whatever its cause (AUD)."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.invitation import Choice, License
from domain.refund import PartState
from tests.builders.account import NOON, OWNER, ZOE
from tests.builders.assignment import LARGE, WEBINAR, assign, crew_email, import_crew, pools
from tests.builders.invitation import StoreScenario, ended
from tests.builders.order import OrderScenario
from tests.builders.refund import (
    PAULA,
    accept_as_owner,
    book,
    import_paid_account,
    request_refund,
    with_part_states,
)

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


async def violations_after(scenario: StoreScenario, *statements: str) -> set[tuple[str, str]]:
    """Execute these statements; return rule and subject of each violation."""
    await execute(scenario.engine, *UNGUARDED[scenario.engine.dialect.name], *statements)
    found = (await scenario.store.audit()).violations
    assert all(violation.message for violation in found)
    return {(violation.rule, violation.subject) for violation in found}


async def test_an_audit_reports_each_step(scenario: StoreScenario) -> None:
    """The last step is the last of all."""
    steps = list[tuple[int, int]]()
    await scenario.store.audit(lambda done, total: steps.append((done, total)))
    [total] = {total for _, total in steps}
    assert [done for done, _ in steps] == [*range(1, total + 1)]


async def test_a_consistent_store_has_no_violations(scenario: StoreScenario) -> None:
    """AUD: the report counts what it has checked."""
    await scenario.send_and_accept(
        scenario.new_invite("sue@solo.example", license=License.LICENSED)
    )
    refused = scenario.new_invite("no@person.example")
    await scenario.store.invitations.end(refused.invitation_id, ended(await scenario.send(refused)))
    report = await scenario.store.audit()
    assert report.violations == ()
    assert report.checked == {
        "accounts": 5,
        "managed_domains": 0,
        "memberships": 9,
        "invitations": 2,
        "pools": 5,
        "holders": 0,
        "subscriptions": 0,
        "transfers": 0,
        "settlements": 0,
        "refunds": 0,
        "orders": 0,
        "changes": 5,
        "journal_entries": 7,
    }


async def test_an_overdrawn_pool_is_named(scenario: StoreScenario) -> None:
    """ASG-6: more licenses are assigned than bought."""
    found = await violations_after(
        scenario, "UPDATE license_pools SET bought = 0 WHERE account_id = 'acme'"
    )
    assert found == {("ASG-6", "acme"), ("ADD-5", "acme")}


async def test_a_pool_with_wrong_counters_is_named(
    scenario: StoreScenario,
) -> None:
    """AUD, INV-15: assigned and reserved licenses differ from their rows."""
    found = await violations_after(
        scenario, "UPDATE license_pools SET assigned = 2, reserved = 1 WHERE account_id = 'acme'"
    )
    assert found == {("AUD", "acme"), ("INV-15", "acme")}


async def test_a_seat_held_by_an_ended_invitation_is_named(scenario: StoreScenario) -> None:
    """INV-15: every end releases the seat."""
    invite = scenario.new_invite("no@person.example", license=License.LICENSED)
    await scenario.store.invitations.end(invite.invitation_id, ended(await scenario.send(invite)))
    found = await violations_after(
        scenario,
        "UPDATE license_pools SET reserved = 1 WHERE account_id = 'acme'",
        "UPDATE invitations SET seat_reserved = true",
    )
    assert found == {("INV-15", invite.invitation_id), ("INV-7", invite.invitation_id)}


async def test_a_user_on_two_accounts_is_named(scenario: StoreScenario) -> None:
    """AUD: a person has one current membership."""
    found = await violations_after(
        scenario,
        "DROP INDEX one_account_a_person",
        "INSERT INTO memberships (account_id, email, role, licensed, origin)"
        f" VALUES ('zeta', '{OWNER}', 'member', false, 'import')",
    )
    assert found == {("AUD", OWNER)}


async def test_an_acceptance_without_its_membership_is_named(scenario: StoreScenario) -> None:
    """INV-11: the membership on another account is named as well."""
    invite = scenario.new_invite("new@person.example")
    await scenario.send_and_accept(invite)
    found = await violations_after(
        scenario,
        "UPDATE memberships SET account_id = 'zeta' WHERE origin = 'invitation'",
    )
    assert found == {("INV-11", invite.invitation_id), ("AUD", "new@person.example")}


async def test_a_membership_whose_invitation_was_not_accepted_is_named(
    scenario: StoreScenario,
) -> None:
    """INV-11: a membership by invitation needs an accepted invitation."""
    invite = scenario.new_invite("new@person.example")
    await scenario.send_and_accept(invite)
    found = await violations_after(
        scenario, "UPDATE invitations SET state = 'pending', ended_at = NULL"
    )
    assert found == {("AUD", "new@person.example"), ("INV-7", invite.invitation_id)}


async def test_a_person_who_has_left_is_no_violation(scenario: StoreScenario) -> None:
    """AUD, INV-11: an accepted invitation has a membership or a recorded leaving."""
    await scenario.send_and_accept(scenario.new_invite("new@person.example"))
    assert not await violations_after(
        scenario,
        f"UPDATE memberships SET until = '{NOON:%Y-%m-%d %H:%M:%S}', leaving = 'unlink'"
        " WHERE origin = 'invitation'",
    )


async def test_a_leaving_for_an_invitation_that_was_not_accepted_is_named(
    scenario: StoreScenario,
) -> None:
    """AUD: a membership that ended for an invitation needs its acceptance."""
    await scenario.send(scenario.new_invite("lee@crowd.example"))
    found = await violations_after(
        scenario,
        f"UPDATE memberships SET until = '{NOON:%Y-%m-%d %H:%M:%S}',"
        " leaving = 'invitation:' || (SELECT invitation_id FROM invitations)"
        " WHERE email = 'lee@crowd.example'",
    )
    assert found == {("AUD", "lee@crowd.example"), ("INV-11", "lee@crowd.example")}


async def test_an_unlinked_user_without_a_former_account_is_named(scenario: StoreScenario) -> None:
    """AUD: no current membership without its origin."""
    found = await violations_after(
        scenario,
        f"UPDATE memberships SET origin = 'unlink', since = '{NOON:%Y-%m-%d %H:%M:%S}'"
        " WHERE email = 'sue@solo.example'",
    )
    assert found == {("AUD", "sue@solo.example")}


async def test_a_superseded_invitation_without_a_winner_is_named(
    scenario: StoreScenario,
) -> None:
    """INV-14: its settlement and its refund are named as well."""
    invite, _ = await accept_as_owner(scenario)
    other = scenario.new_invite("new@person.example", into="zeta", by=ZOE)
    await scenario.send(other)
    found = await violations_after(
        scenario,
        "UPDATE invitations SET state = 'superseded', ended_at = claimed_at",
    )
    assert found == {
        ("INV-14", invite.invitation_id),
        ("INV-14", other.invitation_id),
        ("INV-7", invite.invitation_id),
        ("INV-7", other.invitation_id),
        ("AUD", PAULA),
        ("QUO-4", invite.invitation_id),
        ("REF-5", f"rf-{invite.invitation_id}"),
    }


async def test_a_closed_account_with_users_or_a_live_subscription_is_named(
    scenario: StoreScenario,
) -> None:
    """SRC-2: a closed account has neither."""
    found = await violations_after(
        scenario,
        "UPDATE accounts SET state = 'closed' WHERE id IN ('solo', 'zeta')",
        "UPDATE memberships SET until = '2026-01-01 00:00:00', leaving = 'x', licensed = false"
        " WHERE account_id = 'zeta'",
        "UPDATE license_pools SET assigned = 0 WHERE account_id = 'zeta'",
        "INSERT INTO subscriptions (account_id, id, position, product, kind, quantity, cycle,"
        " period_start, period_end, cancellation_pending, discount, tax) VALUES ('zeta', 's', 0,"
        " 'P', 'plan', 1, 'annual', '2026-01-01', '2027-01-01', false, '0', '0')",
    )
    assert found == {("SRC-2", "solo"), ("SRC-2", "zeta")}


async def assign_two_of_three(scenario: StoreScenario) -> None:
    """Assign a license each to Ann and Ben; Cid waits for one."""
    await import_crew(scenario, "ann", "ben", "cid", pools=pools(c500=2))
    await assign(scenario, "ann", "ben", "cid")


async def test_an_addon_pool_with_a_wrong_counter_is_named(
    scenario: StoreScenario,
) -> None:
    """AUD, ASG-5: the user who waits although a license is free is named as well."""
    await assign_two_of_three(scenario)
    found = await violations_after(
        scenario, "UPDATE license_pools SET assigned = 1 WHERE capacity = 500"
    )
    # By the counter a license is free although a user waits for one.
    assert found == {("AUD", "crew"), ("ASG-5", crew_email("cid"))}


async def test_a_reserved_addon_is_named(scenario: StoreScenario) -> None:
    """AUD: only base licenses can be reserved."""
    await assign_two_of_three(scenario)
    found = await violations_after(
        scenario, "UPDATE license_pools SET reserved = 1, bought = 3 WHERE capacity = 500"
    )
    assert found == {("AUD", "crew"), ("ADD-5", "crew")}


async def test_a_holder_without_a_base_license_is_named(scenario: StoreScenario) -> None:
    """ASG-1, ASG-3: a holder whose meetings have another capacity is named as well."""
    await assign_two_of_three(scenario)
    found = await violations_after(
        scenario,
        f"UPDATE memberships SET licensed = false WHERE email = '{crew_email('ann')}'",
        "UPDATE license_pools SET assigned = 2 WHERE account_id = 'crew' AND capacity = 0",
        f"UPDATE meetings SET capacity = NULL WHERE host = '{crew_email('ben')}'",
    )
    assert found == {("ASG-1", crew_email("ann")), ("ASG-3", crew_email("ben"))}


async def test_a_webinar_with_another_capacity_is_named(scenario: StoreScenario) -> None:
    """ASG-8: a Large Meeting license does not count for webinars, nor the other way round."""
    await import_crew(scenario, "ann", pools=[*pools(c500=1), *pools(WEBINAR, c1000=1)])
    for sku in (LARGE, WEBINAR):
        await assign(scenario, "ann", sku=sku)
    assert (await scenario.store.audit()).violations == ()
    found = await violations_after(scenario, "UPDATE webinars SET capacity = 500")
    assert found == {("ASG-8", crew_email("ann"))}


async def test_a_holder_who_has_left_is_named(scenario: StoreScenario) -> None:
    """ASG-1: a user who has left holds no add-on."""
    await assign_two_of_three(scenario)
    found = await violations_after(
        scenario,
        "UPDATE memberships SET until = '2026-03-02 00:00:00', leaving = 'delete'"
        f" WHERE email = '{crew_email('ann')}'",
        "UPDATE license_pools SET assigned = 2 WHERE account_id = 'crew' AND capacity = 0",
    )
    assert found == {("ASG-1", crew_email("ann")), ("ASG-4", crew_email("ann"))}


async def test_a_user_with_two_capacities_is_named(scenario: StoreScenario) -> None:
    """ASG-4: the second license is held through a former membership."""
    await assign_two_of_three(scenario)
    found = await violations_after(
        scenario,
        "INSERT INTO memberships (id, account_id, email, role, licensed, origin, until, leaving)"
        f" VALUES (99, 'crew', '{crew_email('ann')}', 'member', true, 'import',"
        " '2026-03-02 00:00:00', 'delete')",
        "INSERT INTO held_licenses VALUES"
        " (99, 'crew', 'large-meeting', 500, '2026-03-02 00:00:00')",
        "UPDATE license_pools SET assigned = 3, bought = 3 WHERE capacity = 500",
    )
    assert found == {
        ("ASG-4", crew_email("ann")),
        ("ASG-1", crew_email("ann")),
        ("ADD-5", "crew"),
    }


async def test_a_changed_entry_is_named(scenario: StoreScenario) -> None:
    """CRD-4, CRD-1: both ledger accounts of the entry are named."""
    invite, _ = await accept_as_owner(scenario, Choice.TRANSFER)
    found = await violations_after(
        scenario, "UPDATE transfers SET amount = amount + 1 WHERE kind = 'transfer'"
    )
    assert found == {
        ("CRD-4", "prepaid/paid"),
        ("CRD-4", "credit/acme"),
        ("CRD-1", "prepaid/paid"),
        ("QUO-1", "paid"),
        ("QUO-3", invite.invitation_id),
    }


async def test_a_deleted_entry_is_named(scenario: StoreScenario) -> None:
    """CRD-4: both ledger accounts of the entry are named."""
    await accept_as_owner(scenario, Choice.TRANSFER)
    found = await violations_after(scenario, "DELETE FROM transfers WHERE kind = 'earned'")
    assert found == {("CRD-4", "prepaid/paid"), ("CRD-4", "revenue/paid"), ("QUO-1", "paid")}


async def test_a_changed_balance_is_named(scenario: StoreScenario) -> None:
    """CRD-4: the sum of the currency is not zero."""
    await accept_as_owner(scenario, Choice.TRANSFER)
    found = await violations_after(
        scenario, "UPDATE balances SET amount = amount + 1 WHERE ledger_account = 'credit/acme'"
    )
    assert found == {("CRD-4", "EUR"), ("CRD-4", "credit/acme")}


async def test_a_paid_account_without_its_settlement_is_named(scenario: StoreScenario) -> None:
    """QUO-4: each accepted owner of a paid account has one settlement."""
    invite, _ = await accept_as_owner(scenario)
    found = await violations_after(scenario, "DELETE FROM settlements")
    assert found == {
        ("QUO-4", invite.invitation_id),
        ("QUO-3", invite.invitation_id),
        ("REF-5", f"rf-{invite.invitation_id}"),
    }


async def test_a_settlement_of_a_person_without_a_source_account_is_named(
    scenario: StoreScenario,
) -> None:
    """QUO-4: only owners of paid accounts are settled."""
    invite, _ = await accept_as_owner(scenario)
    other = scenario.new_invite("new@person.example")
    await scenario.send_and_accept(other)
    found = await violations_after(
        scenario,
        "INSERT INTO settlements SELECT"
        f" '{other.invitation_id}', account_id, kind, quote FROM settlements",
    )
    assert found == {("QUO-4", other.invitation_id), ("QUO-3", other.invitation_id)}
    assert other.invitation_id != invite.invitation_id


async def test_a_refund_that_differs_from_its_entries_is_named(
    scenario: StoreScenario,
) -> None:
    """REF-5: the entry of a succeeded part is missing."""
    order, refund = await request_refund(scenario)
    await book(scenario, with_part_states(refund, PartState.SUCCEEDED, PartState.SUCCEEDED), NOON)
    found = await violations_after(
        scenario,
        "DELETE FROM transfers WHERE id LIKE 'refunded/%/bank-1'",
        "UPDATE balances SET amount = amount + 100000 WHERE ledger_account LIKE 'refund_due/%'",
        "UPDATE balances SET amount = amount - 100000 WHERE ledger_account = 'methods/paid'",
    )
    assert found == {("REF-5", order.refund_id)}


async def test_a_payment_that_is_refunded_twice_is_named(scenario: StoreScenario) -> None:
    """REF-5: two refunds at the provider exceed the payment, whatever the ledger says."""
    await accept_as_owner(scenario)
    one = "'{0}', '{0}', 'paid', 'card-1', 'EUR', 400000, '2026-03-03 00:00:00', 'succeeded', NULL"
    found = await violations_after(
        scenario,
        *(f"INSERT INTO provider_refunds VALUES ({one.format(key)})" for key in ("a", "b")),
    )
    assert found == {("REF-5", "paid/card-1"), ("REF-5", "a"), ("REF-5", "b")}


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
async def test_the_database_itself_refuses_inconsistent_rows(
    scenario: StoreScenario, statement: str
) -> None:
    """AUD: constraints and triggers refuse each of these statements."""
    with pytest.raises(IntegrityError):
        await execute(scenario.engine, statement)


async def test_a_balance_in_another_currency_than_the_account_has_is_named(
    scenario: StoreScenario,
) -> None:
    """CRD-4: credit, prepaid value and the amount of a refund under way."""
    plan, _ = await request_refund(scenario)
    await import_paid_account(scenario, "other", credit="5.00", collection="net_terms")
    found = await violations_after(
        scenario, "UPDATE accounts SET currency = 'USD' WHERE id IN ('paid', 'other')"
    )
    assert found == {
        ("CRD-4", "credit/other"),
        ("QUO-1", "other"),
        ("CRD-4", plan.refund_id),
    }


async def test_a_live_order_in_another_currency_than_its_account_is_named(
    scenario: StoreScenario,
) -> None:
    """CRD-4: its next invoice would be in the former currency."""
    purchases = OrderScenario(scenario)
    await purchases.import_account()
    order = await purchases.buy()
    found = await violations_after(scenario, "UPDATE accounts SET currency = 'USD'")
    assert found == {("CRD-4", order.order_id), ("QUO-1", "firm")}
