"""Thousands invited at once: beside a client that only starts, and beside a single invitation."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median

from sqlalchemy import func, select
from temporalio.client import Client

from activities.batch import PORTION
from adapters.sql.database.schema import InvitationRow
from adapters.sql.database.transaction import reading
from bench.figure import LONE, OUT, SUBMITTED, Figure
from bench.stand import ADMIN, FLOOR, OTHER, OTHERS_ADMIN, SEATFLOW, TARGET, Side, Stand
from clients.batch import BulkClient
from clients.invitation_start import Inviting, Terms
from domain.batch import BatchRow
from domain.invitation import Invitation, InvitationState, Invite, Person
from runtime.clients import bulk_client, signer
from states.invitation import opening

IN_FLIGHT = 100
"""Starts of the bare client that the server has not answered yet."""

IDLE = 20
"""Single invitations, one after the other, while nothing else happens."""

WARM_UP = 10
"""Before anything is measured."""

LONE_EVERY = 0.5
"""Seconds between two single invitations during a batch."""

_LOOK_EVERY = 0.05
_LOOK_CLOSELY = 0.005


@dataclass(frozen=True)
class Sent:
    """How many rows a second were submitted, and were pending."""

    submitted: float
    out: float


async def batches(stand: Stand, rounds: int, count: int) -> list[Figure]:
    """Rounds of `count` rows, in turns: as a batch, and by a client that only starts."""
    await _as_a_batch(stand, "oursfirst", WARM_UP)
    await _bare(stand, "barefirst", WARM_UP)
    pairs = list[tuple[Sent, Sent]]()
    for number in range(rounds):
        if number % 2:
            bare = await _bare(stand, f"bare{number}", count)
            pairs.append((await _as_a_batch(stand, f"ours{number}", count), bare))
        else:
            ours = await _as_a_batch(stand, f"ours{number}", count)
            pairs.append((ours, await _bare(stand, f"bare{number}", count)))
    submitted = [(ours.submitted, bare.submitted) for ours, bare in pairs]
    out = [(ours.out, bare.out) for ours, bare in pairs]
    return [
        Figure(goal, [mine / its for mine, its in rates], _beside(rates))
        for goal, rates in ((SUBMITTED, submitted), (OUT, out))
    ]


def _beside(rates: Sequence[tuple[float, float]]) -> str:
    ours, bare = (median(pair[side] for pair in rates) for side in (0, 1))
    return f"{ours:.0f} to {bare:.0f} rows a second"


async def _as_a_batch(stand: Stand, name: str, count: int) -> Sent:
    side = stand.sides[SEATFLOW]
    bulk = _bulk(stand, side)
    began = time.monotonic()
    batch = await bulk.submit(TARGET, _rows(name, count), ADMIN)
    while not (await bulk.batches.progress(batch.batch_id)).finished:
        await asyncio.sleep(_LOOK_EVERY)
    submitted = time.monotonic() - began
    await _pending(side, name, count)
    return Sent(count / submitted, count / (time.monotonic() - began))


async def _bare(stand: Stand, name: str, count: int) -> Sent:
    """Only starts, of the floor's workflow, for claims that were stored before the clock runs."""
    side = stand.sides[FLOOR]
    inviting = _inviting(stand, side)
    terms = Terms(account=TARGET, by=ADMIN, policy=side.settings.policy)
    claims = list[tuple[Invite, Invitation]]()
    for row in _rows(name, count):
        invite = inviting.order(row.person, terms, f"{name}-{row.position}")
        claims.append((invite, opening(invite, run_id="", at=datetime.now(UTC))))
    for first in range(0, count, PORTION):
        await side.store.invitations.claim_all(claims[first : first + PORTION], datetime.now(UTC))
    in_flight = asyncio.Semaphore(IN_FLIGHT)

    async def started(invite: Invite, begun: Invitation) -> None:
        async with in_flight:
            await inviting.start_workflow(invite, begun)

    began = time.monotonic()
    await asyncio.gather(*(started(*claim) for claim in claims))
    submitted = time.monotonic() - began
    await _pending(side, name, count)
    return Sent(count / submitted, count / (time.monotonic() - began))


async def lone_ones(stand: Stand, count: int) -> list[Figure]:
    """Single invitations of one account on an idle system, then while another invites `count`."""
    side = stand.sides[SEATFLOW]
    for number in range(WARM_UP):
        await _lone(side, f"warm{number}")
    idle = median([await _lone(side, f"idle{number}") for number in range(IDLE)])
    bulk = _bulk(stand, side)
    began = time.monotonic()
    await bulk.submit(TARGET, _rows("beside", count), ADMIN)
    all_out = asyncio.create_task(_pending(side, "beside", count))
    busy = list[float]()
    while not all_out.done():
        busy.append(await _lone(side, f"busy{len(busy)}"))
        await asyncio.wait([all_out], timeout=LONE_EVERY)
    await all_out
    rate = count / (time.monotonic() - began)
    note = (
        f"{1000 * median(busy):.0f} to {1000 * idle:.0f} ms, the longest {max(busy):.1f} s; "
        f"{len(busy)} beside {count:,} rows, {rate:.0f} a second"
    )
    return [Figure(LONE, [each / idle for each in busy], note)]


async def _lone(side: Side, name: str) -> float:
    """Seconds from asking for a single invitation until it is pending."""
    email = f"{name}@lone.example"
    began = time.monotonic()
    [invited] = await side.client.invite(OTHER, [Person(email=email)], OTHERS_ADMIN)
    assert invited.result == "invited", invited
    while True:
        stored = await side.store.invitations.latest(OTHER, email)
        if stored and stored.invitation.state is InvitationState.PENDING:
            return time.monotonic() - began
        await asyncio.sleep(_LOOK_CLOSELY)


def _rows(name: str, count: int) -> list[BatchRow]:
    return [
        BatchRow(position=position, person=Person(email=_email(name, position)))
        for position in range(count)
    ]


def _email(name: str, position: int) -> str:
    return f"{name}-{position}@new.example"


async def _pending(side: Side, name: str, count: int) -> None:
    """Wait until every row of that name is pending."""
    query = select(func.count()).where(
        InvitationRow.account_id == TARGET,
        InvitationRow.state == InvitationState.PENDING,
        InvitationRow.email.startswith(f"{name}-"),
    )
    while True:
        async with reading(side.store.engine) as session:
            if (await session.scalar(query)) == count:
                return
        await asyncio.sleep(_LOOK_EVERY)


def _bulk(stand: Stand, side: Side) -> BulkClient:
    async def connected() -> Client:
        return stand.temporal

    return bulk_client(side.settings, side.store, connected)


def _inviting(stand: Stand, side: Side) -> Inviting:
    async def connected() -> Client:
        return stand.temporal

    return Inviting(
        connect=connected,
        invitations=side.store.invitations,
        signer=signer(side.settings),
        id_key=side.settings.id_key,
        task_queue=side.settings.task_queue,
        wait_seconds=side.settings.wait_seconds,
    )
