"""The invitee's page: everything that the person with the link reads before and after an answer."""

from pydantic import AwareDatetime

from domain.invitation import Invitation, Invite
from domain.manifest import Change
from domain.model import Value
from domain.money import Money
from domain.preview import Preview
from domain.quote import RecordedQuote
from domain.refund import Refund


class InvitationOffer(Value):
    """An invitation as its workflow knows it: the record, the quote shown last, and its clock."""

    invitation: Invitation
    quote: RecordedQuote | None = None
    """The quote that was shown last, if any (QUO-5)."""
    at: AwareDatetime
    """The last moment that the workflow has seen."""
    recheck_at: AwareDatetime | None = None
    """The time of the next timed recheck of the blockers (BLK-4)."""
    resend_from: AwareDatetime | None = None
    """The time from which a new link can be sent, if an e-mail was requested (INV-9)."""
    from_store: bool = False
    """True if no worker answered in time, or none is needed any more: the store's record."""


class NamedPerson(Value):
    """A person with the name that the directory has, if any."""

    email: str
    name: str | None = None

    @property
    def shown_name(self) -> str:
        """Return the name, else the address."""
        return self.name or self.email


class NamedAccount(Value):
    """An account as a page names it."""

    id: str
    name: str
    currency: str
    time_zone: str
    collection: str
    """`autopay` or `net_terms`: whether credit is applied by itself (CRD-3)."""


class SubscriptionName(Value):
    """A subscription of the account that the person leaves."""

    id: str
    product: str
    cycle: str
    kind: str
    quantity: int


class AddonCount(Value):
    """Add-on licenses of one kind that the person holds and that stay behind (TRF-3)."""

    sku: str
    capacity: int
    count: int


class ChangedLink(Value):
    """The changed join link of a meeting or webinar (TRF-5)."""

    topic: str
    starts_at: AwareDatetime | None = None
    old: str | None
    new: str


class OtherMethod(Value):
    """A payment method to which a failed refund may be sent instead (REF-4)."""

    id: str
    kind: str


class InviteePage(Value):
    """The facts of one invitation's page, read in one snapshot of the store."""

    invite: Invite
    invitation: Invitation
    at: AwareDatetime
    """The moment of the estimate: server clock or workflow clock, whichever is later."""
    recheck_at: AwareDatetime | None = None
    target: NamedAccount
    inviter: NamedPerson
    inviter_may_invite: bool
    """True while the inviter administers a paid account, so that members can be invited (BLK-6)."""
    invitee: NamedPerson
    locale: str | None = None
    """The locale of the person, else that of the invitation."""
    time_zone: str
    source: NamedAccount | None = None
    """The account that the person leaves, or has left by accepting."""
    closes: bool = False
    """True if the person owns that account, which closes when they leave (SRC-2)."""
    source_paid: bool = False
    subscriptions: tuple[SubscriptionName, ...] = ()
    addons: tuple[AddonCount, ...] = ()
    credit: Money | None = None
    """The credit of the account that closes, with the part of the quote that returns to it."""
    preview: Preview | None = None
    """None once the invitation was answered or has ended."""
    quote_recorded: bool = False
    """True if the preview shows the recorded quote, not an estimate."""
    settings: tuple[Change, ...] = ()
    links: tuple[ChangedLink, ...] = ()
    """The first `LISTED_LINKS` changed links."""
    links_changed: int = 0
    """The number of all changed links."""
    invited_members: tuple[str, ...] = ()
    """The listed other users of the account who have a live invitation as well (BLK-6)."""
    members_to_invite: int = 0
    """The number of all other users who have none."""
    refund: Refund | None = None
    credited: Money | None = None
    """The amount that the acceptance credited to the joined account, if any."""
    credited_balance: Money | None = None
    """The part of it that was the credit balance of the former account, if any."""
    other_methods: tuple[OtherMethod, ...] = ()
    joined: NamedAccount | None = None
    """The account that the person has joined instead (INV-14)."""

    @property
    def may_convert(self) -> bool:
        """Return whether the failed refund may become credit of the joined account (REF-4)."""
        return (
            self.refund is not None
            and self.refund.failed.amount > 0
            and self.refund.amount.currency == self.target.currency
        )


LISTED_LINKS = 100
"""Changed links that a page lists."""


class OldLink(Value):
    """An old join link and the one that replaces it (TRF-5)."""

    old: str | None
    new: str
