"""Commands about refunds (REF)."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from commands.answer import Answer, as_json
from commands.call import ask_refunds
from commands.render import between, facts, journal, money, state, table, text, time
from domain.error import ErrorCode, Refused
from domain.refund import Refund, RefundPart, RefundState
from domain.text import one_line

if TYPE_CHECKING:
    from clients.refund import RefundClient

app = typer.Typer(
    name="refund",
    help="Money on its way back to payment methods.",
    rich_markup_mode="markdown",
)

Id = Annotated[str, typer.Argument(metavar="ID", help="The refund's id.", show_default=False)]


@app.command(epilog="Example: seatflow --json refund show rf-4f2a")
def show(context: typer.Context, refund_id: Id) -> None:
    """Show a refund as it stands."""
    _ask(context, "Looking", lambda refunds: refunds.show(refund_id))


@app.command("list", epilog="Example: seatflow refund list --state failed")
def list_(
    context: typer.Context,
    standing: Annotated[
        RefundState | None,
        typer.Option("--state", help="Only those in this state.", show_default=False),
    ] = None,
) -> None:
    """List the refunds, the oldest first."""
    found = ask_refunds(context, "Looking", lambda refunds: refunds.list(standing))
    Answer.of(context).give(
        {"refunds": [as_json(refund) for refund in found]}, lambda: _listed(found)
    )


@app.command(epilog="Example: seatflow refund convert rf-4f2a --to-credit")
def convert(
    context: typer.Context,
    refund_id: Id,
    to_credit: Annotated[
        bool, typer.Option("--to-credit", help="Credit it to the account that was joined.")
    ] = False,
) -> None:
    """Turn what the provider calls failed into credit of the account that was joined."""
    if not to_credit:
        raise Refused(ErrorCode.INVALID_INPUT, "Say --to-credit: there is nothing else to become.")
    _ask(context, "Converting", lambda refunds: refunds.convert(refund_id))


@app.command(epilog="Example: seatflow refund retry rf-4f2a --method card-2")
def retry(
    context: typer.Context,
    refund_id: Id,
    method: Annotated[
        str | None,
        typer.Option(
            metavar="PAYMENT_METHOD", help="Another payment method; the original one without it."
        ),
    ] = None,
) -> None:
    """Ask the provider anew for what failed."""
    _ask(context, "Asking the provider", lambda refunds: refunds.retry(refund_id, method))


@app.command(epilog='Example: seatflow refund close rf-4f2a --reason "sent by cheque"')
def close(
    context: typer.Context,
    refund_id: Id,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Why; the payee is told.", show_default=False)
    ],
) -> None:
    """Give up what failed, or, where nothing failed, what is overdue."""
    if not one_line(reason):
        raise Refused(ErrorCode.INVALID_INPUT, "Say in --reason why it is given up.")
    _ask(context, "Closing", lambda refunds: refunds.close(refund_id, reason))


def _ask(
    context: typer.Context, doing: str, question: "Callable[[RefundClient], Awaitable[Refund]]"
) -> None:
    refund = ask_refunds(context, doing, question)
    Answer.of(context).give(as_json(refund), lambda: _shown(refund))


def _shown(refund: Refund) -> RenderableType:
    known = facts(
        refund.refund_id,
        ("state", state(refund.state)),
        ("amount", money(refund.amount)),
        ("still open", money(refund.amount_open)),
        ("requested", time(refund.requested_at)),
        ("arrives between", between(refund.arrives_between)),
        ("settled", time(refund.settled_at)),
        ("failure", refund.failure),
        ("may now", ", ".join(refund.allowed)),
        ("workflow", refund.workflow_id),
    )
    return Group(known, _parts(refund.parts), journal(refund.journal))


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


def _listed(refunds: Sequence[Refund]) -> RenderableType:
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
