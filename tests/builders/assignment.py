"""An account with licenses to assign, and what becomes of requests for them."""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from domain.account import User
from domain.announcement import LICENSES_FREED
from domain.assignment import AssignLicenses, Assignment, AssignmentResult
from domain.license import LicensePool, Sku
from tests.builders.invitation import NOON, Town, account, directory, user

BOSS = "bea@crew.example"
LARGE = Sku.LARGE_MEETING
BASE = Sku.WORKPLACE
MEETING = {"id": "m", "topic": "All hands", "starts_at": "2026-04-01T09:00:00Z"}


def named(name: str) -> str:
    return name if "@" in name else f"{name}@crew.example"


async def crew(town: Town, *licensed: str, basic: Sequence[str] = (), **more: Any) -> None:
    """A paid account of Bea's, whose users have a base license, except the basic ones."""
    entry: dict[str, Any] = {"plan": "business", **more}
    users = [
        user(BOSS, "owner"),
        *(user(named(name), licensed=True, meetings=[MEETING]) for name in licensed),
        *(user(named(name), meetings=[MEETING]) for name in basic),
    ]
    await town.store.directory.import_(directory(account("crew", *users, **entry)))


def pools(**bought: int) -> list[dict[str, object]]:
    """The pools of an import file: `pools(c500=2)`."""
    return [
        {"sku": "large-meeting", "capacity": int(name[1:]), "bought": number}
        for name, number in bought.items()
    ]


def a_request(*names: str, sku: Sku = LARGE, by: str = BOSS, **more: Any) -> AssignLicenses:
    return AssignLicenses(
        request_id=uuid4().hex,
        account=more.pop("account", "crew"),
        sku=sku,
        emails=tuple(named(name) for name in names),
        by=by,
        **more,
    )


async def assigned(town: Town, *names: str, **more: Any) -> Assignment:
    return await town.store.assignments.assign(a_request(*names, **more), NOON)


async def unassigned(
    town: Town, *names: str, sku: Sku = LARGE, by: str = BOSS, cascade: bool = False
) -> list[AssignmentResult]:
    emails = [named(name) for name in names]
    return await town.store.assignments.unassign("crew", sku, emails, by, NOON, cascade=cascade)


def outcomes(assignment: Assignment | Sequence[AssignmentResult]) -> dict[str, str]:
    """Each user by their first name: where they stand, and why."""
    results = assignment.results if isinstance(assignment, Assignment) else assignment
    return {
        result.email.partition("@")[0]: (
            f"{result.state} {result.error['code']}" if result.error else str(result.state)
        )
        for result in results
    }


async def now(town: Town, assignment: Assignment) -> dict[str, str]:
    """The same of the request as it stands."""
    return outcomes(await town.store.assignments.assignment(assignment.request_id))


async def pool(town: Town, capacity: int | None = 500) -> LicensePool:
    found = await town.store.assignments.licenses("crew")
    return next(pool for pool in found if pool.capacity == capacity)


async def counted(town: Town, capacity: int | None = 500) -> tuple[int, int, int]:
    """Bought, assigned, and how many wait."""
    found = await pool(town, capacity)
    return found.bought, found.assigned, len(found.waiting)


async def seen(town: Town, name: str) -> User:
    found = (await town.account("crew")).user(named(name))
    assert found
    return found


async def capacities(town: Town, name: str) -> tuple[list[int], set[int | None]]:
    """What they hold, and what their meetings hold."""
    user = await seen(town, name)
    return [addon.capacity for addon in user.addons], {each.capacity for each in user.meetings}


async def told(town: Town) -> set[str]:
    """The requests whose workflows have been told since this was asked last."""
    return {
        announcement.workflow_id.removeprefix("assignment/crew/")
        for announcement in await town.announced()
        if announcement.signal == LICENSES_FREED
    }


async def sound(town: Town) -> bool:
    return (await town.store.audit()).violations == ()
