"""The invitee's page: the time of a visit and of an acceptance, beside the bare updates."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from http.client import HTTPConnection
from statistics import median, quantiles
from urllib.parse import urlsplit

from bench.environment import ADMIN, SEATFLOW, TARGET, Environment, add_free_users
from bench.figure import ACCEPT_P50, ACCEPT_P95, VISIT_P50, VISIT_P95, Figure, Goal
from bench.lifecycle import wait_until_closed
from clients.invitation import InvitationClient
from devstack.ports import HOST, free_port
from devstack.web_server import serving
from domain.error import ErrorCode, Refused
from domain.invitation import InvitationState, Person
from portal.app import portal

WARM_UP = 10


class Visitor:
    """A browser with one connection to the portal, in a thread of its own."""

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection(HOST, port, timeout=30)

    async def get(self, path: str) -> None:
        """Read the page of an invitation."""
        await asyncio.to_thread(self._request, "GET", path, 200)

    async def accept(self, path: str) -> None:
        """Accept by the form of the review page."""
        await asyncio.to_thread(self._request, "POST", f"{path}/accept", 303)

    def _request(self, method: str, path: str, expected: int) -> None:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        self._connection.request(
            method, path, body="" if method == "POST" else None, headers=headers
        )
        response = self._connection.getresponse()
        page = response.read().decode()
        assert response.status == expected, re.findall('data-error="[^"]*"', page)


async def measure_pages(environment: Environment, count: int) -> list[Figure]:
    """Measure `count` visits and acceptances one by one, each beside a bare update."""
    variant = environment.variants[SEATFLOW]
    invitations, port = variant.clients.invitations, free_port()
    emails = await add_free_users(variant, "pages", 2 * (count + WARM_UP))
    paths = [await _invited(invitations, email) for email in emails]
    visits, quotes, accepts, updates = list[float](), list[float](), list[float](), list[float]()
    async with serving(portal(variant.clients), HOST, port):
        visitor = Visitor(port)
        for number in range(count + WARM_UP):
            of_page, of_update = paths[2 * number], emails[2 * number + 1]
            timed = [
                await _seconds(visitor.get(of_page)),
                await _seconds(invitations.preview(TARGET, of_update)),
                await _seconds(visitor.accept(of_page)),
                await _seconds(invitations.accept(TARGET, of_update)),
            ]
            if number >= WARM_UP:
                for seconds, kept in zip(timed, (visits, quotes, accepts, updates), strict=True):
                    kept.append(seconds)
    await wait_until_closed(environment, variant)
    return [
        _figure(VISIT_P50, median, visits, quotes),
        _figure(VISIT_P95, _p95, visits, quotes),
        _figure(ACCEPT_P50, median, accepts, updates),
        _figure(ACCEPT_P95, _p95, accepts, updates),
    ]


async def _invited(invitations: InvitationClient, email: str) -> str:
    """Invite a person; return the path of the page once the workflow is pending."""
    await invitations.invite(TARGET, [Person(email=email)], ADMIN)
    while True:
        try:
            shown = await invitations.show(TARGET, email)
        except Refused as refused:
            if refused.code is not ErrorCode.NOT_FOUND:
                raise
        else:
            if shown.state is InvitationState.PENDING:
                return urlsplit(str(shown.link)).path
        await asyncio.sleep(0.02)


async def _seconds(call: Awaitable[object]) -> float:
    started = time.perf_counter()
    await call
    return time.perf_counter() - started


def _p95(times: list[float]) -> float:
    return quantiles(times, n=20, method="inclusive")[-1]


def _figure(
    goal: Goal, of: Callable[[list[float]], float], ours: list[float], bare: list[float]
) -> Figure:
    measured, beside = of(ours), of(bare)
    note = f"{1000 * measured:.1f} to {1000 * beside:.1f} ms"
    return Figure(goal, [measured / beside], note)
