"""Batches: compared with direct starts of workflows, and their effect on single invitations."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median

from sqlalchemy import func, select

from activities.batch import CHUNK_SIZE
from adapters.sql.database.schema import InvitationRow
from adapters.sql.database.transaction import reading
from bench.environment import (
    ADMIN,
    BASELINE,
    OTHER,
    OTHER_ADMIN,
    SEATFLOW,
    TARGET,
    Environment,
    Variant,
)
from bench.figure import DELIVERED, SINGLE, SUBMITTED, Figure
from clients.invitation_start import InvitationTerms
from domain.batch import BatchRow
from domain.invitation import Invitation, InvitationState, Invite, Person
from states.invitation import initial_record

CONCURRENT_STARTS = 100
"""Start requests of the direct client in flight at a time."""

IDLE_SAMPLES = 20
"""Single invitations, one after the other, on the idle system."""

WARM_UP = 10
"""Invitations before the first measurement."""

SINGLE_EVERY_SECONDS = 0.5
"""Interval of single invitations during a batch."""

_POLL_SECONDS = 0.05
_FINE_POLL_SECONDS = 0.005


@dataclass(frozen=True)
class Rates:
    """Rows per second that were submitted, and that became pending."""

    submitted: float
    delivered: float


async def measure_batches(environment: Environment, rounds: int, count: int) -> list[Figure]:
    """Measure rounds of `count` rows, in turns as a batch and as direct starts of workflows."""
    await _submit_batch(environment, "warmbatch", WARM_UP)
    await _start_directly(environment, "warmdirect", WARM_UP)
    pairs = list[tuple[Rates, Rates]]()
    for number in range(rounds):
        if number % 2:
            direct = await _start_directly(environment, f"direct{number}", count)
            pairs.append((await _submit_batch(environment, f"batch{number}", count), direct))
        else:
            batch = await _submit_batch(environment, f"batch{number}", count)
            pairs.append((batch, await _start_directly(environment, f"direct{number}", count)))
    submitted = [(batch.submitted, direct.submitted) for batch, direct in pairs]
    delivered = [(batch.delivered, direct.delivered) for batch, direct in pairs]
    return [
        Figure(goal, [batch / direct for batch, direct in rates], _medians(rates))
        for goal, rates in ((SUBMITTED, submitted), (DELIVERED, delivered))
    ]


def _medians(rates: Sequence[tuple[float, float]]) -> str:
    batch, direct = (median(pair[side] for pair in rates) for side in (0, 1))
    return f"{batch:.0f} to {direct:.0f} rows a second"


async def _submit_batch(environment: Environment, name: str, count: int) -> Rates:
    variant = environment.variants[SEATFLOW]
    batches = variant.clients.batches
    start = time.monotonic()
    batch = await batches.submit(TARGET, _rows(name, count), ADMIN)
    while not (await batches.batches.progress(batch.batch_id)).finished:
        await asyncio.sleep(_POLL_SECONDS)
    submitted = time.monotonic() - start
    await _wait_until_pending(variant, name, count)
    return Rates(count / submitted, count / (time.monotonic() - start))


async def _start_directly(environment: Environment, name: str, count: int) -> Rates:
    """Start the baseline's workflows for claims stored before the measurement begins."""
    variant = environment.variants[BASELINE]
    starter = variant.clients.invitation_starter
    terms = InvitationTerms(account=TARGET, by=ADMIN, policy=variant.settings.policy)
    claims = list[tuple[Invite, Invitation]]()
    for row in _rows(name, count):
        invite = starter.invite_of(row.person, terms, f"{name}-{row.position}")
        claims.append((invite, initial_record(invite, run_id="", at=datetime.now(UTC))))
    for first in range(0, count, CHUNK_SIZE):
        await variant.store.invitations.claim_all(
            claims[first : first + CHUNK_SIZE], datetime.now(UTC)
        )
    slots = asyncio.Semaphore(CONCURRENT_STARTS)

    async def start_one(invite: Invite, begun: Invitation) -> None:
        async with slots:
            await starter.start_workflow(invite, begun)

    start = time.monotonic()
    await asyncio.gather(*(start_one(*claim) for claim in claims))
    submitted = time.monotonic() - start
    await _wait_until_pending(variant, name, count)
    return Rates(count / submitted, count / (time.monotonic() - start))


async def measure_single_invitations(environment: Environment, count: int) -> list[Figure]:
    """Measure single invitations on the idle system, then during another account's batch."""
    variant = environment.variants[SEATFLOW]
    for number in range(WARM_UP):
        await _invite_single(variant, f"warm{number}")
    idle = median(
        [await _invite_single(variant, f"idle{number}") for number in range(IDLE_SAMPLES)]
    )
    batches = variant.clients.batches
    start = time.monotonic()
    await batches.submit(TARGET, _rows("batch", count), ADMIN)
    delivered = asyncio.create_task(_wait_until_pending(variant, "batch", count))
    busy = list[float]()
    while not delivered.done():
        busy.append(await _invite_single(variant, f"busy{len(busy)}"))
        await asyncio.wait([delivered], timeout=SINGLE_EVERY_SECONDS)
    await delivered
    rate = count / (time.monotonic() - start)
    note = (
        f"{1000 * median(busy):.0f} to {1000 * idle:.0f} ms, the longest {max(busy):.1f} s; "
        f"{len(busy)} during {count:,} rows, {rate:.0f} a second"
    )
    return [Figure(SINGLE, [each / idle for each in busy], note)]


async def _invite_single(variant: Variant, name: str) -> float:
    """Return the seconds from the request for a single invitation until it is pending."""
    email = f"{name}@single.example"
    start = time.monotonic()
    [invited] = await variant.clients.invitations.invite(OTHER, [Person(email=email)], OTHER_ADMIN)
    assert invited.result == "invited", invited
    while True:
        stored = await variant.store.invitations.latest(OTHER, email)
        if stored and stored.invitation.state is InvitationState.PENDING:
            return time.monotonic() - start
        await asyncio.sleep(_FINE_POLL_SECONDS)


def _rows(name: str, count: int) -> list[BatchRow]:
    return [
        BatchRow(position=position, person=Person(email=_email(name, position)))
        for position in range(count)
    ]


def _email(name: str, position: int) -> str:
    return f"{name}-{position}@new.example"


async def _wait_until_pending(variant: Variant, name: str, count: int) -> None:
    """Wait until all `count` rows of that name are pending."""
    query = select(func.count()).where(
        InvitationRow.account_id == TARGET,
        InvitationRow.state == InvitationState.PENDING,
        InvitationRow.email.startswith(f"{name}-"),
    )
    while True:
        async with reading(variant.store.engine) as session:
            if (await session.scalar(query)) == count:
                return
        await asyncio.sleep(_POLL_SECONDS)
