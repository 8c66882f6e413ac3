"""A stateful Stripe server on loopback, behind a proxy that adds the missing features.

`localstripe` stores customers, payments and refunds. It has no idempotency keys, refunds more
than was paid, and every refund succeeds. Its payment intents have neither a description nor
automatic payment methods, their list is not limited to a customer, and the error of a declined
card does not contain the payment intent; a test card declines always or never. `StripeServer`
forwards every request to it, adds these features as Stripe documents them, and simulates faults.
It also adds Stripe's minimum charge and the steps between amounts, and a search by metadata that
does not find new objects.
"""

import asyncio
import json
import re
import sys
import time
from asyncio.subprocess import Process
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
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

# Like the command of localstripe, but on loopback and without the state file in the home folder.
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
# https://docs.stripe.com/testing#declined-payments: it can be attached but not charged.
DECLINING_CARD = {**CARD, "card[number]": "4000000000000341"}
UNSUPPORTED_FIELDS = ("description", "automatic_payment_methods")
MINIMUM_CHARGE = 50
"""The minimum charge in minor units of every currency; Stripe's depends on the currency."""
STEPS = {"isk": 100, "ugx": 100, "bhd": 10, "jod": 10, "kwd": 10, "omr": 10, "tnd": 10}
"""https://docs.stripe.com/currencies#special-cases and three-decimal currencies."""
INDEX_DELAY = timedelta(minutes=1)
"""https://docs.stripe.com/search#data-freshness"""
ALL = 1_000_000

Json = dict[str, JsonValue]
_JSON: TypeAdapter[Json] = TypeAdapter(Json)


@asynccontextmanager
async def localstripe() -> AsyncIterator[str]:
    """Run a server with its own state; yield its address."""
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
    """Return an error in the format of Stripe."""
    return Response(json.dumps({"error": error}), status, media_type="application/json")


@dataclass
class StripeServer:
    """A proxy that answers like Stripe; `behind` is the address of a localstripe."""

    behind: str
    initial_status: str = "succeeded"
    """The status of a new refund."""
    initial_charge_status: str = "succeeded"
    """The status of a new payment intent that is not declined."""
    answers: list[Response] = field(default_factory=list)
    """Responses to the next requests, which have no effect."""
    failing: Response | None = None
    """The response to every request, for example while Stripe is unavailable."""
    lost_responses: int = 0
    """The number of next charges and refunds that are made although their response is lost."""
    requests: list[str] = field(default_factory=list)
    """Method and path of each request, in order."""
    charged: list[dict[str, str]] = field(default_factory=list)
    """The fields of each requested charge, in order."""
    intents: list[str] = field(default_factory=list)
    """The id of each payment intent that was not declined, in order."""

    async def __aenter__(self) -> Self:
        port = free_port()
        self.url = f"http://{HOST}:{port}"
        self._statuses: dict[str, Json] = {}
        self._responses: dict[str, tuple[bytes, Response]] = {}
        self._refunded: dict[str, int] = defaultdict(int)
        self._declines: dict[str, int] = defaultdict(int)
        # Stripe refuses a request while the first with its key is running; here it waits.
        self._lock = asyncio.Lock()
        self._localstripe = httpx.AsyncClient(
            base_url=self.behind, headers={"Authorization": f"Bearer {API_KEY}"}
        )
        routes = [Route("/{path:path}", self._handle, methods=["GET", "POST"])]
        self._serving = serving(Starlette(routes=routes), HOST, port)
        await self._serving.__aenter__()
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._serving.__aexit__(None, None, None)
        await self._localstripe.aclose()

    # Arrange.

    async def paid(self, amount: int, currency: str = "eur", *, charge: bool = False) -> str:
        """Make a payment of this many minor units; return its payment intent or its charge."""
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
        """Create a customer whose payment methods can be charged."""
        return str((await self._post("customers", {"email": "payer@example.com"}))["id"])

    async def card(self, customer: str, declines: int = 0) -> str:
        """Attach a card to the customer that declines its first charges."""
        card = await self._attached(CARD, customer)
        self._declines[card] = declines
        return card

    def set_status(self, object_id: str, status: str, failure_reason: str | None = None) -> None:
        """Report this status of the refund or payment intent from now on."""
        reason: Json = {"failure_reason": failure_reason} if failure_reason else {}
        created = {k: v for k, v in self._statuses.get(object_id, {}).items() if k == "created"}
        self._statuses[object_id] = {"status": status, **reason, **created}

    def age(self, intent: str, by: timedelta) -> None:
        """Make the payment intent older."""
        created = int(time.time() - by.total_seconds())
        self._statuses[intent] = {**self._statuses.get(intent, {}), "created": created}

    def forget_keys(self) -> None:
        """Forget the idempotency keys, as Stripe does after a day."""
        self._responses.clear()

    async def _attached(self, card: dict[str, str], customer: str) -> str:
        method = str((await self._post("payment_methods", card))["id"])
        await self._post(f"payment_methods/{method}/attach", {"customer": customer})
        return method

    async def _post(self, path: str, fields: dict[str, str]) -> Json:
        posted = await self._localstripe.post(f"/v1/{path}", data=fields)
        assert posted.is_success, posted.text
        return _JSON.validate_json(posted.content)

    # Respond.

    async def _handle(self, request: Request) -> Response:
        self.requests.append(f"{request.method} {request.url.path}")
        body = await request.body()
        if self.answers:
            return self.answers.pop(0)
        if self.failing:
            return self.failing
        async with self._lock:
            response = await self._respond_once(request, body)
        if self.lost_responses and request.method == "POST":
            self.lost_responses -= 1
            return answer(500, type="api_error", message="Something went wrong.")
        return response

    async def _respond_once(self, request: Request, body: bytes) -> Response:
        """Return the first response to each request with the same key."""
        key = request.headers.get("idempotency-key")
        if key is None:
            return await self._respond(request, body)
        if key not in self._responses:
            self._responses[key] = body, await self._respond(request, body)
        first, response = self._responses[key]
        return response if body == first else answer(400, type="idempotency_error")

    async def _respond(self, request: Request, body: bytes) -> Response:
        match request.method, request.url.path:
            case "POST", "/v1/refunds":
                return await self._refund(request, body)
            case "POST", "/v1/payment_intents":
                return await self._charge(request, body)
            case "GET", "/v1/payment_intents":
                return await self._charges_of(request)
            case "GET", "/v1/payment_intents/search":
                return await self._found(request)
        return self._with_statuses(await self._forward(request, body))

    async def _charge(self, request: Request, body: bytes) -> Response:
        fields = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        self.charged.append(fields)
        amount = int(fields["amount"])
        if amount % STEPS.get(fields["currency"], 1):
            return answer(400, type="invalid_request_error", code="invalid_amount")
        if 0 < amount < MINIMUM_CHARGE:
            return answer(400, type="invalid_request_error", code="amount_too_small")
        forwarded = {
            name: value for name, value in fields.items() if not name.startswith(UNSUPPORTED_FIELDS)
        }
        if self._declines[fields["payment_method"]]:
            self._declines[fields["payment_method"]] -= 1
            declining = await self._attached(DECLINING_CARD, fields["customer"])
            forwarded["payment_method"] = declining
        made = await self._forward(request, urlencode(forwarded).encode())
        if made.status_code == 402:
            error = made.json()["error"]
            charge = (await self._localstripe.get(f"/v1/charges/{error['charge']}")).json()
            intent = await self._localstripe.get(f"/v1/payment_intents/{charge['payment_intent']}")
            error |= {"type": "card_error", "payment_intent": intent.json()}
            return Response(json.dumps({"error": error}), 402, media_type="application/json")
        if made.is_success:
            self.intents.append(str(_JSON.validate_json(made.content)["id"]))
            self.set_status(self.intents[-1], self.initial_charge_status)
        return self._with_statuses(made)

    async def _charges_of(self, request: Request) -> Response:
        """Return a page of the customer's payment intents, or of all, newest first."""
        fields = request.query_params
        customer = fields.get("customer")
        known = await self._localstripe.get(f"/v1/customers/{customer}")
        if customer and known.status_code == 404:
            return answer(400, type="invalid_request_error", code="resource_missing")
        since = int(fields.get("created[gte]", 0))
        intents = [
            each
            for each in await self._intents()
            if customer in {None, each["customer"]} and int(str(each["created"])) >= since
        ]
        ids = [str(each["id"]) for each in intents]
        start = ids.index(fields["starting_after"]) + 1 if "starting_after" in fields else 0
        end = start + int(fields["limit"])
        page = {
            "object": "list",
            "url": "/v1/payment_intents",
            "has_more": end < len(intents),
            "data": intents[start:end],
        }
        return self._with_statuses(httpx.Response(200, json=page))

    async def _found(self, request: Request) -> Response:
        """Return the indexed payment intents with this metadata, in their first state."""
        found = re.fullmatch(r"metadata\['(\w+)'\]:'([^']*)'", request.query_params["query"])
        assert found, "Stripe's query language"
        name, value = found.groups()
        indexed = time.time() - INDEX_DELAY.total_seconds()
        intents: list[JsonValue] = [
            {**each, "status": "requires_confirmation"}
            for each in await self._intents()
            if isinstance(each["metadata"], dict)
            and each["metadata"].get(name) == value
            and int(str(each["created"])) <= indexed
        ]
        page: Json = {
            "object": "search_result",
            "url": request.url.path,
            "has_more": False,
            "next_page": None,
            "data": intents,
        }
        return Response(json.dumps(page), media_type="application/json")

    async def _intents(self) -> list[Json]:
        """Return all payment intents, newest first."""
        listed = await self._localstripe.get("/v1/payment_intents", params={"limit": ALL})
        intents = [each | self._statuses.get(each["id"], {}) for each in listed.json()["data"]]
        return intents[::-1]

    async def _refund(self, request: Request, body: bytes) -> Response:
        fields = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        kind = "payment_intent" if "payment_intent" in fields else "charge"
        paid = await self._localstripe.get(f"/v1/{kind}s/{fields[kind]}")
        if paid.is_success:
            if int(fields["amount"]) % STEPS.get(str(paid.json()["currency"]), 1):
                return answer(400, type="invalid_request_error", code="invalid_amount")
            left = int(str(paid.json()["amount"])) - self._refunded[fields[kind]]
            if left == 0:
                return answer(400, type="invalid_request_error", code="charge_already_refunded")
            if int(fields["amount"]) > left:
                return answer(
                    400,
                    type="invalid_request_error",
                    param="amount",
                    message="Refund amount is greater than unrefunded amount on charge.",
                )
        made = await self._forward(request, body)
        if made.is_success:
            self._refunded[fields[kind]] += int(fields["amount"])
            self.set_status(str(_JSON.validate_json(made.content)["id"]), self.initial_status)
        return self._with_statuses(made)

    async def _forward(self, request: Request, body: bytes) -> httpx.Response:
        return await self._localstripe.request(
            request.method,
            request.url.path,
            params=dict(request.query_params),
            content=body,
            headers={"Content-Type": request.headers.get("content-type", "")},
        )

    def _with_statuses(self, response: httpx.Response) -> Response:
        document = _JSON.validate_json(response.content)
        listed = document.get("data")
        for each in listed if isinstance(listed, list) else [document]:
            if isinstance(each, dict):
                each.update(self._statuses.get(str(each.get("id")), {}))
        return Response(json.dumps(document), response.status_code, media_type="application/json")


async def _is_listening(port: int, program: Process) -> bool:
    assert program.returncode is None, "localstripe has exited"
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True
