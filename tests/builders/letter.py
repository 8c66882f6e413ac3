"""Builders of letters: at least one for each event."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Literal

from adapters.letter.language import CATALOGS
from domain.account import Account, HeldAddon
from domain.attention import AttentionCase, AttentionKind
from domain.invitation import Blocker, InvitationState, License
from domain.letter import Letter
from domain.letter.attention import AttentionLetter
from domain.letter.base import Reader
from domain.letter.credit import CreditReceivedLetter, TransferredLetter
from domain.letter.invitation import (
    AcceptedLetter,
    BlockedLetter,
    DeclinedLetter,
    ExpiredLetter,
    HeadsUpLetter,
    InvitationLetter,
    LicensesLeftLetter,
    MovedLetter,
    RevokedLetter,
    SupersededLetter,
    UnblockedLetter,
    UndeliverableLetter,
    WelcomeLetter,
)
from domain.letter.license import LicenseAssignedLetter, LicenseReleasedLetter, LicenseServedLetter
from domain.letter.membership import RemovedLetter
from domain.letter.order import (
    LicenseEndedLetter,
    NextPayment,
    OrderCancelledLetter,
    OrderConfirmedLetter,
    OrderedLicenses,
    OrderEndedLetter,
    OrderPaymentFailedLetter,
    OrderRenewedLetter,
    OrderReviewLetter,
)
from domain.letter.refund import (
    RefundClosedLetter,
    RefundConvertedLetter,
    RefundFailedLetter,
    RefundOverdueLetter,
    RefundRequestedLetter,
    RefundRetriedLetter,
    RefundSettledLetter,
)
from domain.letter.reminder import DigestLetter, ReminderLetter, digest_letter
from domain.letter.sign_in import SignInLetter
from domain.license import Sku
from domain.manifest import Change, Item
from domain.money import Money
from domain.preview import BASE_LICENSE_FEATURES, Notice, staying_notices
from domain.reminder import StaleInvitation
from tests.builders.source_account import blockers_of

LANGUAGES = ["en", *sorted(path.parent.name for path in CATALOGS.glob("*/letters.po"))]
AT = datetime(2026, 7, 1, 21, 30, tzinfo=UTC)
LINK = "https://seatflow.example/i/s3cret"
UNSUBSCRIBE = "https://seatflow.example/unsubscribe/t0ken"
ARRIVES_BETWEEN = (date(2026, 11, 25), date(2026, 11, 30))
AMOUNT = Money(amount=Decimal("1108.83"), currency="EUR")
LINKS = (
    Change(
        name="m-1",
        old="https://club.meet.example/j/m-1",
        new="https://acme.meet.example/j/m-1",
    ),
    Change(name="w-1", old=None, new="https://acme.meet.example/j/w-1"),
)
SETTINGS = (
    Change(name="waiting_room", old=False, new=True, locked_by="acme"),
    Change(name="theme", old="dark", new=None, locked_by="acme"),
)
SIGN_IN_LINK = "https://seatflow.example/sign-in/token"
A_CASE = AttentionCase(
    kind=AttentionKind.REFUND_FAILED,
    since=AT,
    account="acme",
    id="rf-1",
    message="75.00 EUR to b…@example.com could not be returned: declined.",
    remedy="seatflow refund convert rf-1 --to-credit",
)
A_MOVE = AttentionCase(
    kind=AttentionKind.MOVE_FAILED,
    since=AT,
    account="acme",
    id="invitation/acme/k",
    message="Not moved for b…@example.com: recordings (3).",
    remedy="seatflow retry-move acme k",
)


def a_reader(locale: str = "en", *, name: str | None = "Ann", time_zone: str = "UTC") -> Reader:
    return Reader(email="ann@example.com", name=name, locale=locale, time_zone=time_zone)


def an_invitation(
    reader: Reader | None = None,
    *,
    account: str = "Acme",
    inviter: str = "Eve",
    license: License = License.BASIC,
    loses: tuple[Notice, ...] = (),
    moves: tuple[Item, ...] = (),
    stays: tuple[Notice, ...] = (),
    note: str | None = None,
) -> InvitationLetter:
    return InvitationLetter(
        id="invitation.1.abc",
        reader=reader or a_reader(),
        account_name=account,
        inviter=inviter,
        license=license,
        link="https://seatflow.example/i/token",
        expires_at=AT,
        loses=loses,
        moves=moves,
        stays=stays,
        note=note,
    )


def a_heads_up(reader: Reader, *, managed: bool = False) -> HeadsUpLetter:
    return HeadsUpLetter(
        id="x",
        reader=reader,
        account_name="Acme",
        inviter="Eve",
        goes_out_at=AT,
        managed=managed,
    )


def the_club(
    *users: Mapping[str, object], subscriptions: list[dict[str, object]], **members: object
) -> Account:
    """Return an account that Ann owns."""
    return Account.model_validate(
        {
            "id": "club",
            "name": "Club",
            "plan": "pro",
            "currency": "EUR",
            "time_zone": "Europe/Berlin",
            "country": "DE",
            "collection": "autopay",
            "users": users,
            "subscriptions": [
                {
                    "id": f"sub-{n}",
                    "cycle": "annual",
                    "period_start": "2026-01-01",
                    "period_end": "2027-01-01",
                    "payments": [],
                    **line,
                }
                for n, line in enumerate(subscriptions)
            ],
            **members,
        }
    )


def all_blockers(
    *, users: int = 2, rooms: int = 2, invoices: int = 2, cancelled: int = 2
) -> tuple[Blocker, ...]:
    """Return the blockers of Ann, who owns an account with that many users, rooms and so on."""
    cancellation = {
        "product": "Pro",
        "kind": "plan",
        "quantity": 1,
        "cancellation_pending": True,
    }
    club = the_club(
        {"email": "ann@example.com", "role": "owner"},
        *(
            {"email": f"user-{n}@club.example", "role": "member", "name": None if n else "Otto"}
            for n in range(users)
        ),
        subscriptions=[cancellation] * cancelled,
        rooms=[{"id": f"room-{n}", "name": None if n else "Attic"} for n in range(rooms)],
        invoices=[
            {"id": f"inv-{n}", "amount_due": "1108.83", "due_on": "2026-07-01"}
            for n in range(invoices)
        ],
    )
    return blockers_of(club)


WEBINAR_LOSS = Notice(item="webinar_participants", message="Large webinars.")
"""The loss of a webinar license, which the letter describes in the reader's language."""


def items_that_stay() -> tuple[Notice, ...]:
    """Return one of each kind of item that does not move with Ann (TRF-3)."""
    club = the_club(
        {"email": "ann@example.com", "role": "owner", "addons": [{"capacity": 500}]},
        subscriptions=[
            {"product": "Webinar 500", "kind": "addon", "quantity": 2},
            {"product": "Storage", "kind": "addon", "quantity": 1},
        ],
    )
    return staying_notices(club, "ann@example.com", "Acme")


def a_blocked(
    reader: Reader, blockers: tuple[Blocker, ...], *, expires_at: datetime | None = AT
) -> BlockedLetter:
    return BlockedLetter(
        id="x", reader=reader, account_name="Acme", blockers=blockers, expires_at=expires_at
    )


def a_digest(reader: Reader, invitations: int) -> DigestLetter:
    stale = [
        StaleInvitation(
            email=f"jane{number}@example.com",
            state=InvitationState.BLOCKED if number % 2 else InvitationState.PENDING,
            quiet_since=AT,
            expires_at=AT if number % 3 else None,
            reminders_sent=number % 4,
            reminded=number % 2 == 0,
        )
        for number in range(invitations)
    ]
    return digest_letter(reader, "acme", "Acme", stale, id="x")


def a_reminder(
    reader: Reader, blockers: tuple[Blocker, ...] = (), expires_at: datetime | None = AT
) -> ReminderLetter:
    return ReminderLetter(
        id="x",
        reader=reader,
        account_name="Acme",
        inviter="Eve",
        link=LINK,
        unsubscribe_link=UNSUBSCRIBE,
        expires_at=expires_at,
        blockers=blockers,
    )


def an_unblocked(reader: Reader) -> UnblockedLetter:
    return UnblockedLetter(
        id="x",
        reader=reader,
        account_name="Acme",
        link="https://seatflow.example/i/token",
        expires_at=AT,
    )


def a_move(
    reader: Reader,
    *,
    links: tuple[Change, ...] = (),
    settings: tuple[Change, ...] = (),
    failed: tuple[Item, ...] = (),
    more_links: int = 0,
) -> MovedLetter:
    return MovedLetter(
        id="x",
        reader=reader,
        account_name="Acme",
        links=links,
        settings=settings,
        failed=failed,
        more_links=more_links,
    )


def licenses_left(
    reader: Reader, *capacities: int, webinars: tuple[int, ...] = ()
) -> LicensesLeftLetter:
    return LicensesLeftLetter(
        id="x",
        reader=reader,
        account="acme",
        account_name="Acme",
        invitee="bob@example.com",
        licenses=(
            *(HeldAddon(capacity=capacity) for capacity in capacities),
            *(HeldAddon(sku="webinar", capacity=capacity) for capacity in webinars),
        ),
    )


def a_credit(reader: Reader, collection: Literal["autopay", "net_terms"]) -> CreditReceivedLetter:
    return CreditReceivedLetter(
        id="x",
        reader=reader,
        account="acme",
        account_name="Acme",
        amount=AMOUNT,
        from_whom="Bob",
        collection=collection,
    )


def letters_of_money(reader: Reader, amount: Money = AMOUNT) -> dict[str, Letter]:
    """Return every letter about a refund or a credit, by its event."""
    letters: tuple[Letter, ...] = (
        RefundRequestedLetter(
            id="x",
            reader=reader,
            account_name="Acme",
            amount=amount,
            arrives_between=ARRIVES_BETWEEN,
        ),
        RefundSettledLetter(id="x", reader=reader, account_name="Acme", amount=amount),
        RefundOverdueLetter(
            id="x",
            reader=reader,
            account_name="Acme",
            amount=amount,
            arrives_between=ARRIVES_BETWEEN,
        ),
        RefundFailedLetter(id="x", reader=reader, account_name="Acme", link=LINK, amount=amount),
        RefundConvertedLetter(id="x", reader=reader, account_name="Acme", amount=amount),
        RefundRetriedLetter(id="x", reader=reader, account_name="Acme", amount=amount),
        RefundClosedLetter(
            id="x", reader=reader, account_name="Acme", amount=amount, reason="sent by cheque"
        ),
        TransferredLetter(id="x", reader=reader, account_name="Acme", amount=amount),
        a_credit(reader, "autopay").model_copy(update={"amount": amount}),
    )
    return {letter.event: letter for letter in letters}


def letters_of_orders(reader: Reader) -> list[Letter]:
    """Return every letter about an order, with every reason for its end."""
    to = {"id": "x", "reader": reader, "account_name": "Acme"}
    large = OrderedLicenses(order_id="or-1", sku=Sku.LARGE_MEETING, capacity=500, quantity=3)
    webinar = OrderedLicenses(order_id="or-3", sku=Sku.WEBINAR, capacity=10000, quantity=3)
    base = OrderedLicenses(order_id="or-2", sku=Sku.WORKPLACE, capacity=None, quantity=1)
    month = NextPayment(amount=AMOUNT, on=ARRIVES_BETWEEN[0], cycle="monthly")
    year = NextPayment(amount=AMOUNT, on=ARRIVES_BETWEEN[0], cycle="annual")
    reviewed = {**to, "due_now": AMOUNT, "lapses_at": AT}
    declined = {**to, "amount": AMOUNT, "next_try_at": AT}
    reasons = (None, "review_lapsed", "payment_declined", "account_closed")
    ends = (None, "ends_with_term", "payment_declined", "account_closed")
    return [
        OrderReviewLetter.model_validate({**reviewed, "order": large, "next_payment": month}),
        OrderReviewLetter.model_validate({**reviewed, "order": base, "next_payment": year}),
        OrderConfirmedLetter.model_validate(
            {**to, "amount": AMOUNT, "order": large, "next_payment": month}
        ),
        OrderRenewedLetter.model_validate(
            {**to, "amount": AMOUNT, "order": large, "next_payment": year}
        ),
        OrderPaymentFailedLetter.model_validate({**declined, "order": large, "renewal": False}),
        OrderPaymentFailedLetter.model_validate({**declined, "order": base, "renewal": True}),
        *(
            OrderConfirmedLetter.model_validate(
                {**to, "amount": AMOUNT, "order": ordered, "next_payment": month}
            )
            for ordered in (webinar, webinar.model_copy(update={"quantity": 1}))
        ),
        *(
            OrderCancelledLetter.model_validate({**to, "order": large, "reason": reason})
            for reason in reasons
        ),
        OrderCancelledLetter.model_validate(
            {**to, "order": large, "reason": "ends_with_term", "ends_on": ARRIVES_BETWEEN[0]}
        ),
        *(
            OrderEndedLetter.model_validate({**to, "order": base, "reason": reason})
            for reason in ends
        ),
        LicenseEndedLetter.model_validate({**to, "sku": Sku.LARGE_MEETING, "capacity": 1000}),
        LicenseEndedLetter.model_validate({**to, "sku": Sku.WORKPLACE, "capacity": None}),
        LicenseEndedLetter.model_validate({**to, "sku": Sku.WEBINAR, "capacity": 1000}),
    ]


def every_letter(reader: Reader) -> list[Letter]:
    to = {"id": "x", "reader": reader, "account_name": "Acme"}
    return [
        an_invitation(
            reader,
            loses=(*BASE_LICENSE_FEATURES, WEBINAR_LOSS),
            moves=tuple(Item),
            stays=items_that_stay(),
            note="As discussed.",
        ),
        a_heads_up(reader),
        a_heads_up(reader, managed=True),
        a_blocked(reader, all_blockers()),
        a_blocked(reader, all_blockers(), expires_at=None),
        a_digest(reader, 1),
        a_digest(reader, 60),
        a_reminder(reader),
        a_reminder(reader, all_blockers()),
        a_reminder(reader, all_blockers(), expires_at=None),
        an_unblocked(reader),
        WelcomeLetter(id="x", reader=reader, account_name="Acme", license=License.BASIC),
        WelcomeLetter(id="x", reader=reader, account_name="Acme", license=License.LICENSED),
        WelcomeLetter(
            id="x", reader=reader, account_name="Acme", license=License.BASIC, managed=True
        ),
        a_move(reader, links=LINKS, settings=SETTINGS, failed=tuple(Item)),
        licenses_left(reader, 500, webinars=(1000,)),
        AcceptedLetter.model_validate({**to, "invitee": "bob@example.com"}),
        AcceptedLetter.model_validate({**to, "invitee": "bob@example.com", "managed": True}),
        RevokedLetter.model_validate(to),
        RevokedLetter.model_validate({**to, "invited": False}),
        RemovedLetter.model_validate({**to, "how": "unlink"}),
        RemovedLetter.model_validate({**to, "how": "delete"}),
        SupersededLetter.model_validate({**to, "invitee": "bob@example.com"}),
        DeclinedLetter.model_validate({**to, "invitee": "bob@example.com", "reason": "no time"}),
        ExpiredLetter.model_validate({**to, "invitee": "bob@example.com", "expired_at": AT}),
        UndeliverableLetter.model_validate(
            {**to, "invitee": "bob@example.com", "answer": "550 unknown"}
        ),
        *letters_of_money(reader).values(),
        *letters_of_orders(reader),
        RefundFailedLetter(
            id="x", reader=reader, account_name="Acme", amount=AMOUNT, convertible=False
        ),
        a_credit(reader, "net_terms"),
        SignInLetter(id="x", reader=reader, account_name="Acme", link=SIGN_IN_LINK),
        AttentionLetter(id="x", reader=reader, account_name="Acme", case=A_CASE),
        AttentionLetter(id="x", reader=reader, account_name="Acme", case=A_MOVE),
        *letters_of_licenses(reader),
    ]


def letters_of_licenses(reader: Reader) -> list[Letter]:
    """Return every letter about a license, for each kind."""
    to = {"id": "x", "reader": reader, "account_name": "Acme"}
    addon, base = {"sku": "large-meeting", "capacity": 3000}, {"sku": "workplace"}
    waited = {"served": ("bob@acme.example",), "without": ("eve@acme.example",)}
    return [
        LicenseAssignedLetter.model_validate(to | addon),
        LicenseAssignedLetter.model_validate(to | base),
        LicenseReleasedLetter.model_validate(to | {"sku": "large-meeting", "without": 100}),
        LicenseReleasedLetter.model_validate(to | base),
        LicenseServedLetter.model_validate(to | waited | {"sku": "large-meeting"}),
        LicenseServedLetter.model_validate(to | waited | {"sku": "workplace"}),
        LicenseAssignedLetter.model_validate(to | {"sku": "webinar", "capacity": 10000}),
        LicenseReleasedLetter.model_validate(to | {"sku": "webinar", "webinars_without": 100}),
        LicenseServedLetter.model_validate(to | waited | {"sku": "webinar"}),
    ]
