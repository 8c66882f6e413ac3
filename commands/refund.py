"""Commands for refunds (REF)."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from commands.call import with_clients
from commands.output import CommandOutput, as_json
from commands.render import between, facts, journal, money, state, table, text, time
from domain.error import ErrorCode, Refused
from domain.refund import Refund, RefundPart, RefundState
from domain.text import one_line

if TYPE_CHECKING:
    from clients.refund import RefundClient

app = typer.Typer(
    name="refund",
    help="Refunds to payment methods.",
    rich_markup_mode="markdown",
)

Id = Annotated[str, typer.Argument(metavar="ID", help="The refund's id.", show_default=False)]


@app.command(epilog="Example: seatflow --json refund show rf-4f2a")
def show(context: typer.Context, refund_id: Id) -> None:
    """Show a refund."""
    _call(context, "Loading", lambda refunds: refunds.show(refund_id))


@app.command("list", epilog="Example: seatflow refund list --state failed")
def list_(
    context: typer.Context,
    state_filter: Annotated[
        RefundState | None,
        typer.Option("--state", help="Only those in this state.", show_default=False),
    ] = None,
) -> None:
    """List the refunds, the oldest first."""
    refunds = with_clients(context, "Loading", lambda clients: clients.refunds.list(state_filter))
    CommandOutput.of(context).print(
        {"refunds": [as_json(refund) for refund in refunds]}, lambda: of_refunds(refunds)
    )


@app.command(epilog="Example: seatflow refund convert rf-4f2a --to-credit")
def convert(
    context: typer.Context,
    refund_id: Id,
    to_credit: Annotated[
        bool, typer.Option("--to-credit", help="Credit it to the account that was joined.")
    ] = False,
) -> None:
    """Convert the failed amount of a refund into credit of the account that was joined."""
    if not to_credit:
        raise Refused(
            ErrorCode.INVALID_INPUT, "Add --to-credit: a refund can only be converted to credit."
        )
    _call(context, "Converting", lambda refunds: refunds.convert(refund_id))


@app.command(epilog="Example: seatflow refund retry rf-4f2a --method card-2")
def retry(
    context: typer.Context,
    refund_id: Id,
    method: Annotated[
        str | None,
        typer.Option(
            metavar="PAYMENT_METHOD", help="Another payment method. Default: the original one."
        ),
    ] = None,
) -> None:
    """Request the failed amount from the payment provider again."""
    _call(context, "Requesting the refund", lambda refunds: refunds.retry(refund_id, method))


@app.command(epilog='Example: seatflow refund close rf-4f2a --reason "sent by cheque"')
def close(
    context: typer.Context,
    refund_id: Id,
    reason: Annotated[
        str,
        typer.Option(metavar="TEXT", help="The reason, which the payee reads.", show_default=False),
    ],
) -> None:
    """Write off the failed amount of a refund, or the overdue amount where nothing failed."""
    if not one_line(reason):
        raise Refused(
            ErrorCode.INVALID_INPUT, "--reason is empty; give the reason for the write-off."
        )
    _call(context, "Closing", lambda refunds: refunds.close(refund_id, reason))


def _call(
    context: typer.Context, progress: str, call: "Callable[[RefundClient], Awaitable[Refund]]"
) -> None:
    refund = with_clients(context, progress, lambda clients: call(clients.refunds))
    CommandOutput.of(context).print(as_json(refund), lambda: _render(refund))


def _render(refund: Refund) -> RenderableType:
    header = facts(
        refund.refund_id,
        ("state", state(refund.state)),
        ("amount", money(refund.amount)),
        ("still open", money(refund.amount_open)),
        ("requested", time(refund.requested_at)),
        ("arrives between", between(refund.arrives_between)),
        ("settled", time(refund.settled_at)),
        ("failure", refund.failure),
        ("look-ups fail", refund.lookup_failure.reason if refund.lookup_failure else None),
        ("allowed", ", ".join(refund.allowed)),
        ("workflow", refund.workflow_id),
    )
    return Group(header, _parts(refund.parts), journal(refund.journal))


def _parts(parts: Sequence[RefundPart]) -> RenderableType:
    rows = table("payment", "method", "amount", "state", "provider's id", "failure")
    for part in parts:
        rows.add_row(
            text(part.payment),
            text(part.to_method or part.method),
            money(part.amount),
            state(part.state),
            text(part.provider_id or ""),
            text(part.failure or ""),
        )
    return rows


def of_refunds(refunds: Sequence[Refund]) -> RenderableType:
    """Render a row for each refund."""
    rows = table("refund", "state", "amount", "still open", "arrives between", "failure")
    for refund in refunds:
        rows.add_row(
            refund.refund_id,
            state(refund.state),
            money(refund.amount),
            money(refund.amount_open),
            between(refund.arrives_between),
            text(refund.failure or ""),
        )
    return rows if refunds else Text("No refunds.", style="dim")
