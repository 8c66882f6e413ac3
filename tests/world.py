"""Seatflow for tests: a real Temporal server, a store, a mail server and a worker."""

import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import WorkflowHandle
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

from activities.move import ContentServices
from adapters.sql.store import SqlStore
from clients.assignment import AssignmentClient
from clients.batch import BatchClient
from clients.invitation import InvitationClient
from clients.invitation_start import CLAIM_TIMEOUT
from clients.order import OrderClient
from clients.refund import RefundClient
from clients.reminder import ReminderClient
from devstack.stack import DYNAMIC_CONFIG
from devstack.virtual_clock import VirtualClock
from domain.account import Directory
from domain.assignment import Assignment
from domain.audit import Violation
from domain.error import Refused
from domain.invitation import Invitation, InvitationState, InviteResult, License, Person
from domain.order import Order, OrderState
from domain.refund import Refund, RefundState
from domain.remedy import Removal
from runtime.clients import Clients
from runtime.codec import data_converter
from runtime.recovery import Recovery
from runtime.settings import Settings
from runtime.store import returnable_by, set_up_store
from runtime.wiring import background_task, relay_of, worker_for
from tests.database import Databases
from tests.eventually import TIMEOUT, eventually
from tests.smtp_server import ReceivedLetter, ScriptedSmtpServer
from workflows import search_attribute
from workflows.assignment import AssignmentWorkflow

JANE = "jane@example.com"
OWNER = "owner@acme.example"
ADMIN = "admin@acme.example"
MEMBER = "member@acme.example"
ANN, BOB, CLEO = LICENSED = ("ann@acme.example", "bob@acme.example", "cleo@acme.example")
BASIC = "basil@acme.example"
PATIENCE = TIMEOUT
SECRET_KEY = SecretStr("a secret key of the tests that is long enough")

User = tuple[str, str] | tuple[str, str, bool]


@asynccontextmanager
async def temporal_server() -> AsyncIterator[WorkflowEnvironment]:
    """Start the real server; the clocks of its workflows can be moved forward."""
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(Path(sys.executable).with_name("temporal")),
        dev_server_log_level="error",
        dev_server_extra_args=DYNAMIC_CONFIG,
        search_attributes=search_attribute.ALL,
        data_converter=data_converter({}, "default"),
    ) as environment:
        yield environment


@dataclass(frozen=True)
class ReceivedMail:
    """An e-mail as its reader receives it."""

    to: str
    event: str
    language: str
    text: str

    @classmethod
    @cache
    def of(cls, letter: ReceivedLetter) -> "ReceivedMail":
        message = letter.message
        body = message.get_body(("plain",))
        return cls(
            to=letter.recipients[0],
            event=str(message["Seatflow-Event"]),
            language=str(message["Content-Language"]),
            text=str(body.get_content()) if body else "",
        )


@dataclass
class World:
    """One account, `account`, with an owner, an admin, a member and two free seats."""

    temporal: WorkflowEnvironment
    store: SqlStore
    smtp: ScriptedSmtpServer
    clients: Clients
    settings: Settings
    account: str = field(default_factory=lambda: f"acme-{uuid.uuid4().hex[:12]}")

    @property
    def clock(self) -> VirtualClock:
        return VirtualClock(self.temporal.client)

    @property
    def client(self) -> InvitationClient:
        return self.clients.invitations

    @property
    def refunds(self) -> RefundClient:
        return self.clients.refunds

    @property
    def orders(self) -> OrderClient:
        return self.clients.orders

    @property
    def licenses(self) -> AssignmentClient:
        return self.clients.assignments

    @property
    def bulk(self) -> BatchClient:
        return self.clients.batches

    @property
    def reminders(self) -> ReminderClient:
        return self.clients.reminders

    def waiting(self, seconds: float) -> "World":
        """Return the same world with another wait budget for its commands."""
        settings = self.clients.settings.model_copy(update={"wait_seconds": seconds})
        return replace(self, clients=replace(self.clients, settings=settings))

    def patient(self) -> "World":
        """Return the same world; its commands wait for a worker that is still starting."""
        return self.waiting(60)

    @asynccontextmanager
    async def working(
        self,
        services: ContentServices | None = None,
        abandoned_after: timedelta = CLAIM_TIMEOUT,
        sweeps: Collection[str] = (),
    ) -> AsyncIterator[None]:
        """Run a worker with its relay, and with these of the repeated searches."""
        client = self.temporal.client
        worker = worker_for(
            client, self.settings, self.store, services=services, abandoned_after=abandoned_after
        )
        relay = replace(relay_of(client, self.settings, self.store), sweeps=sweeps)
        async with worker, background_task(relay.relay_forever()):
            yield

    async def recover(self, *workflow_ids: str) -> None:
        """Restart these workflows if their records have not ended and they do not run."""
        for workflow_id in workflow_ids:
            await Recovery(self.clients).start(workflow_id)

    async def stored(self, email: str) -> Invitation:
        """Return the invitation in the store."""
        stored = await self.store.invitations.latest(self.account, email)
        assert stored is not None
        return stored.invitation

    # Arrange and read.

    async def imported(
        self,
        account: str,
        *,
        plan: str = "business",
        users: Sequence[User] = (),
        suspended: bool = False,
        licenses: int | None = None,
        **members: object,
    ) -> None:
        """Import an account."""
        entry: dict[str, object] = {
            "id": account,
            "name": account.title(),
            "plan": plan,
            "currency": "EUR",
            "time_zone": "Europe/Berlin",
            "country": "DE",
            "collection": "autopay",
            "suspended": suspended,
            "users": [
                {"email": email, "role": role, "licensed": bool(licensed)}
                for email, role, *licensed in users
            ],
        }
        if licenses is not None:
            entry["licenses"] = licenses
        entry.update(members)
        await self.store.directory.import_(Directory.model_validate({"accounts": [entry]}))

    async def import_users(self, account: str, users: Sequence[Mapping[str, object]]) -> None:
        """Replace the users of a known account."""
        [entry] = (await self.export(account)).model_dump(mode="json", exclude_none=True)[
            "accounts"
        ]
        entry["users"] = list(users)
        await self.store.directory.import_(Directory.model_validate({"accounts": [entry]}))

    async def export(self, account: str) -> Directory:
        return await self.store.directory.export(account)

    async def members(self) -> set[str]:
        [account] = (await self.export(self.account)).accounts
        return {user.email for user in account.users}

    async def free_seats(self) -> int:
        """Return the number of base licenses that an invitation could still reserve."""
        [account] = (await self.export(self.account)).accounts
        invited = await self.client.list(self.account)
        reserved = sum(
            each.license is License.LICENSED and each.state.unanswered for each in invited
        )
        taken = sum(user.licensed for user in account.users)
        return (account.licenses or 0) - taken - reserved

    async def audit(self) -> tuple[Violation, ...]:
        return (await self.store.audit()).violations

    # Act.

    async def invite(
        self, email: str, license: License = License.BASIC, by: str = ADMIN
    ) -> InviteResult:
        [row] = await self.client.invite(self.account, [Person(email=email, license=license)], by)
        return row

    async def invite_all(self, *emails: str, licensed: bool = False) -> list[InviteResult]:
        license = License.LICENSED if licensed else License.BASIC
        people = [Person(email=email, license=license) for email in emails]
        return await self.client.invite(self.account, people, ADMIN)

    async def pending(self, email: str, license: License = License.BASIC) -> Invitation:
        await self.invite(email, license)
        return await self.until(email, "pending")

    async def remove_user(self, account: str, email: str, how: Removal = Removal.UNLINK) -> None:
        await self.store.remedies.remove_user(account, email, how, datetime.now(UTC))

    async def remove_room(self, account: str, room: str) -> None:
        await self.store.remedies.remove_room(account, room, datetime.now(UTC))

    async def show(self, email: str) -> Invitation:
        return await self.client.show(self.account, email)

    async def until(self, email: str, state: str) -> Invitation:
        """Wait for the invitation to reach `state`."""
        expected = InvitationState(state)
        return await eventually(
            lambda: self.show(email), until=lambda invitation: invitation.state is expected
        )

    async def refund_until(self, refund_id: str, state: RefundState) -> Refund:
        """Wait for the refund to reach `state`."""
        return await eventually(
            lambda: self.refunds.show(refund_id), until=lambda refund: refund.state is state
        )

    async def order_until(
        self, order_id: str, state: OrderState, *, tries: int = 0, payments: int = 0
    ) -> Order:
        """Wait for the order to reach `state` with these numbers of declines and payments."""

        def reached(order: Order) -> bool:
            paid = sum(invoice.state == "paid" for invoice in order.invoices)
            return order.state is state and order.tries >= tries and paid >= payments

        return await eventually(lambda: self.orders.show(order_id), until=reached)

    async def bought(self, capacity: int, quantity: int = 1) -> None:
        """Import more Large Meeting licenses; users who wait are served."""
        exported = await self.store.directory.export(self.account)
        [entry] = exported.model_dump(mode="json", exclude_unset=True)["accounts"]
        for pool in entry["pools"]:
            if pool["capacity"] == capacity:
                pool["bought"] += quantity
        await self.store.directory.import_(Directory.model_validate({"accounts": [entry]}))

    async def requests(self) -> list[str]:
        """Return the ids of the started assignments, the newest last."""
        query = f"WorkflowType = 'AddonAssignment' AND AccountId = '{self.account}'"
        found = [each async for each in self.temporal.client.list_workflows(query)]
        return [each.id for each in sorted(found, key=lambda each: each.start_time)]

    async def last_request(self) -> WorkflowHandle[AssignmentWorkflow, Assignment]:
        """Return the assignment that was started last, once visibility has it."""
        ids = await eventually(self.requests)
        return self.temporal.client.get_workflow_handle_for(AssignmentWorkflow.run, ids[-1])

    # Time and history.

    async def pass_time(self, email: str, span: timedelta) -> None:
        """Move the invitation's clock forward."""
        await self.clock.pass_time((await self.show(email)).workflow_id, span)

    async def go_to(self, email: str, moment: datetime) -> None:
        """Move the invitation's clock to `moment`."""
        await self.clock.go_to((await self.show(email)).workflow_id, moment)

    async def forget(self, email: str) -> None:
        """Delete the run from Temporal, as at the end of its retention."""
        invitation = await self.show(email)
        client = self.temporal.client
        await client.workflow_service.delete_workflow_execution(
            DeleteWorkflowExecutionRequest(
                namespace=client.namespace,
                workflow_execution=WorkflowExecution(workflow_id=invitation.workflow_id),
            )
        )

        async def is_deleted() -> bool:
            try:
                await client.get_workflow_handle(invitation.workflow_id).describe()
            except RPCError:
                return True
            return False

        await eventually(is_deleted)

    async def run_now(self, email: str) -> str:
        """Return the id of the current run."""
        return (await (await self._handle(email)).describe()).run_id

    async def events(self, email: str) -> list[str]:
        """Return the types of the events in the history."""
        history = await (await self._handle(email)).fetch_history()
        return [EventType.Name(event.event_type) for event in history.events]

    async def event_sizes(self, email: str) -> list[int]:
        """Return the bytes of each event of the invitation's history."""
        history = await (await self._handle(email)).fetch_history()
        return [event.ByteSize() for event in history.events]

    async def payload_bytes(self, email: str) -> int:
        """Return the size of the history."""
        history = await (await self._handle(email)).fetch_history()
        return sum(event.ByteSize() for event in history.events)

    async def failures(self, email: str) -> str:
        """Return the failure messages of activities and updates in the history."""
        history = await (await self._handle(email)).fetch_history()
        activities = [e.activity_task_failed_event_attributes.failure for e in history.events]
        updates = [
            e.workflow_execution_update_completed_event_attributes.outcome.failure
            for e in history.events
        ]
        return " ".join(failure.message for failure in (*activities, *updates))

    async def _handle(self, email: str) -> WorkflowHandle[object, object]:
        invitation = await self.show(email)
        return self.temporal.client.get_workflow_handle(invitation.workflow_id)

    # E-mails.

    def mails(self, *, to: str | None = None, event: str | None = None) -> list[ReceivedMail]:
        mails = [ReceivedMail.of(letter) for letter in self.smtp.received]
        return [
            mail
            for mail in mails
            if (to is None or mail.to == to) and (event is None or mail.event == event)
        ]

    async def mailed(self, event: str, to: str, times: int = 1) -> ReceivedMail:
        """Wait for exactly `times` e-mails about `event`; return the last."""
        found = await eventually(
            lambda: self.mails(to=to, event=event), until=lambda mails: len(mails) >= times
        )
        assert len(found) == times
        return found[-1]


@asynccontextmanager
async def databases_in(folder: Path) -> AsyncIterator[Databases]:
    """Return databases that are set up with the key of these worlds."""

    async def set_up(engine: AsyncEngine) -> None:
        url = SecretStr(str(engine.url))
        await set_up_store(Settings(database_url=url, secret_key=SECRET_KEY))

    databases = Databases(folder, set_up)
    yield databases
    await databases.close()


@asynccontextmanager
async def a_world(
    environment: WorkflowEnvironment,
    databases: Databases,
    *,
    working: bool = True,
    **changed_settings: object,
) -> AsyncIterator[World]:
    """Build a world with its own account, store and task queue on the shared server."""
    async with ScriptedSmtpServer() as smtp, databases.lent() as database:
        settings = Settings(
            database_url=SecretStr(database.url),
            smtp_url=SecretStr(smtp.url),
            secret_key=SECRET_KEY,
            task_queue=f"seatflow-{uuid.uuid4().hex[:12]}",
            wait_seconds=45 if working else 1,
        ).model_copy(update=changed_settings)
        store = SqlStore(database.engine, returnable_by(settings))
        clients = Clients.connected(settings, store, environment.client)
        world = World(environment, store, smtp, clients, settings)
        await world.imported(
            world.account,
            users=[(OWNER, "owner"), (ADMIN, "admin"), (MEMBER, "member")],
            licenses=2,
        )
        if working:
            async with world.working():
                yield world
        else:
            yield world


async def a_paying_owner(
    world: World, currency: str = "EUR", *, refundable: bool = True, bank: bool | None = None
) -> None:
    """Invite Jane, who owns a pro account with half of its annual plan unused."""
    by_bank = refundable if bank is None else bank
    await import_paying_owner(
        world,
        {"id": "pay-1", "method": "card", "amount": "150.00", "refundable": refundable},
        {"id": "pay-2", "method": "bank", "amount": "50.00", "refundable": by_bank},
        currency=currency,
    )
    await world.pending(JANE)


async def import_paying_owner(
    world: World, *payments: Mapping[str, object], currency: str = "EUR"
) -> None:
    """Import Jane, who owns a pro account; half of the annual plan of these payments is unused."""
    today = datetime.now(ZoneInfo("Europe/Berlin")).date()
    await world.imported(
        "jane-pro",
        plan="pro",
        users=[(JANE, "owner")],
        subscriptions=[
            {
                "id": "sub-1",
                "product": "Pro",
                "kind": "plan",
                "quantity": 1,
                "cycle": "annual",
                "period_start": str(today - timedelta(days=100)),
                "period_end": str(today + timedelta(days=100)),
                "payments": payments,
            }
        ],
        currency=currency,
    )


async def licensed_users(world: World) -> None:
    """Import three licensed users and a basic one, with two Large Meeting licenses."""
    await world.imported(
        world.account,
        users=[
            (OWNER, "owner"),
            (ADMIN, "admin"),
            (MEMBER, "member"),
            (BASIC, "member"),
            *((email, "member", True) for email in LICENSED),
        ],
        licenses=len(LICENSED),
        pools=[{"sku": "large-meeting", "capacity": 500, "bought": 2}],
    )


async def refusal_of(answer: Awaitable[object]) -> str:
    """Return the code with which `answer` is refused."""
    try:
        await answer
    except Refused as refused:
        return refused.code.value
    raise AssertionError("nothing was refused")
