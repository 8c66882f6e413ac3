"""The rendering of invitations, previews and quotes."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from commands.output import shown_item
from commands.render import between, facts, journal, money, state, table, text, time
from domain.invitation import Blocker, Invitation, InviteResult, Settlement
from domain.manifest import Manifest
from domain.preview import Notice, Preview, TransferOffer, TransferRefused
from domain.quote import PaymentShare


def of_invitation(invitation: Invitation) -> RenderableType:
    """Render all facts of one invitation."""
    header = facts(
        invitation.email,
        ("state", state(invitation.state)),
        ("into", invitation.account),
        ("as", invitation.license),
        ("invited by", invitation.invited_by),
        ("goes out", time(invitation.goes_out_at)),
        ("answer before", time(invitation.expires_at)),
        ("deadline paused", f"with {invitation.time_left} left" if invitation.time_left else None),
        ("e-mails sent", str(invitation.sent_count)),
        ("reminders sent", str(invitation.reminders_sent)),
        ("reminders", "ended by the invitee" if invitation.reminders_ended else None),
        ("last reminded by", invitation.reminded_by),
        ("link", invitation.link),
        ("chosen", invitation.choice),
        ("settlement", _settlement(invitation.settlement)),
        (
            "move",
            Text("with errors: `retry-move` tries again", style="red")
            if invitation.with_errors
            else None,
        ),
        ("allowed", ", ".join(invitation.allowed)),
        ("workflow", invitation.workflow_id),
        ("run", invitation.run_id),
    )
    return Group(
        header,
        *_blockers(invitation.blockers),
        *_manifest(invitation.manifest),
        journal(invitation.journal),
    )


def of_invitations(invitations: Iterable[Invitation], now: datetime) -> RenderableType:
    """Render a row for each invitation, as in the account's pending list (INV-5)."""
    rows = table("email", "state", "age", "answer before", "reminders", "blockers")
    for invitation in invitations:
        rows.add_row(
            text(invitation.email),
            state(invitation.state),
            f"{(now - invitation.journal[0].at).days} days" if invitation.journal else "",
            time(invitation.expires_at),
            str(invitation.reminders_sent),
            ", ".join(blocker.code for blocker in invitation.blockers),
        )
    return rows if rows.row_count else Text("No invitations.", style="dim")


def of_invitations_of_person(invitations: Iterable[Invitation]) -> RenderableType:
    """Render a row for each invitation of one person, into any account."""
    rows = table("into", "state", "as", "invited by", "answer before", "settlement", "workflow")
    for invitation in invitations:
        rows.add_row(
            invitation.account,
            state(invitation.state),
            invitation.license,
            text(invitation.invited_by),
            time(invitation.expires_at),
            _settlement(invitation.settlement) or "",
            invitation.workflow_id,
        )
    return rows


def of_results(results: Sequence[InviteResult]) -> RenderableType:
    """Render the result of each row of a request."""
    rows = table("email", "result", "state", "")
    for result in results:
        refused = result.result == "refused"
        rows.add_row(
            text(result.email),
            Text(result.result, style="red" if refused else "green"),
            state(result.invitation.state) if result.invitation else "",
            text(str(result.error["message"]) if result.error else result.note or ""),
        )
    return rows if results else Text("No invitations.", style="dim")


def of_preview(preview: Preview) -> RenderableType:
    """Render the effects of accepting."""
    lists: list[RenderableType] = [
        *_closing(preview),
        *_notices("Moves", preview.moves),
        *_notices("Stays behind", preview.stays_behind),
        *_notices("Is lost", preview.loses),
        *_blockers(preview.blockers),
    ]
    if preview.lines:
        return Group(of_quote(preview), *lists)
    return Group(*lists) if lists else Text("Accepting loses nothing.", style="green")


def _closing(preview: Preview) -> Iterable[Text]:
    if preview.closes:
        closes = f"Accepting closes the account {preview.closes}."
        if preview.lines:
            closes += " Its subscriptions end and are never charged again."
        yield Text(closes, style="yellow")


def of_quote(preview: Preview) -> RenderableType:
    """Render the value of unused time, line by line, and its settlement (QUO)."""
    policy, refund = preview.policy, preview.refund
    header = facts(
        "Unused time",
        ("value", money(preview.amount) if preview.amount else ""),
        ("valid until", time(preview.valid_until)),
        ("as a refund", money(refund.amount) if refund else ""),
        ("arrives between", between(refund.arrives_between) if refund else ""),
        ("as a transfer", _transfer(preview.transfer)),
        ("prorated by", f"{policy.unit}, day of change {policy.change_day}, {policy.time_zone}"),
    )
    lines = table("subscription", "period", "paid", "unused", "days", "by payment")
    for line in preview.lines:
        lines.add_row(
            text(line.subscription),
            f"{_instant(line.period_start)} to {_instant(line.period_end)}",
            money(line.paid),
            money(line.unused),
            f"{line.unused_days} of {line.period_days}",
            text("; ".join(map(_share, line.shares))),
        )
    return Group(header, lines) if preview.lines else header


def _instant(at: date) -> str:
    return time(at) if isinstance(at, datetime) else str(at)


def _share(share: PaymentShare) -> str:
    """Render the part of the unused value that belongs to one payment."""
    return f"{money(share.amount)} of {share.payment} ({share.method})"


def _transfer(offer: TransferOffer | TransferRefused | None) -> str:
    match offer:
        case TransferOffer():
            return f"{money(offer.amount)} credited to {offer.to}"
        case TransferRefused():
            return f"not possible: {offer.refused}"
        case None:
            return ""


def _settlement(settlement: Settlement | None) -> str | None:
    if settlement is None:
        return None
    arrival = (
        f", arrives between {between(settlement.arrives_between)} ({settlement.refund_id})"
        if settlement.refund_id
        else ""
    )
    return f"{settlement.kind} of {money(settlement.amount)}{arrival}"


def _notices(title: str, notices: Sequence[Notice]) -> Iterable[Table]:
    if notices:
        rows = table(title, "count")
        for notice in notices:
            rows.add_row(text(notice.message), _counted(notice))
        yield rows


def _counted(notice: Notice) -> str:
    """Return the count with the things that are counted, for example `2 meetings`."""
    if notice.count is None:
        return ""
    thing = _COUNTED.get(notice.item, notice.item.replace("_", " "))
    return f"{notice.count} {thing}" if notice.count == 1 else f"{notice.count} {thing}s"


_COUNTED: Final = {
    "meetings": "meeting",
    "webinars": "webinar",
    "recordings": "recording",
    "chat_history": "message",
    "contacts": "contact",
    "settings": "setting",
    "participants": "larger meeting",
    "webinar_participants": "larger webinar",
    "large_meeting_license": "license",
    "webinar_license": "license",
    "addon_subscription": "license",
}
"""The thing that a notice counts, in the singular, where its item is no such word."""


def _manifest(manifest: Manifest) -> list[RenderableType]:
    """Render the items that move, and the changes to each."""
    if not manifest:
        return []
    items = table("item", "", "count", "changes")
    for item in manifest:
        changes = (
            f"{each.name}: {each.old} → {each.new}"
            + (f" (locked by {each.locked_by})" if each.locked_by else "")
            for each in item.changes
        )
        items.add_row(item.item, state(item.status), str(item.count), text("; ".join(changes)))
    return [items]


def _blockers(blockers: Sequence[Blocker]) -> Iterable[Table]:
    if blockers:
        rows = table("blocker", "account", "items", "remedy", "cleared by")
        for blocker in blockers:
            rows.add_row(
                Text(f"{blocker.code}: {blocker.message}", style="yellow"),
                blocker.account,
                text(_items(blocker)),
                blocker.remedy,
                blocker.cleared_by,
            )
        yield rows


def _items(blocker: Blocker) -> str:
    """Render the listed items, and the number of the others."""
    listed = "; ".join(
        f"{item.kind} {shown_item(item.model_dump(mode='json'))}" for item in blocker.items
    )
    if not blocker.unlisted:
        return listed
    return f"{listed} and {blocker.unlisted} more (`export` of that account lists all)"
