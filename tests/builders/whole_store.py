"""A store with rows in every table, made by the operations that make them."""

from contextlib import nullcontext
from datetime import timedelta
from decimal import Decimal

from activities.billing import RefundRequest
from activities.move import MoveItem
from adapters.provider import LedgerProvider
from adapters.sql.content import SqlContent
from adapters.sql.store import SqlStore
from clients.invoice import InvoiceClient
from domain.attention import AttentionKind, Problem
from domain.batch import Batch, BatchRow, RowOutcome
from domain.catalog import Catalog
from domain.error import ErrorCode, Refused
from domain.invitation import Choice, License, Person
from domain.journal import ENGINE, OPERATOR
from domain.letter.base import Reader
from domain.letter.sign_in import SignInLetter
from domain.manifest import ItemStatus
from domain.money import Money
from domain.outbox import QueuedLetter
from domain.reconciliation import Divergence, DivergenceKind
from domain.refund import PartReport, PartState, Refund, RefundPlan, request_key
from domain.remedy import Removal
from domain.reminder import ReminderRun
from domain.reversal import Dispute, FailedRefund, ReversalStatus
from domain.session import SignInLink
from states.invitation import InvitationMachine
from states.lifecycle import after
from states.refund import RefundMachine, event_from_parts
from states.refund import initial_record as initial_refund
from tests.builders.account import ADMIN, NOON, ZOE, account, directory, user
from tests.builders.assignment import HOSTED, LARGE, WEBINAR, assign, import_crew, pools, unassign
from tests.builders.invitation import StoreScenario, ended
from tests.builders.order import BUYER, OrderScenario, an_order
from tests.builders.refund import LINE, book, import_paid_account

LATER = NOON + timedelta(hours=2)
LATE = NOON + timedelta(days=9)
DATA = {
    "settings": {"theme": "light", "sound": "on"},
    "recordings": 2,
    "contacts": 3,
    "chat_messages": 4,
    "locale": "fr",
    "time_zone": "Europe/Paris",
}
APRIL = NOON.replace(month=4, day=1)


async def fill(scenario: StoreScenario) -> None:
    """Carry out every operation that leaves rows; the accounts are imported already."""
    acme = account("acme", plan="business", vanity_url="acme", locked_settings={"theme": "dark"})
    await scenario.store.directory.import_(directory(acme))
    await _invite(scenario)
    returned = await _settle(scenario)
    await _pay_invoices(scenario)
    await _assign(scenario)
    await _buy(scenario)
    await _operate(scenario)
    await _reverse(scenario, returned)
    await _restore(scenario)


async def _invite(scenario: StoreScenario) -> None:
    """Make invitations of every kind: open, answered, ended, superseded, in a batch."""
    store = scenario.store
    sue = scenario.new_invite("sue@solo.example", license=License.LICENSED)
    await scenario.send_and_accept(sue)
    pending = scenario.new_invite("pat@person.example", license=License.LICENSED, locale="de")
    record = await scenario.send(pending)
    reminded = after(
        InvitationMachine,
        record,
        "remind",
        at=LATER,
        by=ENGINE,
        reminders_sent=1,
        reminded_by="reminders-1",
    )
    await store.invitations.record(pending.invitation_id, reminded)
    await scenario.claim(scenario.new_invite("claim@person.example"))
    await store.invitations.end(
        (declined := scenario.new_invite("dee@person.example")).invitation_id,
        ended(await scenario.send(declined)),
    )
    other = scenario.new_invite("ned@person.example", into="zeta", by=ZOE, license=License.LICENSED)
    await scenario.send(other)
    await scenario.send_and_accept(scenario.new_invite("ned@person.example"))
    await store.remedies.remove_user("crowd", "lee@crowd.example", Removal.UNLINK, LATER)
    await store.remedies.remove_user("rich", "max@rich.example", Removal.DELETE, LATER)
    batch = Batch(batch_id="spring", account="acme", by=ADMIN)
    rows = [
        BatchRow(position=0, person=Person(email="Bab@person.example")),
        BatchRow(position=1, person=Person(email="nobody")),
        BatchRow(position=2, person=Person(email="later@person.example")),
    ]
    await store.batches.file(batch, "digest", rows, NOON)
    bab = scenario.new_invite("bab@person.example")
    await scenario.claim(bab)
    refused = Refused(ErrorCode.INVALID_EMAIL, "No address.").as_json()
    await store.batches.keep(
        "spring",
        [
            RowOutcome(
                position=0, result="invited", invitation_id=bab.invitation_id, run_id="run-bab"
            ),
            RowOutcome(position=1, result="refused", error=refused),
        ],
    )


async def _settle(scenario: StoreScenario) -> Refund:
    """Accept as the owners of paid accounts: a transfer, and refunds in several states.

    Return the one that has arrived.
    """
    for name, choice in (("given", Choice.TRANSFER), ("open", Choice.REFUND)):
        await _accept_as_owner(scenario, name, choice)
    settled = await _accept_as_owner(scenario, "settled", Choice.REFUND)
    arrived = await _report(scenario, settled, PartState.SUCCEEDED, PartState.SUCCEEDED)
    failed = await _accept_as_owner(scenario, "failed", Choice.REFUND)
    refund = await _report(scenario, failed, PartState.SUCCEEDED, PartState.FAILED)
    parts = (
        refund.parts[0],
        refund.parts[1].model_copy(update={"state": PartState.CONVERTED}),
    )
    converted = after(RefundMachine, refund.with_parts(parts), "convert", at=LATE, by=ENGINE)
    await book(scenario, converted, LATE)
    return arrived


async def _accept_as_owner(scenario: StoreScenario, name: str, choice: Choice) -> RefundPlan | None:
    """Import a paid account with credit, accept as its owner, and move the owner's data."""
    email = f"paula@{name}.example"
    await import_paid_account(
        scenario,
        name,
        credit="7.00",
        vanity_url=name,
        subscriptions=[{**LINE, "payments": _payments(bank_refundable=name != "failed")}],
        users=[user(email, "owner", name="Paula", **HOSTED, **DATA)],
    )
    invite = scenario.new_invite(email)
    kept = await scenario.join_account(invite, await scenario.send(invite), choice)
    content = SqlContent(scenario.engine, "meet.example")
    for item in kept.invitation.manifest:
        if item.unfinished:
            moved = await content.move(
                MoveItem(
                    invitation_id=invite.invitation_id, account="acme", email=email, item=item.item
                )
            )
            done = item.model_copy(
                update={"status": ItemStatus.MOVED, "count": moved.count, "changed": moved.changed}
            )
            await scenario.store.invitations.record_item(invite.invitation_id, done)
    return kept.refund


async def _report(scenario: StoreScenario, plan: RefundPlan | None, *states: PartState) -> Refund:
    """Request the parts from the built-in provider, and book what it reports."""
    assert plan
    provider = LedgerProvider(scenario.engine, 4, frozenset())
    refund = initial_refund(plan)
    reports: list[PartReport] = []
    for part, state in zip(plan.parts, states, strict=True):
        key = request_key(plan.refund_id, part)
        request = RefundRequest(
            key=key, account=plan.source, payment=part.payment, amount=part.amount, at=LATER
        )
        await provider.refund(request)
        found = await provider.find_refund(request.model_copy(update={"at": LATE}))
        assert found
        assert found.state is state
        reports.append(
            PartReport(
                payment=part.payment,
                attempt=1,
                state=found.state,
                provider_id=found.provider_id,
                failure=found.failure,
            )
        )
    reported = refund.with_reports(reports)
    event = event_from_parts(reported)
    assert event
    changed = after(RefundMachine, reported, event, at=LATE, by=ENGINE)
    await book(scenario, changed, LATE)
    return changed


def _payments(*, bank_refundable: bool) -> list[dict[str, object]]:
    return [
        {"id": "card-1", "method": "card", "amount": "60.00"},
        {"id": "bank-1", "method": "bank", "amount": "20.00", "refundable": bank_refundable},
        {"id": "old-1", "method": "credit", "amount": "20.00"},
    ]


async def _pay_invoices(scenario: StoreScenario) -> None:
    """Pay one invoice by a payment method, one from credit, one elsewhere; leave one open."""
    invoices = [
        {"id": f"i{number}", "amount_due": amount, "due_on": f"2026-03-0{number}"}
        for number, amount in enumerate(("3.00", "4.00", "500.00", "6.00"), 1)
    ]
    firm = account(
        "bill",
        user("bill@bill.example", "owner", licensed=True),
        plan="pro",
        collection="net_terms",
        credit="4.00",
        invoices=invoices,
        payment_methods=[{"id": "visa", "kind": "card", "declines": 1}],
        billing_customer="cus_1",
        locked_settings={"theme": "dark"},
        managed_domains=["bill.example"],
        rooms=[{"id": "red", "name": "Red"}],
        subscriptions=[LINE],
    )
    await scenario.store.directory.import_(directory(firm, catalog=Catalog()))
    provider = LedgerProvider(scenario.engine, 4, frozenset())
    client = InvoiceClient(scenario.store.invoices, lambda: nullcontext(provider))
    for _ in range(2):
        try:
            await client.pay("bill", "i1", by=OPERATOR, at=LATER)
        except Refused as declined:
            assert declined.code is ErrorCode.PAYMENT_DECLINED
    await scenario.store.credits.apply("bill", "i2", LATER)
    await client.record_paid_outside("bill", "i4", "bank 17", by=OPERATOR, at=LATER)
    await scenario.store.managed_domains.add("bill", "unproven.example", LATER)


async def _assign(scenario: StoreScenario) -> None:
    """Assign add-ons of both kinds, with a user who waits, one refused and one released."""
    await import_crew(
        scenario,
        *("ann", "ben", "cid"),
        basic=["dan"],
        pools=[*pools(c500=2), *pools(WEBINAR, c500=1)],
        licenses=5,
    )
    await assign(scenario, "ann", "ben", "cid", "stranger@person.example")
    await assign(scenario, "ann", sku=WEBINAR)
    await unassign(scenario, "ben", sku=LARGE)


async def _buy(scenario: StoreScenario) -> None:
    """Make orders of every kind: renewed, reduced, reserved, in review, cancelled, ended."""
    orders = OrderScenario(scenario)
    methods = [{"id": "giro", "kind": "bank"}]
    await orders.import_account(credit="50.00", payment_methods=methods)
    renewed = await orders.pay(await orders.buy(), APRIL)
    await scenario.store.orders.report(renewed.order_id, APRIL)
    await orders.assign(BUYER)
    await orders.buy(an_order(cycle="annual", capacity=1000, quantity=1))
    await orders.apply_events(
        await scenario.store.orders.open(an_order(portal="account"), NOON), "review"
    )
    await scenario.store.orders.invoice(await orders.place(an_order(quantity=3)), NOON)
    ending = await orders.plan_reduction(await orders.buy(an_order(capacity=3000)), 0)
    ended_term = await scenario.store.orders.term_ended(ending, APRIL)
    await orders.apply_events(ended_term, "end", at=APRIL)
    declining = [{"id": "giro", "kind": "bank", "declines": 1}]
    await orders.import_account(payment_methods=declining)
    declined = await orders.decline(await orders.place(an_order(capacity=5000)))
    await scenario.store.orders.void(declined, NOON)
    await orders.apply_events(declined, "cancel")


async def _operate(scenario: StoreScenario) -> None:
    """Leave the rows of reminders, letters, problems and requests."""
    store = scenario.store
    await store.reminders.keep(
        ReminderRun(run_id="reminders-1", started_at=NOON, ended_at=LATER, by="operator", found=1)
    )
    await store.letters.record_sent("welcome.1", NOON)
    await store.problems.report(
        Problem(
            kind=AttentionKind.ACTIVITY_FAILING, key="addon/firm/o-1/run/3", since=NOON, message="x"
        )
    )
    await store.request_counts.count(("subject",), NOON)
    await _sign_in(store)
    await store.keep_id_key("fingerprint")
    [letter, *_] = [row for row in await store.outbox.lease(1000, timedelta(minutes=1)) if row.key]
    await store.letters.record_failure(str(letter.key), "refused", final=True)


async def _sign_in(store: SqlStore) -> None:
    """Request two links; use one, and sign in again."""
    for number in (1, 2):
        link = SignInLink(id=f"link-{number}", email=ADMIN, next="/admin/acme")
        letter = SignInLetter(id=f"sign_in.{link.id}", reader=Reader(email=ADMIN))
        queued = QueuedLetter(letter=letter, sign_in=link.id)
        await store.sessions.request_link(link, queued, NOON, operator=False)
    await store.sessions.use_link("link-1", "session-1", NOON)
    await store.sessions.open("session-2", ADMIN, NOON, replaces="session-1")


async def _reverse(scenario: StoreScenario, arrived: Refund) -> None:
    """Report disputes, one of them closed, and an arrived refund that came back."""
    reversals = scenario.store.reversals
    for number, payment in enumerate(("card-1", "pi_unknown", "bank-1"), 1):
        disputed = Dispute(
            dispute_id=f"du_{number}",
            payments=(payment,),
            amount=Money(amount=Decimal("5.00"), currency="EUR"),
            reason="fraudulent",
            status=ReversalStatus.OPEN,
            since=LATER,
            answer_by=LATE,
            reported_at=LATER,
        )
        assert await reversals.report_dispute(disputed) is (payment != "pi_unknown")
    await reversals.close("du_3", OPERATOR, "paid by bank", LATE)
    provider_id = arrived.parts[0].provider_id
    assert provider_id
    returned = FailedRefund(
        refund_id=arrived.refund_id,
        provider_id=provider_id,
        reason="expired_card",
        reported_at=LATE,
    )
    assert await reversals.report_failed_refund(returned)


async def _restore(scenario: StoreScenario) -> None:
    """Report differences, one of them settled."""
    await scenario.store.restore.report(
        Divergence.of(kind, subject, store=None, elsewhere="pending", account=account, run="run-1")
        for kind, subject, account in (
            (DivergenceKind.RECORD_MISSING, "invitation/acme/lost", "acme"),
            (DivergenceKind.REFUND_MISSING, "rf-lost/card-1/1", ""),
        )
    )
    await scenario.store.restore.settle(2)
