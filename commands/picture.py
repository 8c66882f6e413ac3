"""Invitations as a person sees them in a terminal."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from domain.invitation import Blocker, Invitation, InvitationState, InviteResult
from domain.preview import Notice, Preview
from domain.text import one_line

_COLOURS = {
    InvitationState.BLOCKED: "yellow",
    InvitationState.COMPLETED: "green",
    InvitationState.ACCEPTED: "green",
    InvitationState.DECLINED: "red",
    InvitationState.REVOKED: "red",
    InvitationState.EXPIRED: "red",
    InvitationState.UNDELIVERABLE: "red",
    InvitationState.SUPERSEDED: "red",
}


def of_invitation(invitation: Invitation) -> RenderableType:
    """Everything that an operator asks about one invitation."""
    facts = _facts(
        ("state", _state(invitation.state)),
        ("into", invitation.account),
        ("as", invitation.license),
        ("invited by", invitation.invited_by),
        ("answer before", _time(invitation.expires_at)),
        ("e-mails sent", str(invitation.sent_count)),
        ("reminders sent", str(invitation.reminders_sent)),
        ("link", invitation.link),
        ("may now", ", ".join(invitation.allowed)),
        ("workflow", invitation.workflow_id),
        ("run", invitation.run_id),
        title=invitation.email,
    )
    return Group(facts, *_blockers(invitation.blockers), _journal(invitation))


def of_invitations(invitations: Iterable[Invitation], now: datetime) -> RenderableType:
    """One line for each, with what the account's pending list shows (INV-5)."""
    table = _table("email", "state", "age", "answer before", "reminders", "blockers")
    for invitation in invitations:
        table.add_row(
            _text(invitation.email),
            _state(invitation.state),
            f"{(now - invitation.journal[0].at).days} days" if invitation.journal else "",
            _time(invitation.expires_at),
            str(invitation.reminders_sent),
            ", ".join(blocker.code for blocker in invitation.blockers),
        )
    return table if table.row_count else Text("No invitations.", style="dim")


def of_results(results: Sequence[InviteResult]) -> RenderableType:
    """What became of each row of a request."""
    table = _table("email", "result", "state", "")
    for result in results:
        refused = result.result == "refused"
        table.add_row(
            _text(result.email),
            Text(result.result, style="red" if refused else "green"),
            _state(result.invitation.state) if result.invitation else "",
            _text(str(result.error["message"])) if result.error else "",
        )
    return table


def of_preview(preview: Preview) -> RenderableType:
    """What accepting would do, in three lists."""
    lists = [
        *_notices("Moves", preview.moves),
        *_notices("Stays behind", preview.stays_behind),
        *_notices("Is lost", preview.loses),
        *_blockers(preview.blockers),
    ]
    return Group(*lists) if lists else Text("Nothing is lost by accepting.", style="green")


def _journal(invitation: Invitation) -> Table:
    table = _table("at", "event", "state", "by", "note")
    for entry in invitation.journal:
        table.add_row(
            _time(entry.at),
            entry.event,
            _state(InvitationState(entry.to_state)),
            _text(entry.by),
            _text(entry.note or ""),
        )
    return table


def _notices(title: str, notices: Sequence[Notice]) -> Iterable[Table]:
    if notices:
        table = _table(title, "")
        for notice in notices:
            table.add_row(_text(notice.message), str(notice.count or ""))
        yield table


def _blockers(blockers: Sequence[Blocker]) -> Iterable[Table]:
    if blockers:
        table = _table("blocked by", "items", "remedy", "who can")
        for blocker in blockers:
            table.add_row(
                Text(f"{blocker.code}: {blocker.message}", style="yellow"),
                _text(", ".join(item.id for item in blocker.items)),
                blocker.remedy,
                blocker.cleared_by,
            )
        yield table


def _facts(*facts: tuple[str, str | Text | None], title: str) -> Text:
    """Lines that are never wrapped, so that a link can be copied."""
    lines = Text(no_wrap=True, overflow="ignore")
    lines.append(one_line(title), style="bold")
    for name, fact in facts:
        if fact:
            lines.append(f"\n  {name:15}", style="dim")
            lines.append(one_line(fact) if isinstance(fact, str) else fact)
    return lines


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _state(state: InvitationState) -> Text:
    return Text(state, style=_COLOURS.get(state, "cyan"))


def _text(typed: str) -> Text:
    """What people typed: never markup, never a control character (TXT-3)."""
    return Text(one_line(typed))


def _time(at: datetime | None) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if at else ""
