"""The worker, assembled from the settings with its adapters."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from email.headerregistry import Address

from temporalio.client import Client
from temporalio.worker import Interceptor, Worker
from temporalio.worker.workflow_sandbox import SandboxRestrictions

from activities.assignment import AssignmentActivities
from activities.batch import BatchActivities
from activities.invitation import InvitationActivities
from activities.move import ContentServices, MoveActivities
from activities.order import OrderActivities
from activities.outbox import LetterSender, OutboxActivities
from activities.refund import RefundActivities
from activities.reminder import ReminderActivities
from adapters.smtp import SmtpMailer, mailbox
from adapters.smtp_connection import SmtpConnections, SmtpServer
from adapters.sql.content import SqlContent
from adapters.sql.store import SqlStore
from clients.batch import BatchInviter
from clients.invitation_start import CLAIM_TIMEOUT
from domain.error import ErrorCode, Refused
from runtime.clients import Clients
from runtime.failing_activities import FailingActivities
from runtime.mail_slots import MailSlots
from runtime.message_guard import MessageGuard
from runtime.provider import open_provider
from runtime.recovery import Recovery
from runtime.relay import Relay
from runtime.reminder import InvitationSignals
from runtime.restore_guard import RestoreGuard
from runtime.sandbox import HeaderInterceptor, LightRunner
from runtime.settings import Settings
from workflows.assignment import AssignmentWorkflow
from workflows.batch import BatchWorkflow
from workflows.invitation import InvitationWorkflow
from workflows.move import MoveWorkflow
from workflows.options import billing_queue, mail_queue
from workflows.order import OrderWorkflow
from workflows.refund import RefundWatchWorkflow, RefundWorkflow
from workflows.reminder import ReminderWorkflow

DRAIN_TIMEOUT = timedelta(seconds=15)
"""Longer than a transaction, an e-mail or a slice of a batch usually takes.

Activities that run longer fail and are retried: a stalled mail server or payment provider must
not hold up the end of the process. A move of data and a run of reminders continue from their
last heartbeat.
"""

HEARTBEAT_THROTTLE = timedelta(seconds=5)
"""Longest delay of the progress of a move in Temporal's UI."""

CACHED_WORKFLOWS = 5_000
"""Workflows kept in memory between their tasks: about 75 KiB each, 370 MiB in all.

A workflow task that begins with a replay takes more than twice the time.
"""

WORKFLOWS = (
    OrderWorkflow,
    AssignmentWorkflow,
    BatchWorkflow,
    InvitationWorkflow,
    MoveWorkflow,
    RefundWorkflow,
    RefundWatchWorkflow,
    ReminderWorkflow,
)

INTERCEPTORS = (HeaderInterceptor(), MessageGuard())
"""Interceptors of each workflow."""

PASSTHROUGH_MODULES = (
    "activities",
    "domain",
    "pydantic",
    "pydantic_core",
    "runtime",
    "states",
    "statemachine",
    "workflows",
)
"""Modules that all workflows share: deterministic, and without mutable state."""


@asynccontextmanager
async def running_worker(
    client: Client, settings: Settings, store: SqlStore
) -> AsyncIterator[None]:
    """Run a worker and its relay during the body, then drain it."""
    async with (
        worker_for(client, settings, store),
        background_task(relay_of(client, settings, store).relay_forever()),
    ):
        yield


def relay_of(client: Client, settings: Settings, store: SqlStore) -> Relay:
    """Return the relay of a worker."""
    clients = Clients.connected(settings, store, client)
    return Relay(
        client,
        store.outbox,
        Recovery(clients),
        clients.invitation_starter,
        RestoreGuard(store.restore),
    )


@asynccontextmanager
async def background_task(endless: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """Run `endless` as a task during the body, and cancel it afterwards."""
    task = asyncio.create_task(endless)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@dataclass(frozen=True)
class Activities:
    """The activities of the workflows, with their adapters, by the queue that they run on."""

    invitations: InvitationActivities
    moves: MoveActivities
    refunds: RefundActivities
    orders: OrderActivities
    assignments: AssignmentActivities
    reminders: ReminderActivities
    batches: BatchActivities
    outbox: OutboxActivities

    def mailing(self) -> list[Callable[..., object]]:
        """Return the activities that send e-mails."""
        return [
            self.outbox.send_letter,
            self.invitations.announce_invitation,
            self.invitations.deliver_invitation,
            self.invitations.remind_invitee,
        ]

    def paying(self) -> list[Callable[..., object]]:
        """Return the activities that call the payment provider."""
        return [
            self.refunds.request_refund,
            self.refunds.look_up_refund,
            self.orders.charge_order,
        ]

    def others(self) -> list[Callable[..., object]]:
        """Return the activities without a limit on their rate."""
        return [
            self.batches.invite_slice,
            self.invitations.join_account,
            self.invitations.end_invitation,
            self.invitations.read_invitation,
            self.invitations.record_invitation,
            self.invitations.preview_invitation,
            self.invitations.authorize_admin,
            self.moves.move_data,
            self.moves.fail_items,
            self.refunds.book_refund,
            self.refunds.read_refund,
            self.refunds.plan_lookups,
            self.orders.record_order,
            self.orders.amend_order,
            self.orders.end_term,
            self.orders.void_order,
            self.assignments.commit_assignment,
            self.assignments.read_assignment,
            self.reminders.record_reminder_run,
            self.reminders.signal_stale_invitations,
            self.reminders.await_reminders,
            self.reminders.notify_inviters,
        ]


@asynccontextmanager
async def worker_for(
    client: Client,
    settings: Settings,
    store: SqlStore,
    *,
    workflows: Sequence[type] = WORKFLOWS,
    services: ContentServices | None = None,
    shared: Sequence[str] = PASSTHROUGH_MODULES,
    abandoned_after: timedelta = CLAIM_TIMEOUT,
) -> AsyncIterator[None]:
    """Run a worker for `workflows` and all activities during the body.

    Two more workers send e-mails and call the payment provider, each at the rate that the
    settings allow (REM-3).

    `services` hold people's data; None: the built-in ones. Raises `Refused(invalid_input)`.
    """
    # The guard is the first: work that waits has not failed.
    reported = (RestoreGuard(store.restore), FailingActivities(store.problems))
    async with _activities(client, settings, store, services, abandoned_after) as activities:
        workers = (
            _mail_worker(client, settings, activities, reported),
            _billing_worker(client, settings, activities, reported),
            _workflow_worker(
                client, settings, activities, reported, workflows=workflows, shared=shared
            ),
        )
        async with running_together(workers):
            yield


@asynccontextmanager
async def running_together(workers: Sequence[Worker]) -> AsyncIterator[None]:
    """Run the workers during the body, then drain them all at the same time.

    One that was drained after another would accept new work in the meantime.
    """
    async with AsyncExitStack() as running:
        for worker in workers:
            await running.enter_async_context(worker)
        try:
            yield
        finally:
            await asyncio.gather(*(worker.shutdown() for worker in workers))


def _mail_worker(
    client: Client, settings: Settings, activities: Activities, reported: Sequence[Interceptor]
) -> Worker:
    return Worker(
        client,
        task_queue=mail_queue(settings.task_queue),
        activities=activities.mailing(),
        interceptors=reported,
        graceful_shutdown_timeout=DRAIN_TIMEOUT,
        tuner=MailSlots(settings.mails_at_once).tuner(),
        max_task_queue_activities_per_second=settings.mail_per_second,
    )


def _billing_worker(
    client: Client, settings: Settings, activities: Activities, reported: Sequence[Interceptor]
) -> Worker:
    return Worker(
        client,
        task_queue=billing_queue(settings.task_queue),
        activities=activities.paying(),
        interceptors=reported,
        graceful_shutdown_timeout=DRAIN_TIMEOUT,
        max_task_queue_activities_per_second=settings.billing_per_second,
    )


def _workflow_worker(
    client: Client,
    settings: Settings,
    activities: Activities,
    reported: Sequence[Interceptor],
    *,
    workflows: Sequence[type],
    shared: Sequence[str],
) -> Worker:
    return Worker(
        client,
        task_queue=settings.task_queue,
        workflows=workflows,
        activities=activities.others(),
        interceptors=[*INTERCEPTORS, *reported],
        workflow_runner=workflow_runner(shared),
        graceful_shutdown_timeout=DRAIN_TIMEOUT,
        max_cached_workflows=CACHED_WORKFLOWS,
        # The answer to an update contains its argument. With the limit, the worker would fail the
        # workflow task of an update that is too large, again and again; the server refuses it.
        disable_payload_error_limit=True,
        max_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
    )


@asynccontextmanager
async def _activities(
    client: Client,
    settings: Settings,
    store: SqlStore,
    services: ContentServices | None,
    abandoned_after: timedelta,
) -> AsyncIterator[Activities]:
    clients = Clients.connected(settings, store, client)
    content = services or SqlContent(store.engine, settings.meeting_domain)
    starter = replace(clients.invitation_starter, abandoned_after=abandoned_after)
    inviter = BatchInviter(starter, store.batches)
    operators = settings.operators_mail
    async with _mailer(settings, store) as mailer, open_provider(settings, store) as provider:
        letters = LetterSender(store.letters, mailer, clients.signer, operators)
        yield Activities(
            invitations=_invitations(clients, mailer, letters),
            moves=MoveActivities(store=store.invitations, services=content),
            refunds=RefundActivities(store=store.refunds, provider=provider),
            orders=OrderActivities(store=store.orders, provider=provider),
            assignments=AssignmentActivities(store=store.assignments),
            reminders=ReminderActivities(
                store=store.reminders,
                invitations=InvitationSignals(client),
                id_key=settings.id_key,
            ),
            batches=BatchActivities(store=store.batches, inviter=inviter),
            outbox=OutboxActivities(letters=letters),
        )


def _invitations(
    clients: Clients, mailer: SmtpMailer, letters: LetterSender
) -> InvitationActivities:
    return InvitationActivities(
        store=clients.store.invitations,
        mailer=mailer,
        links=clients.signer,
        letters=letters,
        sends_at_once=clients.settings.mail_per_second is None,
    )


def workflow_runner(shared: Sequence[str] = PASSTHROUGH_MODULES) -> LightRunner:
    """Return the sandbox in which workflows run and replay."""
    restrictions = SandboxRestrictions.default.with_passthrough_modules(*shared)
    return LightRunner(restrictions=restrictions)


@asynccontextmanager
async def _mailer(settings: Settings, store: SqlStore) -> AsyncIterator[SmtpMailer]:
    try:
        server = SmtpServer.parse(settings.smtp_url.get_secret_value())
    except ValueError as mistake:
        raise Refused(ErrorCode.INVALID_INPUT, f"SEATFLOW_SMTP_URL: {mistake}") from None
    sender = _mailbox("SEATFLOW_MAIL_FROM", settings.mail_from)
    replies = settings.mail_reply_to
    connections = SmtpConnections(server, local_hostname=sender.domain)
    async with aclosing(connections):
        yield SmtpMailer(
            connections=connections,
            sender=sender,
            sent_letters=store.letters,
            reply_to=_mailbox("SEATFLOW_MAIL_REPLY_TO", replies) if replies else None,
            support_contact=settings.support_contact,
            operators=settings.operators_mail,
            public_url=settings.public_url,
        )


def _mailbox(setting: str, text: str) -> Address:
    try:
        return mailbox(text)
    except ValueError as mistake:
        raise Refused(ErrorCode.INVALID_INPUT, f"{setting}: {mistake}") from None
