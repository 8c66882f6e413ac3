"""Builders of accounts, users and import files."""

from datetime import UTC, datetime
from decimal import Decimal

from domain.account import Directory
from domain.money import Money

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
OWNER = "olga@acme.example"
ADMIN = "adam@acme.example"
ZOE = "zoe@zeta.example"


def user(email: str, role: str = "member", **more: object) -> dict[str, object]:
    return {"email": email, "role": role, **more}


def account(name: str, *users: object, plan: str = "free", **more: object) -> dict[str, object]:
    return {
        "id": name,
        "name": name.title(),
        "plan": plan,
        "currency": "EUR",
        "time_zone": "Europe/Berlin",
        "country": "DE",
        "collection": "autopay",
        "users": list(users),
        **more,
    }


def directory(*accounts: object, **more: object) -> Directory:
    return Directory.model_validate({"accounts": list(accounts), **more})


def eur(amount: str) -> Money:
    return Money(amount=Decimal(amount), currency="EUR")


ACME = account(
    "acme",
    user(OWNER, "owner", licensed=True, locale="de"),
    user(ADMIN, "admin", name="Adam"),
    plan="business",
    licenses=6,
)
SOLO = account("solo", user("sue@solo.example", "owner", licensed=True))
BLOCKED = account(
    "crowd",
    user("kim@crowd.example", "owner"),
    user("lee@crowd.example"),
    rooms=[{"id": "blue"}],
    invoices=[{"id": "i1", "amount_due": "9.90", "due_on": "2026-01-31"}],
)
PAYING = account("rich", user("rita@rich.example", "owner"), user("max@rich.example"), plan="pro")
OTHER = account("zeta", user(ZOE, "owner", licensed=True), plan="pro", licenses=3)
