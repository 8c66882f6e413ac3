"""Commands for orders of licenses (ADD)."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import JsonValue
from rich.console import Group, RenderableType
from rich.text import Text

from commands.call import Account, By, with_clients
from commands.output import CommandOutput, as_json
from commands.render import facts, journal, money, state, table, text, time
from domain.license import Sku, parse_capacity, parse_quantity
from domain.order import Order, OrderInvoice, Portal, parse_cycle, product_name

if TYPE_CHECKING:
    from clients.order import OrderClient

_PANEL = "Licenses"

app = typer.Typer()
orders = typer.Typer(
    name="order",
    help="Orders of licenses, from the review to the end of the last term.",
    rich_markup_mode="markdown",
)

Id = Annotated[str, typer.Argument(metavar="ID", help="The order's id.", show_default=False)]
# Parsed as text, so that the error of a wrong value is `invalid_quantity`, not bad usage.
Quantity = Annotated[
    str, typer.Option(metavar="N", help="The number of licenses.", show_default=False)
]


@app.command(
    rich_help_panel=_PANEL,
    epilog="Examples: seatflow buy acme large-meeting --capacity 500 --quantity 3 "
    "--cycle monthly --by owner@acme.example · "
    "seatflow buy acme webinar --capacity 1000 --quantity 1 --cycle annual --by owner@acme.example",
)
def buy(
    context: typer.Context,
    account: Account,
    sku: Annotated[
        Sku,
        typer.Argument(
            metavar="LICENSE", help="large-meeting, webinar or workplace.", show_default=False
        ),
    ],
    quantity: Quantity,
    cycle: Annotated[
        str,
        typer.Option(metavar="monthly|annual", help="The billing cycle.", show_default=False),
    ],
    by: By,
    capacity: Annotated[
        str | None,
        typer.Option(
            metavar="500|1000|3000|5000|10000",
            help="Participants, for large-meeting and webinar; 10000 for webinar only.",
        ),
    ] = None,
    portal: Annotated[
        Portal,
        typer.Option(
            help="plans: place the order at once. account: review it first, then `order confirm`."
        ),
    ] = "plans",
) -> None:
    """Buy licenses for an account.

    Prints the order once it is in review or its first payment has been attempted. A declined
    payment is retried after 1, 3, 5 and 7 days.

    Repeating the command after status 3 is safe: for a day, the same command continues the first
    order.
    """
    terms = parse_capacity(capacity), parse_quantity(quantity), parse_cycle(cycle)
    _call(
        context,
        "Buying",
        lambda client: client.buy(
            account,
            sku,
            capacity=terms[0],
            quantity=terms[1],
            cycle=terms[2],
            by=by,
            portal=portal,
        ),
    )


@orders.command(epilog="Example: seatflow order confirm or-4f2a")
def confirm(context: typer.Context, order_id: Id) -> None:
    """Place a reviewed order, and charge the amount due."""
    _call(context, "Confirming", lambda client: client.confirm(order_id))


@orders.command(epilog="Example: seatflow order cancel or-4f2a --release-all")
def cancel(
    context: typer.Context,
    order_id: Id,
    release_all: Annotated[
        bool,
        typer.Option("--release-all", help="Release the licenses of all users who hold them."),
    ] = False,
) -> None:
    """Cancel an order: at once while nothing is paid, else at the end of its term."""
    _call(context, "Cancelling", lambda client: client.cancel(order_id, release_all=release_all))


@orders.command(
    epilog="Example: seatflow order change or-4f2a --quantity 2 --release ada@acme.example"
)
def change(
    context: typer.Context,
    order_id: Id,
    quantity: Quantity,
    release: Annotated[
        list[str] | None,
        typer.Option(
            metavar="EMAIL",
            help="A user whose license is released then; may be repeated.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Reduce the quantity from the next term on; nothing is refunded."""
    reduced = parse_quantity(quantity)
    _call(
        context, "Changing", lambda client: client.change(order_id, reduced, tuple(release or ()))
    )


@orders.command(epilog="Example: seatflow --json order show or-4f2a")
def show(context: typer.Context, order_id: Id) -> None:
    """Show an order."""
    _call(context, "Loading", lambda client: client.show(order_id))


@orders.command("list", epilog="Example: seatflow order list acme")
def list_(context: typer.Context, account: Account) -> None:
    """List the orders of an account, the oldest first."""
    listed = with_clients(context, "Loading", lambda clients: clients.orders.list(account))
    CommandOutput.of(context).print(
        {"orders": [_as_json(order) for order in listed]}, lambda: _render_list(listed)
    )


def _call(
    context: typer.Context, progress: str, call: "Callable[[OrderClient], Awaitable[Order]]"
) -> None:
    order = with_clients(context, progress, lambda clients: call(clients.orders))
    CommandOutput.of(context).print(_as_json(order), lambda: _render(order))


def _as_json(order: Order) -> dict[str, JsonValue]:
    document = as_json(order)
    # The policy is a matter of the operators' settings.
    del document["policy"]
    return document


def _render(order: Order) -> RenderableType:
    renewal = f"{money(order.quote.then)} on {order.quote.next_billing_date}"
    ends = order.state.final or order.quantity_then == 0
    header = facts(
        order.order_id,
        ("state", state(order.state)),
        ("note", order.note),
        ("licenses", _licenses(order)),
        ("account", order.account),
        ("bought by", order.bought_by),
        ("bought in", f"the portal `{order.portal}`"),
        ("prices", _prices(order)),
        ("first amount due", money(order.quote.due_now)),
        ("renewal", None if ends else renewal),
        (
            "licenses after renewal",
            f"{order.quantity_then} licenses" if order.quantity_then else None,
        ),
        ("released then", ", ".join(order.release)),
        ("paid until", time(order.paid_until)),
        ("next payment attempt", time(order.next_try_at())),
        ("next look-up", time(order.pending.look_up_at if order.pending else None)),
        ("allowed", ", ".join(order.allowed)),
        ("workflow", order.workflow_id),
    )
    return Group(header, _invoices(order.invoices), journal(order.journal))


def _invoices(invoices: Sequence[OrderInvoice]) -> RenderableType:
    rows = table("invoice", "amount", "state", "at")
    for invoice in invoices:
        rows.add_row(invoice.id, money(invoice.amount), state(invoice.state), time(invoice.at))
    return rows if invoices else Text("No charges yet.", style="dim")


def _render_list(listed: Sequence[Order]) -> RenderableType:
    rows = table("order", "state", "licenses", "renewal", "on", "note")
    for order in listed:
        ends = order.state.final or order.quantity_then == 0
        rows.add_row(
            order.order_id,
            state(order.state),
            _licenses(order),
            "" if ends else money(order.quote.then),
            "" if ends else str(order.quote.next_billing_date),
            text(order.note or ""),
        )
    return rows if listed else Text("No orders.", style="dim")


def _prices(order: Order) -> str:
    if order.quote.prices == "example":
        return "example prices of the built-in catalog; import a catalog for your own"
    return "those of the imported catalog"


def _licenses(order: Order) -> str:
    return f"{order.quantity} × {product_name(order)}, {order.cycle}"
