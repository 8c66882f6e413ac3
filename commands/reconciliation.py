"""The command that compares store, Temporal and payment provider (OPS-6)."""

from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import JsonValue
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from commands.call import with_clients
from commands.output import DONE, CommandOutput, as_json
from commands.whole_number import whole_number
from domain.error import ErrorCode, Refused
from domain.reconciliation import Divergence, Reconciliation

if TYPE_CHECKING:
    from runtime.clients import Clients

app = typer.Typer()


@app.command(rich_help_panel="Operations", epilog="Example: seatflow reconcile --fix")
def reconcile(
    context: typer.Context,
    fix: Annotated[
        bool, typer.Option("--fix", help="Carry out the remedies that lose nothing.")
    ] = False,
    settled: Annotated[
        int | None,
        typer.Option(
            "--settled",
            metavar="N",
            parser=whole_number(),
            help="Take difference N off the operators' list; nothing is compared.",
        ),
    ] = None,
) -> int:
    """Compare the store with Temporal and the payment provider; list every difference.

    What `--fix` cannot remove is on the operators' list (`attention`). Needs no worker.
    """
    if settled is not None:
        return _settle(context, settled)
    output = CommandOutput.of(context)
    with output.counting("Comparing") as watch:

        async def run(clients: "Clients") -> Reconciliation:
            async with clients.reconciliation() as client:
                return await (client.fix(watch) if fix else client.check(watch))

        found = with_clients(context, None, run)
    output.print(_document(found), lambda: _render(found))
    if not found.divergences:
        return DONE
    return output.print_error(Refused(ErrorCode.INVARIANT_BROKEN, _summary(found, fix=fix)))


def _summary(found: Reconciliation, *, fix: bool) -> str:
    count = len(found.divergences)
    differences = "1 difference" if count == 1 else f"{count} differences"
    if fix:
        return f"{differences} left: `seatflow attention` lists what is for a person to decide."
    return (
        f"{differences} found: `seatflow reconcile --fix` removes those that it can without loss. "
        "Workers of a restored database wait for it."
    )


def _settle(context: typer.Context, number: int) -> int:
    settled = with_clients(
        context,
        "Writing",
        lambda clients: clients.store.restore.settle(number, by=clients.author.name),
    )
    if not settled:
        raise Refused(ErrorCode.NOT_FOUND, f"There is no difference {number} on the list.")
    CommandOutput.of(context).print({"settled": number}, lambda: Text("Taken off the list."))
    return DONE


def _document(found: Reconciliation) -> JsonValue:
    document = as_json(found)
    assert isinstance(document, dict), "a model is an object"
    return document


def _render(found: Reconciliation) -> RenderableType:
    compared = ", ".join(f"{count} {name}" for name, count in found.checked.items())
    parts: list[RenderableType] = []
    if found.fixed:
        parts += [Text("Removed:", style="green"), _table(found.fixed)]
    if found.divergences:
        parts += [Text("Differences:", style="yellow"), _table(found.divergences)]
    else:
        none = "No differences are left; compared" if found.fixed else "No differences"
        parts.append(Text(f"{none}: {compared}.", style="green"))
    return Group(*parts)


def _table(divergences: tuple[Divergence, ...]) -> Table:
    table = Table("kind", "subject", "store", "elsewhere", "remedy", box=None, header_style="dim")
    for each in divergences:
        table.add_row(
            Text(each.kind, style="yellow"),
            each.subject,
            each.store or "–",
            each.elsewhere or "–",
            each.remedy,
        )
    return table
