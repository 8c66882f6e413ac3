"""Builders of an account with licenses, and of requests to assign them."""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from adapters.sql.database.schema import LicensePoolRow
from domain.account import User
from domain.assignment import AssignLicenses, Assignment, AssignmentResult
from domain.license import LicensePool, Sku
from domain.outbox import LICENSES_FREED
from tests.builders.account import NOON, account, directory, user
from tests.builders.invitation import StoreScenario

CREW_OWNER = "bea@crew.example"
LARGE = Sku.LARGE_MEETING
WEBINAR = Sku.WEBINAR
BASE = Sku.WORKPLACE
MEETING = {"id": "m", "topic": "All hands", "starts_at": "2026-04-01T09:00:00Z"}
LAUNCH = {"id": "w", "topic": "Launch", "starts_at": "2026-04-02T09:00:00Z"}
"""A webinar."""
HOSTED: dict[str, Any] = {"meetings": [MEETING], "webinars": [LAUNCH]}


def crew_email(name: str) -> str:
    return name if "@" in name else f"{name}@crew.example"


async def import_crew(
    scenario: StoreScenario, *licensed: str, basic: Sequence[str] = (), **more: Any
) -> None:
    """Import a paid account of Bea's; its users have base licenses, except the basic ones."""
    entry: dict[str, Any] = {"plan": "business", **more}
    users = [
        user(CREW_OWNER, "owner"),
        *(user(crew_email(name), licensed=True, **HOSTED) for name in licensed),
        *(user(crew_email(name), **HOSTED) for name in basic),
    ]
    await scenario.store.directory.import_(directory(account("crew", *users, **entry)))


def pools(sku: Sku = LARGE, /, **bought: int) -> list[dict[str, object]]:
    """Build the pools of an import file: `pools(c500=2)`."""
    return [
        {"sku": sku.value, "capacity": int(name[1:]), "bought": number}
        for name, number in bought.items()
    ]


def an_assignment_request(
    *names: str, sku: Sku = LARGE, by: str = CREW_OWNER, **more: Any
) -> AssignLicenses:
    return AssignLicenses(
        request_id=uuid4().hex,
        account=more.pop("account", "crew"),
        sku=sku,
        emails=tuple(crew_email(name) for name in names),
        by=by,
        **more,
    )


async def assign(scenario: StoreScenario, *names: str, **more: Any) -> Assignment:
    return await scenario.store.assignments.assign(an_assignment_request(*names, **more), NOON)


async def unassign(
    scenario: StoreScenario,
    *names: str,
    sku: Sku = LARGE,
    by: str = CREW_OWNER,
    cascade: bool = False,
) -> list[AssignmentResult]:
    emails = [crew_email(name) for name in names]
    return await scenario.store.assignments.unassign("crew", sku, emails, by, NOON, cascade=cascade)


def outcomes(assignment: Assignment | Sequence[AssignmentResult]) -> dict[str, str]:
    """Return the state of each user by first name, with the code of an error."""
    results = assignment.results if isinstance(assignment, Assignment) else assignment
    return {
        result.email.partition("@")[0]: (
            f"{result.state} {result.error['code']}" if result.error else str(result.state)
        )
        for result in results
    }


async def current_outcomes(scenario: StoreScenario, assignment: Assignment) -> dict[str, str]:
    """Return the outcomes of the stored request."""
    return outcomes(await scenario.store.assignments.assignment(assignment.request_id))


async def pool(
    scenario: StoreScenario, capacity: int | None = 500, sku: Sku = LARGE
) -> LicensePool:
    """Return the pool of that capacity; with None, the pool of base licenses."""
    key = (sku, capacity) if capacity else (BASE, None)
    found = await scenario.store.assignments.licenses("crew")
    return next(pool for pool in found if (pool.sku, pool.capacity) == key)


async def pool_counts(
    scenario: StoreScenario, capacity: int | None = 500, sku: Sku = LARGE
) -> tuple[int, int, int]:
    """Return the numbers of bought and assigned licenses and of waiting users."""
    found = await pool(scenario, capacity, sku)
    return found.bought, found.assigned, len(found.waiting)


async def crew_user(scenario: StoreScenario, name: str) -> User:
    found = (await scenario.account("crew")).user(crew_email(name))
    assert found
    return found


async def held_capacities(
    scenario: StoreScenario, name: str, sku: Sku = LARGE
) -> tuple[list[int], set[int | None]]:
    """Return the capacities of the user's add-ons of one kind, and of what they host with it."""
    user = await crew_user(scenario, name)
    hosted = user.webinars if sku is WEBINAR else user.meetings
    held = [addon.capacity for addon in user.addons if addon.sku == sku]
    return held, {each.capacity for each in hosted}


async def notified_requests(scenario: StoreScenario) -> set[str]:
    """Return the requests whose workflows were signalled since the last call."""
    return {
        signal.workflow_id.removeprefix("assignment/crew/")
        for signal in await scenario.take_signals()
        if signal.signal == LICENSES_FREED
    }


async def audit_passes(scenario: StoreScenario) -> bool:
    return (await scenario.store.audit()).violations == ()


async def name_pools(session: AsyncSession) -> None:
    """Count the licenses of all pools as imported, after a test has changed a pool itself."""
    await session.execute(update(LicensePoolRow).values(bought_named=LicensePoolRow.bought))
