"""REM-3: fairness between accounts, and rate limits for outside systems."""

import asyncio
import time

from temporalio.api.enums.v1 import EventType
from temporalio.testing import WorkflowEnvironment

from domain.batch import BatchRow
from domain.invitation import Person
from domain.license import Sku
from domain.order import OrderState
from tests.database import Databases
from tests.eventually import eventually
from tests.world import ADMIN, JANE, MEMBER, World, a_world
from workflows.options import mail_queue


async def fairness_key(world: World, workflow_id: str) -> str:
    handle = world.temporal.client.get_workflow_handle(workflow_id)
    described = (await handle.describe()).raw_description
    return described.workflow_execution_info.priority.fairness_key


async def test_every_workflow_of_an_account_has_the_account_as_its_fairness_key(
    world: World,
) -> None:
    """REM-3: a large batch of one account does not delay the workflows of another."""
    row = BatchRow(position=0, person=Person(email="bob@example.com"))
    batch = await world.bulk.submit(world.account, [row], ADMIN)
    await world.bulk.wait_until_finished(batch, lambda done, total: None)
    single, in_batch = await world.pending(JANE), await world.until("bob@example.com", "pending")
    bought = await world.orders.buy(
        world.account, Sku.WORKPLACE, quantity=1, cycle="monthly", by=ADMIN
    )
    await world.licenses.assign(world.account, Sku.WORKPLACE, [MEMBER], ADMIN)
    assigned = (await world.last_request()).id
    for workflow_id in (
        batch.workflow_id,
        single.workflow_id,
        in_batch.workflow_id,
        bought.workflow_id,
        assigned,
    ):
        assert await fairness_key(world, workflow_id) == world.account


async def test_e_mails_have_a_task_queue_of_their_own(world: World) -> None:
    """REM-3: e-mails that wait for their rate limit delay no other activity."""
    invitation = await world.pending(JANE)
    handle = world.temporal.client.get_workflow_handle(invitation.workflow_id)
    [delivery] = [
        event.activity_task_scheduled_event_attributes
        async for event in handle.fetch_history_events()
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    ]
    assert delivery.task_queue.name == mail_queue(world.settings.task_queue)


async def test_slow_mail_servers_do_not_delay_the_letters_to_fast_ones(world: World) -> None:
    """REM-3: a conversation gives its slot to others after a second, however long it takes."""
    slow = [f"slow{number}@example.com" for number in range(6)]
    fast = [f"fast{number}@example.com" for number in range(6)]
    world.smtp.slow.update(slow)
    await world.invite_all(*slow)
    await eventually(lambda: world.smtp.commands.count("RCPT") >= world.settings.mails_at_once)
    await world.invite_all(*fast)
    # The mail server would answer for nobody else before a timeout of 30 seconds.
    async with asyncio.timeout(15):
        for email in fast:
            await world.until(email, "pending")
    assert not {mail.to for mail in world.mails()} & set(slow)
    world.smtp.go_on()
    for email in slow:
        await world.until(email, "pending")
    assert sorted(mail.to for mail in world.mails()) == sorted([*slow, *fast])


async def test_no_more_e_mails_a_second_than_the_settings_allow(
    temporal: WorkflowEnvironment, set_up_databases: Databases
) -> None:
    """REM-3: SEATFLOW_MAIL_PER_SECOND limits all e-mails of a task queue."""
    async with a_world(temporal, set_up_databases, mail_per_second=4.0) as world:
        started_at = time.monotonic()
        await world.invite_all(*(f"person{number}@example.com" for number in range(16)))
        for number in range(16):
            await world.until(f"person{number}@example.com", "pending")
        # The e-mails of the first second may be sent at once.
        assert time.monotonic() - started_at > 2


async def test_no_more_charges_a_second_than_the_settings_allow(
    temporal: WorkflowEnvironment, set_up_databases: Databases
) -> None:
    """REM-3: SEATFLOW_BILLING_PER_SECOND limits all requests to the payment provider."""
    async with a_world(temporal, set_up_databases, billing_per_second=2.0) as world:
        started_at = time.monotonic()
        orders = await asyncio.gather(
            *(
                world.orders.buy(
                    world.account,
                    Sku.LARGE_MEETING,
                    capacity=capacity,
                    quantity=quantity,
                    cycle="monthly",
                    by=ADMIN,
                )
                for capacity in (500, 1000, 3000, 5000)
                for quantity in (1, 2)
            )
        )
        assert {order.state for order in orders} == {OrderState.ACTIVE}
        # The charges of the first second may be made at once.
        assert time.monotonic() - started_at > 2
