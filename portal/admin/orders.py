"""The orders, invoices and credit of an account."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from starlette.responses import Response
from starlette.routing import Route

from domain.error import ErrorCode, Refused
from domain.license import CAPACITIES, Sku, parse_capacity, parse_quantity
from domain.order import (
    MAX_LICENSES_PER_ORDER,
    BuyLicenses,
    Order,
    OrderQuote,
    OrderState,
    Portal,
    parse_cycle,
)
from portal.admin.link import author_of, named, redirect, require_id
from portal.admin.visit import AdminPages, AdminVisit
from portal.page import Page
from portal.request import Form
from portal.visit import status_of

_TERMS: Final = ("sku", "capacity", "quantity", "cycle", "portal")
_DEFAULTS: Final = {
    "sku": Sku.LARGE_MEETING.value,
    "capacity": "500",
    "quantity": "1",
    "cycle": "monthly",
    "portal": "plans",
}
_FIELDS: Final = {
    ErrorCode.INVALID_INPUT: "sku",
    ErrorCode.INVALID_CAPACITY: "capacity",
    ErrorCode.INVALID_QUANTITY: "quantity",
    ErrorCode.INVALID_CYCLE: "cycle",
}

MAX_HOLDERS: Final = 1000
"""The number of holders that a page offers to release."""

_FORM_FIELDS: Final = MAX_HOLDERS + 50
_FORM_BYTES: Final = 512 * 1024


@dataclass(frozen=True)
class OrderPages:
    """Buying licenses, following orders, and paying invoices."""

    admin: AdminPages

    def routes(self) -> list[Route]:
        """Return the routes."""
        page, form = self.admin.page, self.admin.form
        return [
            page("/orders", self.show),
            form("/buy/price", self.price, self.buy_again, home="/orders"),
            form("/buy", self.buy, self.buy_again, home="/orders"),
            page("/orders/{order}", self.show_order),
            form("/orders/{order}/edit", self.edit, self.order_again, home="/orders"),
            form("/orders/{order}/confirm", self.confirm, self.confirm_again, home="/orders"),
            form("/orders/{order}/cancel", self.cancel, self.order_again, home="/orders"),
            form(
                "/orders/{order}/change",
                self.change,
                self.order_again,
                home="/orders",
                max_bytes=_FORM_BYTES,
                max_fields=_FORM_FIELDS,
            ),
            form("/credit/apply", self.apply_credit, self.invoice_again, home="/orders"),
            form("/invoices/pay", self.pay, self.invoice_again, home="/orders"),
            form("/invoices/paid-outside", self.paid_outside, self.invoice_again, home="/orders"),
        ]

    # The list.

    async def show(self, visit: AdminVisit) -> Response:
        """Show plan, orders, invoices and credit, and the form to buy licenses."""
        return await self._respond(visit)

    async def _respond(
        self,
        visit: AdminVisit,
        refused: Refused | None = None,
        *,
        form: Mapping[str, str] | None = None,
        priced: OrderQuote | None = None,
    ) -> Response:
        query = visit.request.query_params
        billing = await visit.clients.store.pages.billing.page(
            visit.account.id,
            ended=query.get("orders") == "ended",
            paid=query.get("invoices") == "paid",
            orders_after=named(visit, "orders_after"),
            invoices_after=named(visit, "invoices_after"),
            entries_after=named(visit, "entries_after"),
            changed=named(visit, "invoice"),
        )
        ordered = named(visit, "ordered")
        values: dict[str, object] = {
            "billing": billing,
            "capacities": sorted({each for sold in CAPACITIES.values() for each in sold}),
            "form": _entered(form or query),
            "buying": form is not None and "sku" in form,
            "may_buy": _may_buy(visit),
            "priced": priced,
            "key": secrets.token_urlsafe(16),
            "shown": _shown(priced) if priced else None,
            "from_credit": billing.from_credit(priced) if priced else None,
            "ordered": await self._find(visit, ordered) if ordered else None,
            "refused": refused,
            "field": _field(refused),
            "entered": form or {},
            "ended": query.get("orders") == "ended",
            "paid": query.get("invoices") == "paid",
            **_urls(visit),
        }
        page = Page(
            "admin/orders.html",
            "orders",
            status_of(refused),
            state="priced" if priced else None,
            error=refused.code.value if refused else None,
            values=values,
        )
        return self.admin.respond(visit, page, tab="orders")

    # Buy.

    async def price(self, visit: AdminVisit, form: Form) -> Response:
        """Show the price of the entered licenses, and order nothing."""
        quote = await visit.clients.orders.quote(_request(visit, form))
        return await self._respond(visit, form=form, priced=quote)

    async def buy(self, visit: AdminVisit, form: Form) -> Response:
        """Place the order, or open its review; the same form places one order (ADD-3)."""
        request = _request(visit, form)
        shown = form.get("shown")
        # A repeated form places nothing: its order has the price that was shown.
        if shown and await visit.clients.store.orders.find(request.order_id) is None:
            quote = await visit.clients.orders.quote(request)
            if shown != _shown(quote):
                raise Refused(ErrorCode.QUOTE_EXPIRED, "The price has changed.")
        order = await visit.clients.orders.place(request)
        if order.state is OrderState.REVIEW:
            return redirect(visit, f"/orders/{order.order_id}")
        return redirect(visit, "/orders", ordered=order.order_id)

    async def buy_again(self, visit: AdminVisit, form: Form, refused: Refused) -> Response:
        """Show the form with the entered values, and the new price if only that has changed."""
        if refused.code is not ErrorCode.QUOTE_EXPIRED:
            return await self._respond(visit, refused, form=form)
        quote = await visit.clients.orders.quote(_request(visit, form))
        return await self._respond(visit, refused, form=form, priced=quote)

    # One order.

    async def show_order(self, visit: AdminVisit) -> Response:
        """Show an order: its review, or what became of it."""
        return await self._respond_order(visit)

    async def edit(self, visit: AdminVisit, form: Form) -> Response:
        """Replace a review by one with other terms."""
        order = await self._order(visit)
        terms = {"sku": order.sku.value, **form, "portal": "account"}
        replaced = await visit.clients.orders.replace(order.order_id, _request(visit, terms))
        return redirect(visit, f"/orders/{replaced.order_id}")

    async def confirm(self, visit: AdminVisit, form: Form) -> Response:
        """Place a reviewed order; a second click shows the order that the first one placed."""
        order = await self._order(visit)
        if not _is_placed(order):
            await visit.clients.orders.confirm(order.order_id, by=visit.by)
        return redirect(visit, "/orders", ordered=order.order_id)

    async def confirm_again(self, visit: AdminVisit, form: Form, refused: Refused) -> Response:
        """Show the order as it is now."""
        order = await self._order(visit)
        if _is_placed(order):
            return redirect(visit, "/orders", ordered=order.order_id)
        return await self._respond_order(visit, refused, form)

    async def cancel(self, visit: AdminVisit, form: Form) -> Response:
        """Cancel an order: at once while nothing is paid, else at the end of its term (ADD-6)."""
        order = await self._order(visit)
        await visit.clients.orders.cancel(
            order.order_id, release_all="release_all" in form, by=visit.by
        )
        return redirect(visit, f"/orders/{order.order_id}")

    async def change(self, visit: AdminVisit, form: Form) -> Response:
        """Reduce the quantity from the next term on (ADD-6)."""
        order = await self._order(visit)
        quantity = parse_quantity(form.get("quantity", ""))
        await visit.clients.orders.change(
            order.order_id, quantity, tuple(form.all("release")), by=visit.by
        )
        return redirect(visit, f"/orders/{order.order_id}")

    async def order_again(self, visit: AdminVisit, form: Form, refused: Refused) -> Response:
        """Show the order with the refusal and the entered values."""
        return await self._respond_order(visit, refused, form)

    async def _respond_order(
        self, visit: AdminVisit, refused: Refused | None = None, form: Form | None = None
    ) -> Response:
        order = await self._order(visit)
        request = visit.request.url.path.rpartition("/")[2] if refused else None
        holders = refused.details.get("holders") if refused else None
        in_review = order.state is OrderState.REVIEW
        values: dict[str, object] = {
            "order": order,
            "refused": refused,
            "field": _field(refused),
            "refused_request": request,
            "form": {
                "capacity": str(order.capacity or ""),
                "quantity": str(order.quantity_then or order.quantity),
                "cycle": order.cycle,
                **(form or {}),
            },
            "capacities": CAPACITIES.get(order.sku, ()),
            "holders": holders[:MAX_HOLDERS] if isinstance(holders, list) else [],
            "holder_count": len(holders) if isinstance(holders, list) else 0,
            "excess": refused.details.get("excess") if refused else None,
            "released": form.all("release") if form else list(order.release),
            "key": secrets.token_urlsafe(16),
            "largest": MAX_LICENSES_PER_ORDER if in_review else order.quantity,
            **_urls(visit),
        }
        page = Page(
            "admin/order.html",
            "order-review" if in_review else "order",
            status_of(refused),
            state=order.state.value,
            error=refused.code.value if refused else None,
            values=values,
        )
        return self.admin.respond(visit, page, tab="orders")

    async def _order(self, visit: AdminVisit) -> Order:
        """Return the order of the path. Raises `Refused(not_found)`, also for another account's."""
        order = await self._find(visit, require_id(visit.request.path_params["order"]))
        if order is None:
            raise Refused(ErrorCode.NOT_FOUND, "There is no such order.")
        return order

    async def _find(self, visit: AdminVisit, order_id: str) -> Order | None:
        order = await visit.clients.store.orders.find(order_id)
        return order if order and order.account == visit.account.id else None

    # Invoices and credit.

    async def apply_credit(self, visit: AdminVisit, form: Form) -> Response:
        """Apply credit to an open invoice, by default to the oldest (CRD-3)."""
        invoice = require_id(form["invoice"]) if form.get("invoice") else None
        credits = visit.clients.store.credits
        await credits.apply(visit.account.id, invoice, datetime.now(UTC), by=author_of(visit))
        return redirect(visit, "/orders", **({"invoice": invoice} if invoice else {}))

    async def pay(self, visit: AdminVisit, form: Form) -> Response:
        """Charge the open amount of an invoice to the payment methods."""
        invoice = require_id(form.get("invoice"))
        await visit.clients.invoices.pay(
            visit.account.id, invoice, by=author_of(visit), at=datetime.now(UTC)
        )
        return redirect(visit, "/orders", invoice=invoice)

    async def paid_outside(self, visit: AdminVisit, form: Form) -> Response:
        """Record a payment that was made elsewhere, which operators alone can know of."""
        if not visit.as_operator:
            raise Refused(ErrorCode.NOT_FOUND, "Operators record payments.")
        invoice = require_id(form.get("invoice"))
        await visit.clients.invoices.record_paid_outside(
            visit.account.id,
            invoice,
            form.get("reference", ""),
            by=visit.clients.author.name,
            at=datetime.now(UTC),
        )
        return redirect(visit, "/orders", invoice=invoice)

    async def invoice_again(self, visit: AdminVisit, form: Form, refused: Refused) -> Response:
        """Show the invoices with the refusal."""
        return await self._respond(visit, refused, form=form)


def _request(visit: AdminVisit, form: Mapping[str, str]) -> BuyLicenses:
    """Return the purchase of a form. Raises Refused: `invalid_…` (ADD-1)."""
    return visit.clients.orders.request(
        visit.account.id,
        _sku(form.get("sku", "")),
        capacity=parse_capacity(form.get("capacity") or None),
        quantity=parse_quantity(form.get("quantity", "")),
        cycle=parse_cycle(form.get("cycle", "")),
        portal=_portal(form.get("portal") or "plans"),
        by=visit.by,
        key=form.get("key") or None,
    )


def _sku(typed: str) -> Sku:
    try:
        return Sku(typed)
    except ValueError:
        raise Refused(ErrorCode.INVALID_INPUT, f"Unknown license {typed!r}.") from None


def _portal(typed: str) -> Portal:
    match typed:
        case "plans":
            return "plans"
        case "account":
            return "account"
    raise Refused(ErrorCode.INVALID_INPUT, f"Unknown portal {typed!r}.")


def _entered(form: Mapping[str, str]) -> dict[str, str]:
    """Return the terms to show in the form: those that were entered, else the usual ones."""
    entered = {name: form[name] for name in _TERMS if name in form}
    if "sku" in entered and "capacity" not in entered:
        entered["capacity"] = "" if entered["sku"] == Sku.WORKPLACE else _DEFAULTS["capacity"]
    return _DEFAULTS | entered


def _field(refused: Refused | None) -> str | None:
    """Return the field that a refusal is about, if it is one."""
    return _FIELDS.get(refused.code) if refused else None


def _shown(quote: OrderQuote) -> str:
    """Return the amounts that a buyer saw, as the form keeps them."""
    return f"{quote.due_now.amount:f} {quote.then.amount:f} {quote.then.currency}"


def _may_buy(visit: AdminVisit) -> bool:
    """Return whether the account can buy (ADD-2)."""
    account = visit.account
    return account.plan != "free" and not account.suspended and account.owner is not None


def _is_placed(order: Order) -> bool:
    unplaced = {OrderState.DRAFT, OrderState.REVIEW, OrderState.CANCELLED}
    return order.state not in unplaced


def _urls(visit: AdminVisit) -> dict[str, str | None]:
    template = visit.clients.settings.billing_url
    return {"billing_url": template and template.replace("{account}", visit.account.id)}
