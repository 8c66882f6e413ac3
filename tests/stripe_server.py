"""A stateful Stripe server on loopback, and before it what it lacks.

`localstripe` keeps customers, payments and refunds. It has no idempotency keys, refunds more
than was paid, and knows no refund but one that succeeds. Of payment intents it takes neither a
description nor automatic payment methods, lists those of everybody, and does not say which one a
card has declined; a card of its own declines always or never. `StripeServer` passes everything on
to it, adds these as Stripe documents them, and misbehaves as a test tells it.
"""

import asyncio
import json
import sys
from asyncio.subprocess import Process
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qs, urlencode

import httpx
from pydantic import JsonValue, TypeAdapter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from devstack.ports import HOST, free_port
from devstack.web_server import serving
from tests.eventually import eventually

API_KEY = "sk_test_seatflow"

# What its own command does, but on loopback, and without the file that it keeps for everybody.
LOCALSTRIPE = """
import sys
from aiohttp import web
from localstripe import resources, server
resources.Store.dump_to_disk = lambda store: None
web.run_app(server.app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
"""
CARD = {
    "type": "card",
    "card[number]": "4242424242424242",
    "card[exp_month]": "12",
    "card[exp_year]": "2035",
    "card[cvc]": "123",
}
# https://docs.stripe.com/testing#declined-payments: can be attached, and cannot be charged.
DECLINING_CARD = {**CARD, "card[number]": "4000000000000341"}
NOT_KNOWN_THERE = ("description", "automatic_payment_methods")
ALL = 1_000_000

Json = dict[str, JsonValue]
_JSON: TypeAdapter[Json] = TypeAdapter(Json)


@asynccontextmanager
async def localstripe() -> AsyncIterator[str]:
    """The address of a server of its own."""
    port = free_port()
    program = await asyncio.create_subprocess_exec(sys.executable, "-c", LOCALSTRIPE, str(port))
    try:
        await eventually(lambda: _is_listening(port, program))
        yield f"http://{HOST}:{port}"
    finally:
        if program.returncode is None:
            program.terminate()
        await program.wait()


def answer(status: int, **error: str) -> Response:
    """An error as Stripe writes it."""
    return Response(json.dumps({"error": error}), status, media_type="application/json")


@dataclass
class StripeServer:
    """Answers as Stripe does; `behind` is the address of a localstripe."""

    behind: str
    made_as: str = "succeeded"
    """The status of a refund that has just been made."""
    answers: list[Response] = field(default_factory=list)
    """What the next requests are answered, without doing anything."""
    answers_lost: int = 0
    """How many of the next charges and refunds are made without their answer getting through."""
    asked: list[str] = field(default_factory=list)
    """Method and path of each request, in order."""
    charged: list[dict[str, str]] = field(default_factory=list)
    """What each charge asked for, in order."""

    async def __aenter__(self) -> Self:
        port = free_port()
        self.url = f"http://{HOST}:{port}"
        self._said: dict[str, Json] = {}
        self._kept: dict[str, tuple[bytes, Response]] = {}
        self._refunded: dict[str, int] = defaultdict(int)
        self._declines: dict[str, int] = defaultdict(int)
        # Stripe turns away what comes while the first of a key is at work; here it waits.
        self._turn = asyncio.Lock()
        self._localstripe = httpx.AsyncClient(
            base_url=self.behind, headers={"Authorization": f"Bearer {API_KEY}"}
        )
        routes = [Route("/{path:path}", self._take, methods=["GET", "POST"])]
        self._serving = serving(Starlette(routes=routes), HOST, port)
        await self._serving.__aenter__()
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._serving.__aexit__(None, None, None)
        await self._localstripe.aclose()

    # What a test arranges.

    async def paid(self, amount: int, currency: str = "eur", *, charge: bool = False) -> str:
        """A payment intent, or its charge, of so many cents, yen or fils."""
        card = await self._post("payment_methods", CARD)
        order = {
            "amount": str(amount),
            "currency": currency,
            "payment_method": str(card["id"]),
            "confirm": "true",
        }
        paid = await self._post("payment_intents", order)
        made = paid["latest_charge"] if charge else paid
        assert isinstance(made, dict)
        return str(made["id"])

    async def customer(self) -> str:
        """Somebody whose payment methods may be charged."""
        return str((await self._post("customers", {"email": "payer@example.com"}))["id"])

    async def card(self, customer: str, declines: int = 0) -> str:
        """A card of that customer's, which declines its first charges."""
        card = await self._attached(CARD, customer)
        self._declines[card] = declines
        return card

    def say(self, object_id: str, status: str, failure_reason: str | None = None) -> None:
        """From now on the refund or the payment intent stands so."""
        reason: Json = {"failure_reason": failure_reason} if failure_reason else {}
        self._said[object_id] = {"status": status, **reason}

    def forget_keys(self) -> None:
        """What Stripe does with idempotency keys after a day."""
        self._kept.clear()

    async def _attached(self, card: dict[str, str], customer: str) -> str:
        method = str((await self._post("payment_methods", card))["id"])
        await self._post(f"payment_methods/{method}/attach", {"customer": customer})
        return method

    async def _post(self, path: str, fields: dict[str, str]) -> Json:
        posted = await self._localstripe.post(f"/v1/{path}", data=fields)
        assert posted.is_success, posted.text
        return _JSON.validate_json(posted.content)

    # How it answers.

    async def _take(self, request: Request) -> Response:
        self.asked.append(f"{request.method} {request.url.path}")
        body = await request.body()
        if self.answers:
            return self.answers.pop(0)
        async with self._turn:
            told = await self._once(request, body)
        if self.answers_lost and request.method == "POST":
            self.answers_lost -= 1
            return answer(500, type="api_error", message="Something went wrong.")
        return told

    async def _once(self, request: Request, body: bytes) -> Response:
        """What was answered first, to everything that comes with the same key."""
        key = request.headers.get("idempotency-key")
        if key is None:
            return await self._done(request, body)
        if key not in self._kept:
            self._kept[key] = body, await self._done(request, body)
        first, told = self._kept[key]
        return told if body == first else answer(400, type="idempotency_error")

    async def _done(self, request: Request, body: bytes) -> Response:
        match request.method, request.url.path:
            case "POST", "/v1/refunds":
                return await self._refund(request, body)
            case "POST", "/v1/payment_intents":
                return await self._charge(request, body)
            case "GET", "/v1/payment_intents":
                return await self._charges_of(request)
        return self._as_said(await self._passed_on(request, body))

    async def _charge(self, request: Request, body: bytes) -> Response:
        asked = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        self.charged.append(asked)
        passed_on = {
            name: value for name, value in asked.items() if not name.startswith(NOT_KNOWN_THERE)
        }
        if self._declines[asked["payment_method"]]:
            self._declines[asked["payment_method"]] -= 1
            declining = await self._attached(DECLINING_CARD, asked["customer"])
            passed_on["payment_method"] = declining
        made = await self._passed_on(request, urlencode(passed_on).encode())
        if made.status_code == 402:
            error = made.json()["error"]
            charge = (await self._localstripe.get(f"/v1/charges/{error['charge']}")).json()
            intent = await self._localstripe.get(f"/v1/payment_intents/{charge['payment_intent']}")
            error |= {"type": "card_error", "payment_intent": intent.json()}
            return Response(json.dumps({"error": error}), 402, media_type="application/json")
        return self._as_said(made)

    async def _charges_of(self, request: Request) -> Response:
        """The newest first, a page at a time."""
        asked = request.query_params
        known = await self._localstripe.get(f"/v1/customers/{asked['customer']}")
        if known.status_code == 404:
            return answer(400, type="invalid_request_error", code="resource_missing")
        kept = await self._localstripe.get("/v1/payment_intents", params={"limit": ALL})
        theirs = [each for each in kept.json()["data"] if each["customer"] == asked["customer"]]
        theirs.reverse()
        ids = [each["id"] for each in theirs]
        start = ids.index(asked["starting_after"]) + 1 if "starting_after" in asked else 0
        end = start + int(asked["limit"])
        page = {
            "object": "list",
            "url": "/v1/payment_intents",
            "has_more": end < len(theirs),
            "data": theirs[start:end],
        }
        return self._as_said(httpx.Response(200, json=page))

    async def _refund(self, request: Request, body: bytes) -> Response:
        asked = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        kind = "payment_intent" if "payment_intent" in asked else "charge"
        paid = await self._localstripe.get(f"/v1/{kind}s/{asked[kind]}")
        if paid.is_success:
            left = int(str(paid.json()["amount"])) - self._refunded[asked[kind]]
            if left == 0:
                return answer(400, type="invalid_request_error", code="charge_already_refunded")
            if int(asked["amount"]) > left:
                return answer(
                    400,
                    type="invalid_request_error",
                    param="amount",
                    message="Refund amount is greater than unrefunded amount on charge.",
                )
        made = await self._passed_on(request, body)
        if made.is_success:
            self._refunded[asked[kind]] += int(asked["amount"])
            self.say(str(_JSON.validate_json(made.content)["id"]), self.made_as)
        return self._as_said(made)

    async def _passed_on(self, request: Request, body: bytes) -> httpx.Response:
        return await self._localstripe.request(
            request.method,
            request.url.path,
            params=dict(request.query_params),
            content=body,
            headers={"Content-Type": request.headers.get("content-type", "")},
        )

    def _as_said(self, told: httpx.Response) -> Response:
        document = _JSON.validate_json(told.content)
        listed = document.get("data")
        for each in listed if isinstance(listed, list) else [document]:
            if isinstance(each, dict):
                each.update(self._said.get(str(each.get("id")), {}))
        return Response(json.dumps(document), told.status_code, media_type="application/json")


async def _is_listening(port: int, program: Process) -> bool:
    assert program.returncode is None, "localstripe has exited"
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True
