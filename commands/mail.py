"""Commands for the mailbox of the embedded stack."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from commands.output import CommandOutput, as_json
from commands.whole_number import whole_number

if TYPE_CHECKING:
    from devstack.mailbox import Mailbox, OpenedLetter, StoredLetter

app = typer.Typer(
    name="mail",
    help="The embedded stack's mailbox.",
    rich_markup_mode="markdown",
)


@app.command("list", epilog="Example: seatflow mail list")
def list_(context: typer.Context) -> None:
    """List the e-mails, the oldest first."""
    letters = _mailbox().letters()
    CommandOutput.of(context).print(
        {"letters": [as_json(letter) for letter in letters]}, lambda: _render_list(letters)
    )


@app.command(epilog="Example: seatflow mail show --to olga@acme.example")
def show(
    context: typer.Context,
    number: Annotated[
        int | None,
        typer.Argument(
            metavar="[NUMBER]",
            help="The number of the e-mail; by default the newest.",
            show_default=False,
            parser=whole_number(),
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="EMAIL", help="Show the newest e-mail to this address."),
    ] = None,
) -> None:
    """Show one e-mail, by default the newest."""
    if number is not None and to is not None:
        raise typer.BadParameter("Name a number or --to, not both.")
    letter = _mailbox().newest(to) if number is None else _mailbox().open(number)
    CommandOutput.of(context).print(as_json(letter), lambda: _render_letter(letter))


def _mailbox() -> "Mailbox":
    from devstack.mailbox import Mailbox
    from runtime.settings import load_settings

    return Mailbox(load_settings().mail_folder)


def _render_list(letters: "list[StoredLetter]") -> Table:
    table = Table("", "at", "to", "event", "subject", box=None, header_style="dim")
    for letter in letters:
        table.add_row(
            str(letter.number),
            f"{letter.at:%Y-%m-%d %H:%M:%S}",
            Text(letter.to),
            letter.event or "",
            Text(letter.subject),
        )
    return table


def _render_letter(letter: "OpenedLetter") -> Text:
    headers = "\n".join(f"{name}: {value}" for name, value in letter.headers.items())
    # Not wrapped, so that a link can be copied.
    return Text.assemble((headers, "dim"), "\n\n", letter.text, no_wrap=True, overflow="ignore")
