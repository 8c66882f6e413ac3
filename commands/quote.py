"""What an account's unused time is worth (QUO), whether or not anybody is invited."""

import re
from datetime import UTC, datetime
from typing import Annotated

import typer
from pydantic import JsonValue

from commands import render_invitation
from commands.answer import Answer, as_json
from commands.call import ask_store
from domain.error import ErrorCode, Refused
from domain.policy import Policy
from domain.preview import Preview
from domain.proration import ChangeDay, Unit

app = typer.Typer()

_RFC_3339 = re.compile(
    r"(\d{4})-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_OF_A_QUOTE = ("amount", "lines", "policy", "valid_until", "refund")


@app.command(
    rich_help_panel="Money",
    epilog="Example: seatflow quote paula-pro --at 2027-01-01T00:00:00Z --target acme",
)
def quote(
    context: typer.Context,
    account: Annotated[
        str,
        typer.Argument(metavar="SOURCE_ACCOUNT", help="The id of the account.", show_default=False),
    ],
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="RFC 3339; now without it.")
    ] = None,
    unit: Annotated[
        Unit | None, typer.Option(help="What a period is divided into; as set without it.")
    ] = None,
    change_day: Annotated[
        ChangeDay | None,
        typer.Option(help="What the day of the change counts as; as set without it."),
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="ACCOUNT", help="Say what a transfer to it would credit.")
    ] = None,
) -> None:
    """Tell what an account's unused time is worth; records and changes nothing."""
    moment = _moment(at) if at is not None else datetime.now(UTC)
    policy = _policy(unit, change_day)
    quoted = ask_store(
        context, "Looking", lambda store: store.quotes.quote(account, moment, policy, target)
    )
    Answer.of(context).give(_as_json(quoted, target), lambda: render_invitation.of_quote(quoted))


def _moment(text: str) -> datetime:
    """Raises Refused: `invalid_input`."""
    written = _RFC_3339.fullmatch(text)
    try:
        # The first and the last year have no room for other time zones, or for a refund.
        if written and 1 < int(written[1]) < 9999:
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except ValueError:
        pass
    raise Refused(
        ErrorCode.INVALID_INPUT,
        f"--at {text} is no moment: write it as in 2027-01-01T12:00:00Z.",
    )


def _policy(unit: Unit | None, change_day: ChangeDay | None) -> Policy:
    """The terms that are set, but for what the command line says."""
    from runtime.settings import load_settings

    said = {"proration_unit": unit, "proration_change_day": change_day}
    return load_settings().policy.model_copy(
        update={name: word for name, word in said.items() if word}
    )


def _as_json(quoted: Preview, target: str | None) -> JsonValue:
    members = (*_OF_A_QUOTE, "transfer") if target else _OF_A_QUOTE
    whole = as_json(quoted)
    return {name: whole[name] for name in members}
