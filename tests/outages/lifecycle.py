"""Lifecycles of every kind, each driven to its end by the people who take part in it."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import select

from adapters.sql.database.schema import InvitationRow, RefundRow
from adapters.sql.database.transaction import reading
from domain.account import Directory
from domain.assignment import AssignmentState
from domain.batch import BatchRow
from domain.invitation import Choice, Invitation, InvitationState, License, Person
from domain.license import Sku
from domain.order import OrderState
from domain.refund import Refund, RefundState
from tests.eventually import eventually
from tests.stripe_server import StripeServer, answer
from tests.world import World, refusal_of

PENDING, BLOCKED, COMPLETED = (
    InvitationState.PENDING,
    InvitationState.BLOCKED,
    InvitationState.COMPLETED,
)
PATIENCE: Final = timedelta(minutes=15)
AT_ONCE: Final = 25
"""The requests that people send at the same time."""
MANAGED: Final = "managed"
"""The kind of people in a managed domain, and their target account."""
BOUNCED: Final = "bounced"
WANTED: Final = "wanted"
"""The kind of people whom two accounts have invited."""
BUSY: Final = "backend_unavailable"
UNAVAILABLE: Final = answer(503, type="api_error")


@dataclass(frozen=True)
class Case:
    """One lifecycle of the run."""

    number: int
    kind: "Kind"
    account: str
    """The target account."""

    @property
    def email(self) -> str:
        """Return the invitee's address."""
        domain = "corp.example" if self.account == MANAGED else "people.example"
        return f"{self.kind.name.replace('_', '-')}-{self.number}@{domain}"

    @property
    def source(self) -> str:
        """Return the id of the invitee's own account, if they own one."""
        return f"source-{self.number}"

    @property
    def person(self) -> Person:
        """Return the person as invited."""
        license = License.LICENSED if self.kind.licensed else License.BASIC
        return Person(email=self.email, license=license)


@dataclass(frozen=True)
class Kind:
    """A way in which a lifecycle runs."""

    name: str
    share: int
    """Cases of this kind in a run of a thousand lifecycles."""
    act: "Act"
    """Carries out the requests of the people, and waits for their effects."""
    end: InvitationState = COMPLETED
    letters: tuple[str, ...] = ()
    """The events of the e-mails that the invitee gets once, besides the invitation."""
    own_account: Mapping[str, object] | None = None
    """The account that the invitee owns; None: they have none."""
    licensed: bool = False


Act = Callable[["Play", Case], Awaitable[None]]
"""Carries out the requests of the people of a case, and waits for their effects."""


@dataclass
class Play:
    """The people of all cases, their mail server and their payment provider."""

    world: World
    provider: StripeServer
    random: Random
    count: int
    """The number of lifecycles, more or less."""
    begun: float = field(default_factory=time.monotonic)
    ended: int = 0
    """The cases that have ended."""
    states: dict[tuple[str, str], InvitationState] = field(default_factory=dict)
    refund_states: dict[str, RefundState] = field(default_factory=dict)
    credited: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    """The credit that each target account must have in the end."""
    reachable: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while the payment provider answers."""
    away: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the provider does not answer any more."""
    back: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the provider answers again."""
    waiting_for_look_ups: Counter[str] = field(default_factory=Counter)
    """The refunds that the outage concerns, by what has become of them."""
    _jumping: int = 0
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def __post_init__(self) -> None:
        """Choose the cases, at least one of each kind, in random order."""
        self.reachable.set()
        self.cases = list[Case]()
        for kind in KINDS:
            for _ in range(max(1, round(kind.share * self.count / 1000))):
                target = MANAGED if kind.act is _join else self.random.choice(self.targets)
                self.cases.append(Case(len(self.cases), kind, target))
        self.random.shuffle(self.cases)

    @property
    def targets(self) -> list[str]:
        """Return the ids of the target accounts without a managed domain."""
        return [f"target-{number}" for number in range(max(3, self.count // 100))]

    @property
    def shops(self) -> list[str]:
        """Return the ids of the accounts that order licenses."""
        return [f"shop-{number}" for number in range(max(1, self.count // 100))]

    @property
    def progress(self) -> float:
        """Return the share of the cases that have ended."""
        return self.ended / len(self.cases)

    @property
    def recipients(self) -> set[str]:
        """Return everybody who may get a letter."""
        users = {
            email
            for account in (*self.targets, *self.shops, MANAGED)
            for email in (admin_of(account), f"owner@{account}.example", *licensed_of(account))
        }
        return users | {case.email for case in self.cases}

    def cases_with(self, act: "Act") -> list[Case]:
        """Return the cases whose people act like this."""
        return [case for case in self.cases if case.kind.act is act]

    # Observe.

    async def watch(self) -> None:
        """Read the states of all records again and again, until cancelled."""
        while True:
            async with reading(self.world.store.engine) as session:
                invitations = await session.execute(
                    select(InvitationRow.account_id, InvitationRow.email, InvitationRow.state)
                )
                refunds = await session.execute(select(RefundRow.refund_id, RefundRow.state))
                self.states = {
                    (account, email): InvitationState(state)
                    for account, email, state in invitations
                }
                self.refund_states = {name: RefundState(state) for name, state in refunds}
            await self.announce()
            await asyncio.sleep(0.3)

    async def announce(self) -> None:
        """Check the conditions of all who wait."""
        async with self._changed:
            self._changed.notify_all()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until the condition holds for the states that were read last.

        Somebody who waits for one lifecycle gives up earlier, and names it.
        """
        async with asyncio.timeout(1.1 * PATIENCE.total_seconds()), self._changed:
            await self._changed.wait_for(lambda: bool(condition()))

    async def reached(self, case: Case, state: InvitationState, account: str = "") -> None:
        """Wait until the invitation of the case is in `state`."""
        key = (account or case.account, case.email)
        await self.until(lambda: self.states.get(key) is state)

    async def refund_reached(self, refund_id: str, *states: RefundState) -> None:
        """Wait until the refund is in one of `states`."""
        await self.until(lambda: self.refund_states.get(refund_id) in states)

    async def record(self, case: Case) -> Invitation:
        """Return the stored invitation of the case."""
        stored = await self.world.store.invitations.latest(case.account, case.email)
        assert stored
        return stored.invitation

    # Act.

    async def play(self, case: Case) -> None:
        """Drive the case to its end."""
        try:
            await case.kind.act(self, case)
            await self.reached(case, case.kind.end)
        except TimeoutError as late:
            late.add_note(f"{case.kind.name}: {case.email} into {case.account}")
            late.add_note(f"its state: {self.states.get((case.account, case.email))}")
            raise
        self.ended += 1
        await self.announce()

    async def accept(self, case: Case, choice: Choice | None = None) -> Invitation:
        """Accept a pending invitation."""
        await self.reached(case, PENDING)
        async with self.slots:
            return await self.world.client.accept(case.account, case.email, choice)

    async def refund(self, case: Case) -> Refund:
        """Accept with a refund, and wait until the provider has accepted its request."""
        accepted = await self.accept(case, Choice.REFUND)
        assert accepted.settlement and accepted.settlement.refund_id
        refund_id = accepted.settlement.refund_id
        await self.refund_reached(refund_id, RefundState.PROCESSING)
        return await self.world.store.refunds.latest(refund_id)

    def report(self, refund: Refund, status: str, reason: str | None = None) -> str:
        """Set the status of the refund at the provider; return the provider's id."""
        [part] = refund.parts
        assert part.provider_id
        self.provider.set_status(part.provider_id, status, reason)
        return part.provider_id

    async def pass_to_look_up(self, refund: Refund, number: int = 0) -> None:
        """Move the clock of the refund to one of its planned look-ups."""
        plan = await self.world.store.refunds.plan_of(refund.refund_id)
        async with self.provider_answers():
            await self.go_to(refund.workflow_id, plan.lookups[number] + timedelta(minutes=1))

    async def decide(self, refund: Refund, status: str, reason: str | None = None) -> None:
        """Set the status, and notify of it or wait for the planned look-up."""
        provider_id = self.report(refund, status, reason)
        if self.random.random() < 0.5:
            await self.world.refunds.notify(refund.refund_id, provider_id)
        else:
            await self.pass_to_look_up(refund)

    async def go_to(self, workflow_id: str, moment: datetime) -> None:
        """Move the clock of one workflow."""
        async with self.slots:
            await self.world.clock.go_to(workflow_id, moment)

    # The payment provider.

    @asynccontextmanager
    async def provider_answers(self) -> AsyncIterator[None]:
        """Delay the beginning of an outage.

        A jump would take it for one of many days, and a conversion would be refused.
        """
        await self.reachable.wait()
        self._jumping += 1
        try:
            yield
        finally:
            self._jumping -= 1
            await self.announce()

    def note(self, text: str) -> None:
        """Print what has happened, and when."""
        print(f"{time.monotonic() - self.begun:5.0f} s: {text}, {self.ended} lifecycles ended")

    async def leave_the_provider_for_a_day(self) -> None:
        """Stop the provider until refunds have passed the day of a look-up."""
        expected = (len(self.cases_with(_look_up_in_vain)) + 1) // 2
        await self.until(lambda: self.waiting_for_look_ups["requested"] >= expected)
        self.reachable.clear()
        await self.until(lambda: self._jumping == 0)
        self.provider.failing = UNAVAILABLE
        self.note("the provider is away")
        self.away.set()
        look_ups = self.waiting_for_look_ups
        await self.until(lambda: expected <= look_ups["begun"] == look_ups["failed"])
        self.note("the provider is back")
        self.provider.failing = None
        self.back.set()
        self.reachable.set()


# The kinds.


async def _accept(play: Play, case: Case) -> None:
    await play.accept(case)


async def _decline(play: Play, case: Case) -> None:
    await play.reached(case, PENDING)
    async with play.slots:
        await play.world.client.decline(case.account, case.email, "Not now.")


async def _revoke(play: Play, case: Case) -> None:
    await play.reached(case, PENDING)
    async with play.slots:
        await play.world.client.revoke(case.account, case.email, admin_of(case.account))


async def _expire(play: Play, case: Case) -> None:
    await play.reached(case, PENDING)
    record = await play.record(case)
    assert record.expires_at
    await play.go_to(record.workflow_id, record.expires_at)


async def _join(play: Play, case: Case) -> None:
    """Return at once: the domain is managed."""


async def _bounce(play: Play, case: Case) -> None:
    """Return at once: the mailbox does not exist."""


async def _lose_mailbox(play: Play, case: Case) -> None:
    await play.reached(case, PENDING)
    play.world.smtp.unknown.add(case.email)
    await play.accept(case)


async def _clear_blockers(play: Play, case: Case) -> None:
    await play.reached(case, PENDING)
    async with play.slots:
        assert await refusal_of(play.world.client.accept(case.account, case.email)) == "blocked"
    await play.reached(case, BLOCKED)
    await play.world.remove_user(case.source, f"colleague-{case.number}@people.example")
    await play.world.remove_room(case.source, "room-1")
    await play.accept(case)


async def _transfer(play: Play, case: Case) -> None:
    accepted = await play.accept(case, Choice.TRANSFER)
    assert accepted.settlement
    play.credited[case.account] += accepted.settlement.amount.amount


async def _settle(play: Play, case: Case) -> None:
    refund = await play.refund(case)
    await play.decide(refund, "succeeded")
    await play.refund_reached(refund.refund_id, RefundState.SETTLED)


async def _convert(play: Play, case: Case) -> None:
    refund = await play.refund(case)
    await play.decide(refund, "failed", "expired_or_canceled_card")
    # The store is ahead of the workflow, which would refuse a conversion.
    await eventually(
        lambda: play.world.refunds.show(refund.refund_id),
        until=lambda refund: refund.state is RefundState.FAILED,
        within=PATIENCE,
    )
    async with play.provider_answers():
        await play.world.refunds.convert(refund.refund_id)
    play.credited[case.account] += refund.amount.amount


async def _settle_late(play: Play, case: Case) -> None:
    refund = await play.refund(case)
    plan = await play.world.store.refunds.plan_of(refund.refund_id)
    async with play.provider_answers():
        await play.go_to(refund.workflow_id, plan.overdue_from + timedelta(minutes=1))
    await play.refund_reached(refund.refund_id, RefundState.OVERDUE)
    await play.world.refunds.notify(refund.refund_id, play.report(refund, "succeeded"))
    await play.refund_reached(refund.refund_id, RefundState.SETTLED)


async def _look_up_in_vain(play: Play, case: Case) -> None:
    refund = await play.refund(case)
    plan = await play.world.store.refunds.plan_of(refund.refund_id)
    play.waiting_for_look_ups["requested"] += 1
    await play.away.wait()
    if not play.back.is_set():
        play.waiting_for_look_ups["begun"] += 1
        await play.go_to(refund.workflow_id, plan.lookups[0] + timedelta(hours=20))
        await eventually(
            lambda: play.world.store.refunds.latest(refund.refund_id),
            until=lambda refund: refund.lookup_failure,
        )
        play.waiting_for_look_ups["failed"] += 1
        await play.announce()
        await play.back.wait()
    play.report(refund, "succeeded")
    await play.pass_to_look_up(refund, 1)
    await play.refund_reached(refund.refund_id, RefundState.SETTLED)


async def _request_in_vain(play: Play, case: Case) -> None:
    await play.reached(case, PENDING)
    await play.away.wait()
    accepting = asyncio.create_task(play.refund(case))
    await play.back.wait()
    await play.decide(await accepting, "succeeded")


async def _join_another(play: Play, case: Case) -> None:
    def rivals() -> set[str]:
        return {account for account, email in play.states if email == case.email} - {case.account}

    await play.until(rivals)
    [rival] = rivals()
    await play.reached(case, PENDING, rival)
    await play.accept(case)
    await play.reached(case, InvitationState.SUPERSEDED, rival)


FREE: Final = {"plan": "free"}
SHARED: Final = {"plan": "free", "rooms": [{"id": "room-1"}]}
PRO: Final = {"plan": "pro"}
REQUESTED, SETTLED = "refund_requested", "refund_settled"

KINDS: Final = (
    Kind("fresh", 160, _accept, letters=("welcome",)),
    Kind("free_owner", 140, _accept, letters=("welcome",), own_account=FREE),
    Kind("licensed", 80, _accept, letters=("welcome",), licensed=True),
    Kind("declining", 100, _decline, InvitationState.DECLINED),
    Kind("revoked", 40, _revoke, InvitationState.REVOKED, licensed=True),
    Kind("silent", 80, _expire, InvitationState.EXPIRED, licensed=True),
    Kind(BOUNCED, 40, _bounce, InvitationState.UNDELIVERABLE),
    Kind("unreachable", 10, _lose_mailbox, own_account=FREE),
    Kind("blocked", 60, _clear_blockers, letters=("welcome",), own_account=SHARED),
    Kind(MANAGED, 60, _join, letters=("welcome",)),
    Kind(WANTED, 10, _join_another, letters=("welcome",)),
    Kind("transferring", 60, _transfer, letters=("welcome", "transferred"), own_account=PRO),
    Kind("refunded", 50, _settle, letters=("welcome", REQUESTED, SETTLED), own_account=PRO),
    Kind("failing", 30, _convert, letters=("welcome", "refund_converted"), own_account=PRO),
    Kind("late", 10, _settle_late, letters=("welcome", REQUESTED, SETTLED), own_account=PRO),
    Kind("untold", 40, _look_up_in_vain, letters=("welcome", REQUESTED, SETTLED), own_account=PRO),
    Kind("unheard", 10, _request_in_vain, letters=("welcome", REQUESTED, SETTLED), own_account=PRO),
)
"""The kinds of lifecycles, without orders and assignments."""


def admin_of(account: str) -> str:
    """Return the admin who invites and orders."""
    return f"admin@{account}.example"


def licensed_of(account: str) -> list[str]:
    """Return the users with a base license."""
    return [f"{name}@{account}.example" for name in ("ann", "ben", "cat")]


async def import_accounts(play: Play) -> None:
    """Import all accounts in one file."""
    seats = Counter(case.account for case in play.cases if case.kind.licensed)
    entries: list[Mapping[str, object]] = [
        _account(
            account,
            "business",
            users=[
                _user(f"owner@{account}.example", "owner"),
                _user(admin_of(account), "admin"),
                *(_user(email, licensed=True) for email in licensed_of(account)),
            ],
            licenses=len(licensed_of(account)) + seats[account],
            **({"managed_domains": ["corp.example"]} if account == MANAGED else {}),
        )
        for account in (*play.targets, MANAGED)
    ]
    for account in play.shops:
        customer = await play.provider.customer()
        entries.append(
            _account(
                account,
                "business",
                users=[
                    _user(f"owner@{account}.example", "owner"),
                    _user(admin_of(account), "admin"),
                    *(_user(email, licensed=True) for email in licensed_of(account)),
                ],
                billing_customer=customer,
                payment_methods=[{"id": await play.provider.card(customer), "kind": "card"}],
            )
        )
    for case in play.cases:
        if case.kind.own_account is not None:
            entries.append(await _own_account(play, case))
    await play.world.store.directory.import_(Directory.model_validate({"accounts": entries}))


async def _own_account(play: Play, case: Case) -> Mapping[str, object]:
    own = dict(case.kind.own_account or {})
    users = [_user(case.email, "owner")]
    if "rooms" in own:
        users.append(_user(f"colleague-{case.number}@people.example"))
    if own["plan"] == "pro":
        today = datetime.now(ZoneInfo("Europe/Berlin")).date()
        payment = await play.provider.paid(20000)
        own["subscriptions"] = [
            {
                "id": "sub-1",
                "product": "Pro",
                "kind": "plan",
                "quantity": 1,
                "cycle": "annual",
                "period_start": str(today - timedelta(days=100)),
                "period_end": str(today + timedelta(days=100)),
                "payments": [{"id": payment, "method": "card", "amount": "200.00"}],
            }
        ]
    return _account(case.source, str(own.pop("plan")), users=users, **own)


def _account(account: str, plan: str, **members: object) -> Mapping[str, object]:
    return {
        "id": account,
        "name": account.title(),
        "plan": plan,
        "currency": "EUR",
        "time_zone": "Europe/Berlin",
        "country": "DE",
        "collection": "autopay",
        **members,
    }


def _user(email: str, role: str = "member", *, licensed: bool = False) -> Mapping[str, object]:
    return {"email": email, "role": role, "licensed": licensed}


async def invite_all(play: Play) -> None:
    """Invite everybody: into every second account by batches, else by single requests."""
    world = play.world
    people: dict[str, list[Person]] = defaultdict(list)
    for case in play.cases:
        people[case.account].append(case.person)
        if case.kind.act is _join_another:
            others = [each for each in play.targets if each != case.account]
            people[play.random.choice(others)].append(case.person)

    async def invite(number: int, account: str, invited: list[Person]) -> None:
        by = admin_of(account)
        if number % 2:
            rows = [BatchRow(position=each, person=person) for each, person in enumerate(invited)]
            await world.bulk.submit(account, rows, by)
            return
        left = invited
        while left:
            results = await world.client.invite(account, left[:10], by)
            # A server that is too busy is asked again: repeating a request is safe.
            failed = [each for each in results if each.result == "refused"]
            assert {each.error["code"] for each in failed if each.error} <= {BUSY}, failed
            again = {each.email for each in failed}
            left = [*left[10:], *(each for each in left[:10] if each.email in again)]

    await asyncio.gather(
        *(
            invite(number, account, invited)
            for number, (account, invited) in enumerate(people.items())
        )
    )


async def order_licenses(play: Play, account: str) -> None:
    """Assign licenses that do not exist yet, then order them: the waiting users are served."""
    world, users = play.world, licensed_of(account)
    waiting = await world.licenses.assign(
        account, Sku.LARGE_MEETING, users, admin_of(account), capacity=500
    )
    assert {each.state for each in waiting} == {AssignmentState.WAITING}
    order = await world.orders.buy(
        account,
        Sku.LARGE_MEETING,
        capacity=500,
        quantity=len(users),
        cycle="monthly",
        by=admin_of(account),
    )
    await eventually(
        lambda: world.store.orders.find(order.order_id),
        until=lambda order: order and order.state is OrderState.ACTIVE,
        within=PATIENCE,
    )
    await eventually(
        lambda: world.store.assignments.licenses(account),
        until=lambda pools: any(len(pool.holders) == len(users) for pool in pools if pool.capacity),
        within=PATIENCE,
    )
    play.ended += 2
    await play.announce()
