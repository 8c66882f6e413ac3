"""The command that quotes the value of an account's unused time (QUO)."""

import re
from datetime import UTC, datetime
from typing import Annotated

import typer
from pydantic import JsonValue

from commands import render_invitation
from commands.call import with_clients
from commands.output import CommandOutput, as_json
from domain.error import ErrorCode, Refused
from domain.policy import Policy
from domain.preview import Preview
from domain.proration import ChangeDay, Unit

app = typer.Typer()

_RFC_3339 = re.compile(
    r"(\d{4})-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_MEMBERS = ("amount", "lines", "policy", "valid_until", "refund")


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
        str | None, typer.Option("--at", metavar="TIME", help="RFC 3339. Default: now.")
    ] = None,
    unit: Annotated[
        Unit | None, typer.Option(help="The unit of proration. Default: the policy's.")
    ] = None,
    change_day: Annotated[
        ChangeDay | None,
        typer.Option(help="Count the day of the change as used or unused. Default: the policy's."),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(metavar="ACCOUNT", help="Also quote a transfer to this account."),
    ] = None,
) -> None:
    """Quote the value of an account's unused time; nothing is recorded or changed."""
    moment = _moment(at) if at is not None else datetime.now(UTC)
    policy = _policy(unit, change_day)
    quoted = with_clients(
        context,
        "Calculating",
        lambda clients: clients.store.quotes.quote(account, moment, policy, target),
    )
    CommandOutput.of(context).print(
        _as_json(quoted, target), lambda: render_invitation.of_quote(quoted)
    )


def _moment(text: str) -> datetime:
    """Parse RFC 3339. Raises Refused: `invalid_input`."""
    written = _RFC_3339.fullmatch(text)
    try:
        # In the first and the last year, calculations would overflow.
        if written and 1 < int(written[1]) < 9999:
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except ValueError:
        pass
    raise Refused(
        ErrorCode.INVALID_INPUT,
        f"--at {text} is not a time; use RFC 3339, such as 2027-01-01T12:00:00Z.",
    )


def _policy(unit: Unit | None, change_day: ChangeDay | None) -> Policy:
    """Return the policy of the settings with the options of the command line."""
    from runtime.settings import load_settings

    options = {"proration_unit": unit, "proration_change_day": change_day}
    return load_settings().policy.model_copy(
        update={name: value for name, value in options.items() if value}
    )


def _as_json(quoted: Preview, target: str | None) -> JsonValue:
    members = (*_MEMBERS, "transfer") if target else _MEMBERS
    document = as_json(quoted)
    return {name: document[name] for name in members}
