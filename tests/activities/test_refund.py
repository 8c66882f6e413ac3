"""Tests of the refund's activities: requests, look-ups, the ledger, letters (REF)."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from temporalio.testing import ActivityEnvironment

from activities.billing import ProviderRefund
from activities.refund import (
    BookRefund,
    LookUpRefund,
    PlanLookups,
    ReadRefund,
    RefundActivities,
    RefundLookedUp,
    RequestRefund,
)
from domain.error import ErrorCode, Refusal, Refused
from domain.journal import ENGINE, JournalEntry
from domain.money import Money
from domain.refund import (
    PartReport,
    PartState,
    Refund,
    RefundChange,
    RefundPart,
    RefundPlan,
    RefundState,
    amount_open,
)
from states.refund import initial_record
from tests.activities.provider import FakeProvider

NOW = datetime(2026, 7, 1, 9, 30, tzinfo=UTC)
DAY = timedelta(days=1)
JANE, ADMIN, OPERATORS = "jane@example.com", "adam@acme.example", "ops@seatflow.example"
CARD = RefundPart(
    payment="pay-1", method="card", amount=Money(amount=Decimal("75.00"), currency="EUR")
)
BANK = RefundPart(
    payment="pay-2", method="bank", amount=Money(amount=Decimal("25.00"), currency="EUR")
)
PLAN = RefundPlan(
    refund_id="rf-1",
    invitation_id="inv-1",
    source="jane-pro",
    target="acme",
    payee=JANE,
    parts=(CARD, BANK),
    requested_at=NOW,
    arrives_between=(date(2026, 7, 6), date(2026, 7, 13)),
    lookups=(NOW + 3 * DAY,),
    overdue_from=NOW + 13 * DAY,
)


def a_refund(event: str, state: RefundState, *parts: RefundPart) -> Refund:
    parts = parts or PLAN.parts
    return Refund(
        refund_id=PLAN.refund_id,
        workflow_id=PLAN.workflow_id,
        state=state,
        amount=Money(amount=Decimal("100.00"), currency="EUR"),
        amount_open=amount_open(parts),
        parts=parts,
        requested_at=NOW,
        arrives_between=PLAN.arrives_between,
        journal=(
            JournalEntry.model_validate(
                {"at": NOW, "event": event, "from": None, "to": state, "by": ENGINE}
            ),
        ),
    )


class FakeRefundStore:
    """A `RefundStore` of one refund; each state of a part is booked once."""

    def __init__(self, *parts: RefundPart, target_currency: str = "EUR") -> None:
        self.target_currency = target_currency
        self.booked: list[tuple[str, PartState]] = []
        self.stored = initial_record(PLAN)
        if parts:
            self.stored = self.stored.with_parts(parts)

    async def book(self, refund_id: str, change: RefundChange, at: datetime) -> Refund | None:
        converted = [part for part in change.parts if part.state is PartState.CONVERTED]
        if converted and converted[0].amount.currency != self.target_currency:
            raise Refused(ErrorCode.CURRENCY_MISMATCH, "The target has another currency.")
        self.booked += [
            entry
            for part in change.parts
            if (entry := (part.payment, part.state)) not in self.booked and not part.state.open
        ]
        if change.entry not in self.stored.journal:
            self.stored = change.applied_to(self.stored)
        return None

    async def latest(self, refund_id: str) -> Refund:
        if self.stored.refund_id != refund_id:
            raise Refused(ErrorCode.NOT_FOUND, "No such refund.")
        return self.stored

    async def next_lookups(self, refund_id: str, after: datetime) -> tuple[datetime, ...]:
        return (after + DAY, after + 2 * DAY)


def the_activities(
    provider: FakeProvider | None = None,
    store: FakeRefundStore | None = None,
) -> RefundActivities:
    return RefundActivities(store=store or FakeRefundStore(), provider=provider or FakeProvider())


async def request_all(
    provider: FakeProvider, *parts: RefundPart, attempt: int = 1, unclear: bool = False
) -> tuple[PartReport, ...]:
    """Request the parts in the given attempt of the activity; return the answers."""
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, attempt=attempt)
    return await environment.run(
        the_activities(provider).request_refund,
        RequestRefund(refund_id="rf-1", account="jane-pro", parts=parts, at=NOW, unclear=unclear),
    )


async def request(
    provider: FakeProvider, part: RefundPart = CARD, *, attempt: int = 1
) -> RefundPart:
    """Request the part in the given attempt of the activity."""
    [report] = await request_all(provider, part, attempt=attempt)
    return part.reported(report)


async def look_up(provider: FakeProvider, *parts: RefundPart) -> RefundLookedUp:
    return await ActivityEnvironment().run(
        the_activities(provider, FakeRefundStore(*parts)).look_up_refund,
        LookUpRefund(
            refund_id="rf-1",
            account="jane-pro",
            payments=tuple(part.payment for part in parts),
            at=NOW,
        ),
    )


async def test_a_part_is_requested_with_its_payment_amount_and_business_key() -> None:
    """REF-5: the part then has the provider's id and status."""
    provider = FakeProvider()
    requested = await request(provider)
    assert (requested.state, requested.provider_id) == (PartState.PENDING, "re_1")
    [sent] = provider.refund_requests
    assert (sent.key, sent.account, sent.payment) == ("rf-1/pay-1/1", "jane-pro", "pay-1")
    assert (sent.amount, sent.to_method, sent.at) == (CARD.amount, None, NOW)
    assert provider.searches == []


async def test_a_retry_searches_for_the_earlier_request_before_it_requests_again() -> None:
    """REF-5: the first attempt was carried out, and its response was lost."""
    provider = FakeProvider(lost_responses={"pay-1"})
    with pytest.raises(TimeoutError):
        await request(provider)
    found = await request(provider, attempt=2)
    assert (found.state, found.provider_id) == (PartState.PENDING, "re_1")
    assert provider.searches == ["rf-1/pay-1/1"]
    assert len(provider.refund_requests) == 1


async def test_a_retry_without_an_earlier_request_requests_the_part() -> None:
    """REF-5: the first attempt failed before it reached the provider."""
    provider = FakeProvider()
    assert (await request(provider, attempt=2)).provider_id == "re_1"
    assert provider.searches == ["rf-1/pay-1/1"]
    assert len(provider.refund_requests) == 1


async def test_a_refused_refund_is_a_failed_part_with_the_providers_reason() -> None:
    """REF-4: the activity succeeds, and an operator decides."""
    provider = FakeProvider(refusing={"pay-1": "expired_or_canceled_card"})
    refused = await request(provider)
    assert (refused.state, refused.failure) == (PartState.FAILED, "expired_or_canceled_card")
    assert refused.provider_id is None


async def test_a_retry_by_an_operator_is_another_refund_to_the_named_method() -> None:
    """REF-4, REF-5: a repeated key would return the refund that has failed."""
    provider = FakeProvider()
    await request(provider)
    again = CARD.model_copy(update={"attempt": 2, "to_method": "bank-7"})
    assert (await request(provider, again)).provider_id == "re_2"
    assert [sent.key for sent in provider.refund_requests] == ["rf-1/pay-1/1", "rf-1/pay-1/2"]
    assert provider.refund_requests[-1].to_method == "bank-7"


async def test_a_part_without_an_answer_is_missing_and_requested_again_alone() -> None:
    """REF-5, OPS-3: it delays none of the others, and is searched for first."""
    provider = FakeProvider(lost_responses={"pay-1"})
    [bank] = await request_all(provider, CARD, BANK)
    assert (bank.payment, bank.state) == ("pay-2", PartState.PENDING)
    [card] = await request_all(provider, CARD, unclear=True)
    assert (card.payment, card.provider_id) == ("pay-1", "re_1")
    assert provider.searches == ["rf-1/pay-1/1"]
    assert len(provider.refund_requests) == 2


async def test_a_look_up_returns_what_has_changed() -> None:
    """REF-2, OPS-7."""
    provider = FakeProvider()
    card, bank = [await request(provider, part) for part in (CARD, BANK)]
    provider.refunds["rf-1/pay-1/1"] = ProviderRefund(
        provider_id="re_1", state=PartState.FAILED, failure="lost_or_stolen_card"
    )
    looked_up = await look_up(provider, card, bank)
    [failed] = looked_up.reports
    assert (failed.payment, failed.state) == ("pay-1", PartState.FAILED)
    assert card.reported(failed).failure == "lost_or_stolen_card"
    assert looked_up.failures == {}
    assert provider.lookups == ["re_1", "re_2"]


async def test_a_look_up_without_a_status_is_an_answer_with_its_reason() -> None:
    """OPS-3: the status of the other part is returned."""
    provider = FakeProvider()
    card, bank = [await request(provider, part) for part in (CARD, BANK)]
    provider.refunds["rf-1/pay-2/1"] = ProviderRefund(provider_id="re_2", state=PartState.SUCCEEDED)
    unknown = card.model_copy(update={"provider_id": "re_unknown"})
    looked_up = await look_up(provider, unknown, bank)
    assert [report.payment for report in looked_up.reports] == ["pay-2"]
    assert looked_up.failures == {"unknown_refund": 1}


async def test_a_look_up_without_any_answer_fails() -> None:
    """OPS-3: it is retried within its time."""
    provider = FakeProvider()
    card = await request(provider)
    provider.unreachable = True
    with pytest.raises(ConnectionError):
        await look_up(provider, card)


async def test_a_part_that_was_closed_before_its_request_was_answered_is_searched_for() -> None:
    """REF-4, REF-5: the request may have been carried out."""
    provider = FakeProvider(lost_responses={"pay-1"})
    with pytest.raises(TimeoutError):
        await request(provider)
    closed = CARD.model_copy(update={"state": PartState.CLOSED})
    assert closed.may_arrive_late
    assert (await look_up(provider, closed)).reports == ()
    provider.refunds["rf-1/pay-1/1"] = ProviderRefund(provider_id="re_1", state=PartState.SUCCEEDED)
    [arrived] = (await look_up(provider, closed)).reports
    assert closed.reported(arrived).state is PartState.SUCCEEDED


@pytest.mark.parametrize("decided", [PartState.CONVERTED, PartState.CLOSED])
@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        (PartState.SUCCEEDED, PartState.SUCCEEDED),
        (PartState.PENDING, None),
        (PartState.FAILED, None),
        (PartState.CANCELED, None),
    ],
)
async def test_only_a_late_success_changes_a_converted_or_closed_part(
    decided: PartState, reported: PartState, expected: PartState | None
) -> None:
    """REF-4."""
    provider = FakeProvider()
    part = (await request(provider)).model_copy(update={"state": decided})
    provider.refunds["rf-1/pay-1/1"] = ProviderRefund(provider_id="re_1", state=reported)
    reports = (await look_up(provider, part)).reports
    assert [part.reported(report).state for report in reports] == ([expected] if expected else [])


CONVERTED = a_refund(
    "convert",
    RefundState.CONVERTED,
    CARD.model_copy(update={"state": PartState.CONVERTED}),
    BANK.model_copy(update={"state": PartState.SUCCEEDED}),
)
CONVERTED_LATER = CONVERTED.model_copy(
    update={"journal": (*initial_record(PLAN).journal, *CONVERTED.journal)}
)
FAILED = a_refund(
    "fail",
    RefundState.FAILED,
    CARD.model_copy(update={"state": PartState.FAILED, "failure": "expired_or_canceled_card"}),
    BANK,
)


async def test_a_refund_booked_again_after_a_crash_is_booked_once_and_can_be_read() -> None:
    """REF-5: the state of each part."""
    store = FakeRefundStore()
    activities = the_activities(store=store)
    change = RefundChange.between(store.stored, CONVERTED_LATER)
    for _ in range(2):
        await ActivityEnvironment().run(
            activities.book_refund, BookRefund(refund_id="rf-1", change=change, at=NOW)
        )
    assert store.booked == [("pay-1", PartState.CONVERTED), ("pay-2", PartState.SUCCEEDED)]
    read = await ActivityEnvironment().run(activities.read_refund, ReadRefund(refund_id="rf-1"))
    assert read == CONVERTED_LATER


async def test_a_conversion_to_an_account_with_another_currency_is_refused() -> None:
    """REF-4: nothing is booked, and the activity succeeds: a refusal is no failure."""
    store = FakeRefundStore(target_currency="USD")
    change = RefundChange.between(store.stored, CONVERTED_LATER)
    refusal = await ActivityEnvironment().run(
        the_activities(store=store).book_refund,
        BookRefund(refund_id="rf-1", change=change, at=NOW),
    )
    assert isinstance(refusal, Refusal)
    assert refusal.code is ErrorCode.CURRENCY_MISMATCH
    assert store.booked == []


async def test_the_next_look_ups_follow_the_given_time() -> None:
    """REF-2: computed in an activity, because holidays change."""
    planned = await ActivityEnvironment().run(
        the_activities().plan_lookups, PlanLookups(refund_id="rf-1", after=NOW)
    )
    assert planned == (NOW + DAY, NOW + 2 * DAY)
