"""Commands about invitations (INV)."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from commands import batch as bulk
from commands import render_invitation
from commands.answer import Answer, as_json
from commands.call import Account, By, Email, ask
from commands.rows import give_results
from domain.error import ErrorCode, Refused
from domain.invitation import Choice, Invitation, InvitationState, InviteResult, License, Person
from domain.text import LOCALE

if TYPE_CHECKING:
    from clients.invitation import SeatflowClient

app = typer.Typer()

_PANEL = "Invitations"

Refund = Annotated[
    bool, typer.Option("--refund", help="Return the unused value to the payment methods.")
]
Transfer = Annotated[
    bool, typer.Option("--transfer", help="Credit the unused value to the target account.")
]


@app.command(
    rich_help_panel=_PANEL,
    epilog="Examples: seatflow invite acme ada@example.com --by owner@acme.example --wait · "
    "seatflow invite acme --file people.csv --by owner@acme.example --results results.csv",
)
def invite(
    context: typer.Context,
    account: Account,
    by: By,
    emails: Annotated[
        list[str] | None,
        typer.Argument(metavar="EMAIL", help="Whom to invite.", show_default=False),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            metavar="CSV",
            help="A file of people, with the columns email, license, locale, name in any order; "
            "only email is needed. - reads stdin.",
        ),
    ] = None,
    skip_bad_rows: Annotated[
        bool,
        typer.Option("--skip-bad-rows", help="Invite the others although rows have mistakes."),
    ] = False,
    batch: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Name what --file asks for, to come back to it. Without it the same file is the "
            "same batch until its results were printed.",
        ),
    ] = None,
    results: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the results as CSV too.")
    ] = None,
    license: Annotated[
        License, typer.Option(help="What the people will be on the account.")
    ] = License.BASIC,
    locale: Annotated[
        str | None,
        typer.Option(metavar="XX", help="The language for people who have set none."),
    ] = None,
    heads_up_days: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            max=365,
            help="Send a plain notice now, and the invitation itself so many days later.",
        ),
    ] = 0,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the mail server has answered.")
    ] = False,
) -> int:
    """Invite people into a paid account.

    Each address is an invitation of its own; a bad one never spoils the others. A file is checked
    first, and nobody is invited as long as it has mistakes. What it asks for goes on although this
    command is interrupted; repeating the command waits for it again.
    """
    if locale and not LOCALE.fullmatch(locale):
        raise Refused(ErrorCode.INVALID_INPUT, f"No such locale: {locale}")
    if file is None:
        if not emails:
            raise Refused(ErrorCode.INVALID_INPUT, "Name whom to invite: EMAIL, or --file.")
        if skip_bad_rows or batch or results:
            raise Refused(
                ErrorCode.INVALID_INPUT, "--skip-bad-rows, --batch and --results go with --file."
            )
    else:
        people_file = bulk.read(file, license, locale, skip_bad_rows=skip_bad_rows)
        given = [Person(email=email, license=license, locale=locale) for email in emails or ()]
        return bulk.invite(
            Answer.of(context),
            bulk.Asked(account, by, heads_up_days, bulk.batch_name(batch)),
            people_file,
            given,
            results=results,
            wait=wait,
        )
    people = [Person(email=email, license=license, locale=locale) for email in emails]

    async def invited(client: "SeatflowClient") -> list[InviteResult]:
        results = await client.invite(account, people, by, heads_up_days=heads_up_days)
        return await client.wait_until_out(results) if wait else results

    return give_results(Answer.of(context), ask(context, "Inviting", invited))


@app.command(
    rich_help_panel=_PANEL,
    epilog="Example: seatflow invite-members acme owner@example.com --by owner@acme.example",
)
def invite_members(context: typer.Context, account: Account, email: Email, by: By) -> int:
    """Invite all other users of a blocked owner's account into the same account.

    The owner's invitation goes on by itself when the last of them has gone.
    """
    return give_results(
        Answer.of(context),
        ask(context, "Inviting", lambda client: client.invite_members(account, email, by)),
    )


@app.command(rich_help_panel=_PANEL, epilog="Example: seatflow --json show acme ada@example.com")
def show(context: typer.Context, account: Account, email: Email) -> None:
    """Show the latest invitation of a person as it stands."""
    _give(context, ask(context, "Looking", lambda client: client.show(account, email)))


@app.command(
    "list",
    rich_help_panel=_PANEL,
    epilog="Example: seatflow list acme --state pending --stale-days 3",
)
def list_(
    context: typer.Context,
    account: Account,
    state: Annotated[
        list[InvitationState] | None,
        typer.Option(help="Only those in this state; may be repeated.", show_default=False),
    ] = None,
    stale_days: Annotated[
        int | None,
        typer.Option(min=0, max=36500, help="Only those that have been quiet for so many days."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Ended ones too.")] = False,
) -> None:
    """List the invitations of an account, the oldest first."""
    found = ask(
        context,
        "Looking",
        lambda client: client.list(account, state or (), stale_days, everything),
    )
    Answer.of(context).give(
        {"invitations": [as_json(invitation) for invitation in found]},
        lambda: render_invitation.of_invitations(found, datetime.now(UTC)),
    )


@app.command(rich_help_panel=_PANEL, epilog="Example: seatflow preview acme ada@example.com")
def preview(context: typer.Context, account: Account, email: Email) -> None:
    """Tell what accepting would do; changes nothing, but the quote shown binds for a while."""
    found = ask(context, "Looking", lambda client: client.preview(account, email))
    Answer.of(context).give(as_json(found), lambda: render_invitation.of_preview(found))


@app.command(
    rich_help_panel=_PANEL,
    epilog="Examples: seatflow accept acme ada@example.com --refund · "
    "seatflow accept --link http://localhost:8080/i/… --as ada@example.com",
)
def accept(
    context: typer.Context,
    account: Annotated[
        str | None, typer.Argument(metavar="ACCOUNT", help="The id of the account.")
    ] = None,
    email: Annotated[
        str | None, typer.Argument(metavar="EMAIL", help="The invitee's address.")
    ] = None,
    link: Annotated[
        str | None, typer.Option(metavar="URL", help="The link of the e-mail instead.")
    ] = None,
    signed_in_as: Annotated[
        str | None, typer.Option("--as", metavar="EMAIL", help="Who opened the link.")
    ] = None,
    refund: Refund = False,
    transfer: Transfer = False,
) -> None:
    """Accept on the invitee's behalf, or by the link of the e-mail."""
    choice = _choice(refund=refund, transfer=transfer)
    if link is not None and account is None:
        accepted = ask(
            context, "Accepting", lambda client: client.accept_link(link, signed_in_as, choice)
        )
    elif account and email and link is None and signed_in_as is None:
        accepted = ask(context, "Accepting", lambda client: client.accept(account, email, choice))
    else:
        raise Refused(
            ErrorCode.INVALID_INPUT, "Give ACCOUNT and EMAIL, or --link, perhaps with --as."
        )
    _give(context, accepted)


@app.command(
    rich_help_panel=_PANEL,
    epilog='Example: seatflow decline acme ada@example.com --reason "I have left"',
)
def decline(
    context: typer.Context,
    account: Account,
    email: Email,
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What the inviter is told.")
    ] = None,
) -> None:
    """Decline on the invitee's behalf."""
    _give(context, ask(context, "Declining", lambda client: client.decline(account, email, reason)))


@app.command(
    rich_help_panel=_PANEL,
    epilog="Example: seatflow revoke acme ada@example.com --by owner@acme.example",
)
def revoke(context: typer.Context, account: Account, email: Email, by: By) -> None:
    """Take an invitation back."""
    _give(context, ask(context, "Revoking", lambda client: client.revoke(account, email, by)))


@app.command(
    rich_help_panel=_PANEL,
    epilog="Example: seatflow resend acme ada@example.com --by owner@acme.example",
)
def resend(context: typer.Context, account: Account, email: Email, by: By) -> None:
    """Send a new link; the old one is dead from then on."""
    _give(context, ask(context, "Resending", lambda client: client.resend(account, email, by)))


@app.command(rich_help_panel=_PANEL, epilog="Example: seatflow recheck acme ada@example.com")
def recheck(context: typer.Context, account: Account, email: Email) -> None:
    """Look at once whether an invitation is still blocked."""
    _give(context, ask(context, "Looking", lambda client: client.recheck(account, email)))


@app.command(rich_help_panel=_PANEL, epilog="Example: seatflow retry-move acme ada@example.com")
def retry_move(context: typer.Context, account: Account, email: Email) -> None:
    """Move once more what could not be moved; the manifest tells how it went."""
    _give(context, ask(context, "Moving", lambda client: client.retry_move(account, email)))


def _give(context: typer.Context, invitation: Invitation) -> None:
    Answer.of(context).give(
        as_json(invitation), lambda: render_invitation.of_invitation(invitation)
    )


def _choice(*, refund: bool, transfer: bool) -> Choice | None:
    if refund and transfer:
        raise Refused(ErrorCode.INVALID_INPUT, "Choose either --refund or --transfer.")
    if refund:
        return Choice.REFUND
    return Choice.TRANSFER if transfer else None
