"""Previews: the consequences of accepting an invitation (QUO-8)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime

from pydantic import AwareDatetime

from domain.account import Account, Subscription, User
from domain.business_day import BusinessCalendar
from domain.invitation import Blocker, Invite, License
from domain.license import CAPACITY_WITHOUT_ADDON, Sku
from domain.manifest import Item, counts_of, leaving_user, overridden_settings
from domain.model import Value
from domain.money import Money, rounded, total
from domain.proration import ProrationTerms
from domain.quote import (
    Quote,
    QuoteLine,
    RecordedQuote,
    Returnable,
    binding_quote,
    empty_quote,
    requires_choice,
    terms_of,
)


class Notice(Value):
    """One kind of data or license that moves, stays behind or is lost."""

    item: str
    message: str
    count: int | None = None
    name: str | None = None
    """The product, for a license or subscription that stays behind."""
    capacity: int | None = None
    """The participants of a license for large meetings or webinars that the person has."""


class RefundOffer(Value):
    """The amount of a refund, and the dates of its arrival."""

    amount: Money
    """The amount returned to payment methods, without the part that becomes credit."""
    arrives_between: tuple[date, date] | None
    """The dates for accepting on that day; None when no payment method gets a refund."""


class TransferOffer(Value):
    """The amount of a transfer, and the account credited."""

    amount: Money
    to: str


class TransferRefused(Value):
    """The reason why no transfer is possible; a refund remains possible."""

    refused: str


class Preview(Value):
    """The consequences of accepting now."""

    amount: Money | None = None
    lines: tuple[QuoteLine, ...] = ()
    policy: ProrationTerms
    valid_until: AwareDatetime | None = None
    refund: RefundOffer | None = None
    transfer: TransferOffer | TransferRefused | None = None
    moves: tuple[Notice, ...] = ()
    stays_behind: tuple[Notice, ...] = ()
    loses: tuple[Notice, ...] = ()
    blockers: tuple[Blocker, ...] = ()
    closes: str | None = None
    """The id of the account that the acceptance closes: the one that the invitee owns (SRC-2)."""


BASE_LICENSE_FEATURES = (
    Notice(item="cloud_recording", message="Recording meetings to the cloud."),
    Notice(item="long_meetings", message="Meetings of more than 40 minutes."),
    Notice(item="participants", message="Meetings of more than 100 participants."),
    Notice(item="reports", message="Usage reports of your meetings."),
)
"""The features that a licensed person has and a basic one has not (INV-16)."""


def loss_notices(source: Account | None, invitee: str, license: License) -> tuple[Notice, ...]:
    """Return the features and licenses that a person loses by accepting (INV-16, TRF-3)."""
    user = source.user(invitee) if source else None
    if user is None:
        return ()
    to_basic = user.licensed and license is not License.LICENSED
    features = BASE_LICENSE_FEATURES if to_basic else ()
    smaller = tuple(_smaller_events(user, Sku(addon.sku)) for addon in user.addons)
    replaced = {notice.item for notice in smaller}
    return (*(feature for feature in features if feature.item not in replaced), *smaller)


def _smaller_events(user: User, sku: Sku) -> Notice:
    """Return the loss of the capacity that an add-on of this kind gives (ASG-3, ASG-8)."""
    webinar = sku is Sku.WEBINAR
    hosted = user.webinars if webinar else user.meetings
    events, license = ("Webinars", "webinar") if webinar else ("Meetings", "Large Meeting")
    return Notice(
        item="webinar_participants" if webinar else "participants",
        message=f"{events} of more than {CAPACITY_WITHOUT_ADDON} participants, "
        f"until an admin assigns you a new {license} license.",
        count=sum((event.capacity or 0) > CAPACITY_WITHOUT_ADDON for event in hosted),
    )


def moving_items(source: Account | None, invitee: str) -> tuple[Item, ...]:
    """Return the kinds of data that the invitee would take along (TRF-1)."""
    user = source.user(invitee) if source else None
    return tuple(item for item, count in counts_of(user).items() if count) if user else ()


def moving_notices(user: User | None, target: Account) -> tuple[Notice, ...]:
    """Return the data of a person that moves, with its changes on `target` (TRF-1)."""
    if user is None:
        return ()
    return tuple(
        Notice(item=item.value, message=_moving_text(item, user, target), count=count)
        for item, count in counts_of(user).items()
        if count
    )


def _moving_text(item: Item, user: User, target: Account) -> str:
    match item:
        case Item.PROFILE:
            return "Your profile; you sign in as before."
        case Item.MEETINGS | Item.WEBINARS:
            return f"Your scheduled {item}. {_join_links_text(target)}"
        case Item.RECORDINGS:
            return "Your cloud recordings."
        case Item.CHAT_HISTORY:
            return (
                "Your chat history. What was written before you join stays yours alone: "
                f"admins of {target.name} cannot read it."
            )
        case Item.CONTACTS:
            return "Your contacts."
        case Item.SETTINGS:
            return f"Your settings. {_locked_settings_text(user, target)}"


def _join_links_text(target: Account) -> str:
    """Return the text about meeting ids and join links (TRF-5)."""
    if not target.vanity_url:
        return "Their ids and join links stay."
    return (
        f"Their ids stay; their join links change, because {target.name} has a vanity URL "
        f"({target.vanity_url}): an old link shows a notice, calendars may need the new one, "
        "and registration e-mails may have to be sent again."
    )


def _locked_settings_text(user: User, target: Account) -> str:
    """Return the text about settings that the target account locks (TRF-2)."""
    changes = overridden_settings(user.settings, target.locked_settings, target.id)
    if not changes:
        return "None of them changes."
    names = ", ".join(change.name for change in changes)
    return f"{target.name} locks these, which take its values: {names}."


def staying_notices(source: Account | None, invitee: str, target: str) -> tuple[Notice, ...]:
    """Return the licenses and data that do not move to `target` (TRF-3).

    `target` is the name of the target account.
    """
    user = source.user(invitee) if source else None
    if source is None or user is None:
        return ()
    return tuple(_staying_notices(source, user, target))


def _staying_notices(source: Account, user: User, target: str) -> Iterator[Notice]:
    replacement = f"an admin of {target} must assign you a new one"
    for addon in sorted(user.addons, key=lambda addon: (addon.sku, addon.capacity)):
        webinar = addon.sku == "webinar"
        license = "webinar" if webinar else "Large Meeting"
        yield Notice(
            item="webinar_license" if webinar else "large_meeting_license",
            message=f"Your {license} license for {addon.capacity} participants: {replacement}.",
            count=1,
            name=f"{'Webinar' if webinar else 'Large Meeting'} {addon.capacity}",
            capacity=addon.capacity,
        )
    # The account of a plain member continues, with its subscriptions.
    lines = source.subscriptions if source.owner == user else ()
    for line in lines:
        if line.kind == "addon":
            yield Notice(
                item=_addon_item(line),
                message=f"{line.product}, which ends with {source.name}: "
                f"{replacement} if you need it.",
                count=line.quantity,
                name=line.product,
            )
    yield Notice(
        item="report_data",
        message=f"Usage reports of {source.name}: download what you need before you accept.",
    )


def _addon_item(line: Subscription) -> str:
    return "webinar_license" if "webinar" in line.product.casefold() else "addon_subscription"


def transfer_offer(quoted: Quote, target: Account) -> TransferOffer | TransferRefused:
    """Return the offer of a transfer to `target`, or its refusal in another currency (QUO-6)."""
    if target.currency != quoted.total.currency:
        return TransferRefused(refused="currency_mismatch")
    return TransferOffer(amount=quoted.total, to=target.id)


def staying_credit_notices(source: Account, target: Account, quoted: Quote) -> tuple[Notice, ...]:
    """Return the credit of `source` that cannot move to another currency (QUO-3, QUO-6).

    It is the balance plus the quote's shares that become credit.
    """
    credit = _credit(source, quoted)
    if source.currency == target.currency or not credit.amount:
        return ()
    return (
        Notice(
            item="credit",
            message=f"Credit of {credit.amount:f} {credit.currency}, "
            f"because {target.name} pays in {target.currency}.",
        ),
    )


def moving_credit_notices(source: Account, target: Account, quoted: Quote) -> tuple[Notice, ...]:
    """Return the credit of `source` that moves to the target, with any choice (QUO-3, QUO-6)."""
    credit = _credit(source, quoted)
    if source.currency != target.currency or not credit.amount:
        return ()
    return (
        Notice(
            item="credit",
            message=f"Credit of {credit.amount:f} {credit.currency}, to {target.name}.",
        ),
    )


def _credit(source: Account, quoted: Quote) -> Money:
    returned = (share.amount for share in quoted.to_credit)
    return total([rounded(source.credit, source.currency), *returned], source.currency)


def preview(
    quoted: Quote,
    arrives_between: tuple[date, date] | None = None,
    target: Account | None = None,
    valid_until: datetime | None = None,
) -> Preview:
    """Return the amount to settle and the offers; no offers for an amount of zero (QUO-4)."""
    refund, transfer = None, None
    if quoted.total.amount:
        refund = RefundOffer(
            amount=quoted.refundable,
            arrives_between=arrives_between if quoted.to_methods else None,
        )
        transfer = transfer_offer(quoted, target) if target else None
    return Preview(
        amount=quoted.total,
        lines=quoted.lines,
        policy=quoted.terms,
        valid_until=valid_until,
        refund=refund,
        transfer=transfer,
    )


@dataclass(frozen=True)
class RefundTerms:
    """The dates and the amounts of refunds."""

    calendar_of: Callable[[Account], BusinessCalendar]
    returnable: Returnable
    """The amounts that the payment provider can return (QUO-3)."""


def preview_acceptance(
    invite: Invite,
    at: datetime,
    source: Account | None,
    target: Account,
    *,
    blockers: tuple[Blocker, ...],
    chat_messages: int,
    shown: RecordedQuote | None,
    refunds: RefundTerms,
) -> tuple[Preview, RecordedQuote | None]:
    """Return the effects of accepting now, and the quote that binds from now on (QUO-8).

    The quote is None if there is nothing to choose (QUO-4). Of the users of `source` only the
    invitee is needed; `blockers` are those of its owner (SRC-3).
    """
    user, recorded = leaving_user(source, invite.email, chat_messages), None
    if source and source.owned_by(invite.email):
        binding = binding_quote(source, at, invite.policy, shown)
        quoted = binding.quote.as_returned(refunds.returnable)
        binding = binding.model_copy(update={"quote": quoted})
        window = refunds.calendar_of(source).arrives_between(invite.policy, at)
        found = _preview_closing(invite, source, target, binding, window)
        recorded = binding if found.valid_until else None
    else:
        # Only an owner leaves money behind (SRC-3).
        currency = (source or target).currency
        found = preview(empty_quote(at, terms_of(invite.policy, source), currency))
    moves = (*moving_notices(user, target), *found.moves)
    stay = (*staying_notices(source, invite.email, target.name), *found.stays_behind)
    loses = loss_notices(source, invite.email, invite.license)
    owned = source if source and source.owned_by(invite.email) else None
    changes = {
        "moves": moves,
        "stays_behind": stay,
        "loses": loses,
        "blockers": blockers,
        "closes": owned.id if owned else None,
    }
    return found.model_copy(update=changes), recorded


def _preview_closing(
    invite: Invite,
    source: Account,
    target: Account,
    recorded: RecordedQuote,
    arrives_between: tuple[date, date],
) -> Preview:
    """Return the effects on the money of an account that closes."""
    quoted = recorded.quote
    choose = requires_choice(source, invite.email, quoted)
    found = preview(quoted, arrives_between, target, recorded.valid_until if choose else None)
    changes = {
        "moves": moving_credit_notices(source, target, quoted),
        "stays_behind": staying_credit_notices(source, target, quoted),
    }
    return found.model_copy(update=changes)
