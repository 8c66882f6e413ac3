"""Commands for invitations (INV)."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from commands import batch as batches
from commands import render_invitation
from commands.call import Account, By, Email, with_clients
from commands.output import CommandOutput, as_json
from commands.rows import print_results
from commands.whole_number import whole_number
from domain.error import ErrorCode, Refused
from domain.invitation import Choice, Invitation, InvitationState, InviteResult, License, Person
from domain.text import unknown_locale

if TYPE_CHECKING:
    from clients.invitation import InvitationClient
    from runtime.clients import Clients

app = typer.Typer()

_PANEL = "Invitations"

Refund = Annotated[
    bool, typer.Option("--refund", help="Refund the unused value to the payment methods.")
]
Transfer = Annotated[
    bool, typer.Option("--transfer", help="Credit the unused value to the target account.")
]


InvitedLicense = Annotated[License, typer.Option(help="The license of the invited people.")]
Locale = Annotated[
    str | None,
    typer.Option(
        metavar="XX", help="The language of e-mails to people who have set none, such as de."
    ),
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
        typer.Argument(metavar="EMAIL", help="The people to invite.", show_default=False),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            metavar="CSV",
            help="A file with the columns email, license, locale, name in any order; only email is "
            "required. - is stdin.",
        ),
    ] = None,
    skip_bad_rows: Annotated[
        bool,
        typer.Option("--skip-bad-rows", help="Invite the other rows of a file with mistakes."),
    ] = False,
    batch: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="The name of the batch of --file. Without it, the same file continues its batch "
            "until the results are printed.",
        ),
    ] = None,
    results: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the results as CSV.")
    ] = None,
    license: InvitedLicense = License.BASIC,
    locale: Locale = None,
    heads_up_days: Annotated[
        int,
        typer.Option(
            metavar="N",
            parser=whole_number(0, 365),
            help="Send a notice now, and the invitation N days later.",
        ),
    ] = 0,
    note: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="Words to the invited people, in plain text, in the invitation."
        ),
    ] = None,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait", help="Wait until the mail server has accepted or refused each e-mail."
        ),
    ] = False,
) -> int:
    """Invite people into a paid account.

    Each address gets its own invitation; a bad address does not affect the others. A file is
    checked first, and nobody is invited while it has mistakes. The batch of a file continues when
    this command is interrupted; repeat the command to wait for it again.
    """
    _require_known(locale)
    if file is None:
        if not emails:
            raise Refused(ErrorCode.INVALID_INPUT, "Name the people to invite: EMAIL or --file.")
        if skip_bad_rows or batch or results:
            raise Refused(
                ErrorCode.INVALID_INPUT, "--skip-bad-rows, --batch and --results need --file."
            )
    else:
        people_file = batches.read(file, license, locale, skip_bad_rows=skip_bad_rows)
        given = [Person(email=email, license=license, locale=locale) for email in emails or ()]
        return batches.invite(
            context,
            batches.BatchRequest(account, by, heads_up_days, batches.batch_name(batch), note),
            people_file,
            given,
            results=results,
            wait=wait,
        )
    people = [Person(email=email, license=license, locale=locale) for email in emails]

    async def invite_all(clients: "Clients") -> list[InviteResult]:
        client = clients.invitations
        results = await client.invite(account, people, by, heads_up_days=heads_up_days, note=note)
        return await client.wait_until_sent(results) if wait else results

    return print_results(CommandOutput.of(context), with_clients(context, "Inviting", invite_all))


@app.command(
    rich_help_panel=_PANEL,
    epilog="Example: seatflow invite-members acme owner@example.com --license licensed "
    "--by owner@acme.example",
)
def invite_members(
    context: typer.Context,
    account: Account,
    email: Email,
    by: By,
    license: InvitedLicense = License.BASIC,
    locale: Locale = None,
) -> int:
    """Invite all other users of a blocked owner's account into the same account.

    The owner's invitation resumes when the last of them has left.
    """
    _require_known(locale)
    results = with_clients(
        context,
        "Inviting",
        lambda clients: clients.invitations.invite_members(
            account, email, by, license=license, locale=locale
        ),
    )
    return print_results(CommandOutput.of(context), results)


@app.command(rich_help_panel=_PANEL, epilog="Example: seatflow --json show acme ada@example.com")
def show(context: typer.Context, account: Account, email: Email) -> None:
    """Show the latest invitation of a person."""
    _call(context, "Loading", lambda client: client.show(account, email))


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
        typer.Option(help="Only invitations in this state; may be repeated.", show_default=False),
    ] = None,
    stale_days: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            parser=whole_number(0, 36500),
            help="Only invitations without a change for at least this many days.",
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also ended invitations.")] = False,
) -> None:
    """List the invitations of an account, the oldest first."""
    invitations = with_clients(
        context,
        "Loading",
        lambda clients: clients.invitations.list(account, state or (), stale_days, everything),
    )
    CommandOutput.of(context).print(
        {"invitations": [as_json(invitation) for invitation in invitations]},
        lambda: render_invitation.of_invitations(invitations, datetime.now(UTC)),
    )


@app.command(rich_help_panel=_PANEL, epilog="Example: seatflow preview acme ada@example.com")
def preview(context: typer.Context, account: Account, email: Email) -> None:
    """Preview the effects of accepting; the quote is binding until the time shown."""
    previewed = with_clients(
        context, "Loading", lambda clients: clients.invitations.preview(account, email)
    )
    CommandOutput.of(context).print(
        as_json(previewed), lambda: render_invitation.of_preview(previewed)
    )


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
    link: Annotated[str | None, typer.Option(metavar="URL", help="The link of the e-mail.")] = None,
    signed_in_as: Annotated[
        str | None, typer.Option("--as", metavar="EMAIL", help="The user who opened the link.")
    ] = None,
    refund: Refund = False,
    transfer: Transfer = False,
) -> None:
    """Accept on the invitee's behalf, or by the link of the e-mail."""
    choice = _choice(refund=refund, transfer=transfer)
    if link is not None and account is None:
        _call(context, "Accepting", lambda client: client.accept_link(link, signed_in_as, choice))
    elif account and email and link is None and signed_in_as is None:
        _call(context, "Accepting", lambda client: client.accept(account, email, choice))
    else:
        raise Refused(
            ErrorCode.INVALID_INPUT, "Name ACCOUNT and EMAIL, or --link with an optional --as."
        )


@app.command(
    rich_help_panel=_PANEL,
    epilog='Example: seatflow decline acme ada@example.com --reason "I have left"',
)
def decline(
    context: typer.Context,
    account: Account,
    email: Email,
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The reason, which the inviter reads.")
    ] = None,
) -> None:
    """Decline on the invitee's behalf."""
    _call(context, "Declining", lambda client: client.decline(account, email, reason))


@app.command(
    rich_help_panel=_PANEL,
    epilog="Example: seatflow revoke acme ada@example.com --by owner@acme.example",
)
def revoke(context: typer.Context, account: Account, email: Email, by: By) -> None:
    """Revoke an invitation."""
    _call(context, "Revoking", lambda client: client.revoke(account, email, by))


@app.command(
    rich_help_panel=_PANEL,
    epilog="Example: seatflow resend acme ada@example.com --by owner@acme.example",
)
def resend(context: typer.Context, account: Account, email: Email, by: By) -> None:
    """Send a new link; the old link becomes invalid."""
    _call(context, "Resending", lambda client: client.resend(account, email, by))


@app.command(rich_help_panel=_PANEL, epilog="Example: seatflow recheck acme ada@example.com")
def recheck(context: typer.Context, account: Account, email: Email) -> None:
    """Check now whether an invitation is still blocked."""
    _call(context, "Checking", lambda client: client.recheck(account, email))


@app.command(rich_help_panel=_PANEL, epilog="Example: seatflow retry-move acme ada@example.com")
def retry_move(
    context: typer.Context,
    account: Account,
    email: Annotated[
        str,
        typer.Argument(
            metavar="EMAIL",
            help="The person's address, or the last part of the workflow id.",
            show_default=False,
        ),
    ],
) -> None:
    """Retry the failed items of the move; the manifest has the results."""
    _call(context, "Moving", lambda client: client.retry_move(account, email))


def _call(
    context: typer.Context,
    progress: str,
    call: "Callable[[InvitationClient], Awaitable[Invitation]]",
) -> None:
    invitation = with_clients(context, progress, lambda clients: call(clients.invitations))
    CommandOutput.of(context).print(
        as_json(invitation), lambda: render_invitation.of_invitation(invitation)
    )


def _require_known(locale: str | None) -> None:
    if locale and (unknown := unknown_locale(locale)):
        raise Refused(ErrorCode.INVALID_INPUT, f"{unknown[0].upper()}{unknown[1:]}.")


def _choice(*, refund: bool, transfer: bool) -> Choice | None:
    if refund and transfer:
        raise Refused(ErrorCode.INVALID_INPUT, "Use either --refund or --transfer.")
    if refund:
        return Choice.REFUND
    return Choice.TRANSFER if transfer else None
