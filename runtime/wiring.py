"""The worker, assembled from the settings with its adapters."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta

from temporalio.client import Client
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxRestrictions

from activities.assignment import AssignmentActivities
from activities.batch import BatchActivities
from activities.billing import PaymentProvider
from activities.invitation import InvitationActivities
from activities.move import ContentServices, MoveActivities
from activities.order import OrderActivities
from activities.refund import RefundActivities
from activities.reminder import ReminderActivities
from adapters.provider import LedgerProvider
from adapters.smtp import SmtpMailer, mailbox
from adapters.smtp_connection import SmtpConnections, SmtpServer
from adapters.sql.content import SqlContent
from adapters.sql.store import SqlStore
from clients.batch import BatchInviter
from clients.invitation_start import CLAIM_TIMEOUT
from domain.error import ErrorCode, Refused
from runtime.clients import Clients
from runtime.message_guard import MessageGuard
from runtime.outbox_relay import relay_announcements_forever
from runtime.recovery import Recovery
from runtime.sandbox import HeaderInterceptor, LightRunner
from runtime.settings import Settings
from runtime.visibility import InvitationVisibility
from workflows.assignment import AssignmentWorkflow
from workflows.batch import BatchWorkflow
from workflows.invitation import InvitationWorkflow
from workflows.move import MoveWorkflow
from workflows.notice import NoticeWorkflow
from workflows.options import billing_queue, mail_queue
from workflows.order import OrderWorkflow
from workflows.refund import RefundWatchWorkflow, RefundWorkflow
from workflows.reminder import ReminderWorkflow

DRAIN_TIMEOUT = timedelta(seconds=60)
"""Time that a drain waits for running activities.

Long enough for a transaction, an e-mail or a slice of a batch. A move of data or a run of
reminders may take longer; another worker resumes it.
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
    NoticeWorkflow,
    RefundWorkflow,
    RefundWatchWorkflow,
    ReminderWorkflow,
)

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
    """Run a worker with its recovery and its relay during the body, then drain it."""
    recovery = Recovery(Clients.connected(settings, store, client))
    async with (
        worker_for(client, settings, store),
        background_task(recovery.recover_forever()),
        background_task(relay_announcements_forever(client, store.announcements)),
    ):
        yield


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
) -> AsyncIterator[Worker]:
    """Run a worker for `workflows` and all activities during the body.

    Two more workers send e-mails and call the payment provider, each at the rate that the
    settings allow (REM-3).

    `services` hold people's data; None: the built-in ones. Raises `Refused(invalid_input)`.
    """
    clients = Clients.connected(settings, store, client)
    starter = replace(clients.invitation_starter, abandoned_after=abandoned_after)
    async with _mailer(settings, store) as mailer, _provider(settings, store) as provider:
        invitations = InvitationActivities(
            store=store.invitations,
            mailer=mailer,
            links=clients.signer,
            operators=settings.operators_mail,
            sends_at_once=settings.mail_per_second is None,
        )
        moves = MoveActivities(
            store=store.invitations,
            services=services or SqlContent(store.engine, settings.meeting_domain),
        )
        refunds = RefundActivities(
            store=store.refunds, provider=provider, mailer=mailer, operators=settings.operators_mail
        )
        orders = OrderActivities(store=store.orders, provider=provider, mailer=mailer)
        assignments = AssignmentActivities(store=store.assignments, mailer=mailer)
        reminders = ReminderActivities(
            store=store.reminders,
            invitations=InvitationVisibility(client, settings.task_queue),
            mailer=mailer,
            id_key=settings.id_key,
            digest_interval=_digest_interval(settings.mail_per_second),
        )
        bulk = BatchActivities(store=store.batches, inviter=BatchInviter(starter, store.batches))
        mailing: list[Callable[..., object]] = [
            invitations.announce_invitation,
            invitations.deliver_invitation,
            invitations.close_invitation,
            invitations.notify_parties,
            invitations.remind_invitee,
            refunds.notify_payee,
            orders.notify_buyer,
            assignments.notify_holders,
        ]
        mail_worker = Worker(
            client,
            task_queue=mail_queue(settings.task_queue),
            activities=mailing,
            graceful_shutdown_timeout=DRAIN_TIMEOUT,
            max_concurrent_activities=settings.mails_at_once,
            max_task_queue_activities_per_second=settings.mail_per_second,
        )
        paying: list[Callable[..., object]] = [
            refunds.request_refund,
            refunds.look_up_refund,
            orders.charge_order,
        ]
        billing_worker = Worker(
            client,
            task_queue=billing_queue(settings.task_queue),
            activities=paying,
            graceful_shutdown_timeout=DRAIN_TIMEOUT,
            max_task_queue_activities_per_second=settings.billing_per_second,
        )
        worker = Worker(
            client,
            task_queue=settings.task_queue,
            workflows=workflows,
            activities=[
                bulk.invite_slice,
                invitations.join_account,
                invitations.end_invitation,
                invitations.read_invitation,
                invitations.record_invitation,
                invitations.preview_invitation,
                invitations.authorize_admin,
                moves.move_data,
                refunds.book_refund,
                refunds.read_refund,
                refunds.plan_lookups,
                orders.open_order,
                orders.record_order,
                orders.plan_reduction,
                orders.end_term,
                orders.void_order,
                assignments.commit_assignment,
                assignments.read_assignment,
                reminders.record_reminder_run,
                reminders.signal_stale_invitations,
                reminders.await_reminders,
                reminders.notify_inviters,
            ],
            interceptors=[HeaderInterceptor(), MessageGuard()],
            workflow_runner=workflow_runner(shared),
            graceful_shutdown_timeout=DRAIN_TIMEOUT,
            max_cached_workflows=CACHED_WORKFLOWS,
            max_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
        )
        async with mail_worker, billing_worker, worker:
            yield worker


def _digest_interval(per_second: float | None) -> timedelta:
    return timedelta(seconds=1 / per_second) if per_second else timedelta()


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
    try:
        sender = mailbox(settings.mail_from)
    except ValueError as mistake:
        raise Refused(ErrorCode.INVALID_INPUT, f"SEATFLOW_MAIL_FROM: {mistake}") from None
    connections = SmtpConnections(server, local_hostname=sender.domain)
    async with aclosing(connections):
        yield SmtpMailer(connections=connections, sender=sender, sent_letters=store.letters)


@asynccontextmanager
async def _provider(settings: Settings, store: SqlStore) -> AsyncIterator[PaymentProvider]:
    if settings.billing == "ledger":
        yield LedgerProvider(store.engine, settings.ledger_settles_after, settings.ledger_faults)
        return
    # Only this provider loads Stripe's client.
    from adapters.stripe import StripeProvider

    stripe = StripeProvider(settings.stripe_api_key, settings.stripe_api_base)
    try:
        yield stripe
    finally:
        await stripe.close()
