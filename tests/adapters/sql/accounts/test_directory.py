"""Import and export of accounts: an export is the import, and an import changes only its fields."""

from datetime import UTC, date, datetime
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql.database.schema import Base
from adapters.sql.store import SqlStore
from domain.account import Directory
from domain.catalog import Catalog
from domain.error import ErrorCode, Refused
from domain.invitation import License
from tests.builders.account import ACME, ADMIN, OWNER, account, directory, user
from tests.builders.invitation import StoreScenario

RICH = account(
    "rich",
    user(
        "Zoë@RICH.example",
        "owner",
        name="Zoë \N{GRINNING FACE} O'Neil",
        licensed=True,
        locale="fr",
        time_zone="Asia/Kolkata",
        settings={"waiting_room": True, "nested": {"b": [1, 2.5, None], "a": "x"}},
        meetings=[
            {
                "id": "m2",
                "topic": "Second",
                "starts_at": "2026-04-01T09:00:00+02:00",
                "capacity": 500,
            },
            {"id": "m1", "topic": "First", "starts_at": "2026-04-01T09:00:00Z", "capacity": 500},
        ],
        webinars=[
            {"id": "m1", "topic": "W", "starts_at": "2026-05-01T00:00:00Z", "capacity": 10000}
        ],
        recordings=3,
        contacts=5_000_000_000,
        chat_messages=7,
        addons=[
            {"sku": "large-meeting", "capacity": 500},
            {"sku": "webinar", "capacity": 10000},
        ],
    ),
    user("b@rich.example", "admin"),
    user("a@rich.example", "member", licensed=True),
    plan="pro",
    collection="net_terms",
    suspended=True,
    billing_day=31,
    billing_customer="cus_1",
    vanity_url="rich",
    managed_domains=["rich.example"],
    licenses=5,
    pools=[
        {"sku": "large-meeting", "capacity": 500, "bought": 2},
        {"sku": "webinar", "capacity": 500, "bought": 0},
        {"sku": "webinar", "capacity": 10000, "bought": 1},
    ],
    locked_settings={"e2ee": "on"},
    credit="999999999999.70",
    payment_methods=[{"id": "z", "kind": "card", "declines": 2}, {"id": "a", "kind": "bank"}],
    rooms=[{"id": "r2", "name": "Blue"}, {"id": "r1"}],
    subscriptions=[
        {
            "id": "s1",
            "product": "Pro",
            "kind": "plan",
            "quantity": 5,
            "cycle": "monthly",
            "period_start": "2026-03-01",
            "period_end": "2026-04-01T00:00:00+05:30",
            "discount": "0.10",
            "tax": "1.9",
            "payments": [
                {"id": "p2", "method": "card", "amount": "0.1", "refundable": False},
                {"id": "p1", "method": "credit", "amount": "10.00"},
            ],
        }
    ],
    invoices=[
        {"id": "i2", "amount_due": "0.30", "due_on": "2026-03-31"},
        {"id": "i1", "amount_due": "0", "due_on": "2026-02-28", "status": "paid"},
    ],
)
LINE = {
    "id": "s1",
    "product": "Pro",
    "kind": "plan",
    "quantity": 1,
    "cycle": "annual",
    "period_start": "2025-03-01",
    "period_end": "2026-03-01",
    "payments": [],
}
GONE = account("gone", state="closed", licenses=0, subscriptions=[LINE])


async def imported(store: SqlStore, *accounts: object) -> list[str]:
    return await store.directory.import_(directory(*accounts))


async def mistakes_of(store: SqlStore, *accounts: object) -> dict[str, str]:
    with pytest.raises(Refused) as refused:
        await imported(store, *accounts)
    assert refused.value.code is ErrorCode.INVALID_INPUT
    found = cast(list[dict[str, str]], refused.value.details["mistakes"])
    return {mistake["path"]: mistake["reason"] for mistake in found}


async def test_an_export_is_the_import_in_its_canonical_form(store: SqlStore) -> None:
    """Contract, `export`: an export equals the imported file, with sorted accounts and defaults."""
    file = directory(GONE, RICH, catalog={"workplace": "13.00"})
    assert await store.directory.import_(file) == ["gone", "rich"]
    exported = await store.directory.export(None)
    assert exported == file
    assert [account.licenses for account in exported.accounts] == [0, 5]


async def test_licenses_default_to_the_number_of_licensed_users(
    scenario: StoreScenario,
) -> None:
    """Contract, `import`: a pool without a number has a license for each licensed user."""
    assert (await scenario.account("solo")).licenses == 1


async def test_times_are_exported_in_utc_and_days_as_days(store: SqlStore) -> None:
    """Contract, `export`: times are exported in UTC, days as days."""
    await imported(store, RICH)
    [exported] = (await store.directory.export("rich")).accounts
    [line] = exported.subscriptions
    assert line.period_start == date(2026, 3, 1)
    assert line.period_end == datetime(2026, 3, 31, 18, 30, tzinfo=UTC)
    assert exported.users[0].meetings[0].starts_at.tzinfo is UTC


async def test_amounts_stay_exact_to_the_last_digit(store: SqlStore) -> None:
    """Contract, JSON: an amount keeps every digit of the file."""
    await imported(store, RICH)
    [exported] = (await store.directory.export("rich")).accounts
    assert str(exported.credit) == "999999999999.70"
    assert str(exported.subscriptions[0].payments[0].amount) == "0.1"


@pytest.mark.parametrize(
    ("currency", "amount"), [("RSD", "1499.90"), ("MGA", "0.20"), ("IQD", "2.125"), ("MMK", "5.05")]
)
async def test_the_decimals_of_an_amount_are_those_of_iso_4217(
    store: SqlStore, currency: str, amount: str
) -> None:
    """QUO-1: shops have no coins for them, but invoices and banks have the digits."""
    await imported(store, account("acme", plan="pro", currency=currency, credit=amount))
    [exported] = (await store.directory.export("acme")).accounts
    assert f"{exported.credit:f}" == amount


async def test_importing_an_export_gives_the_same_export(store: SqlStore) -> None:
    """Contract, `import`: the import of an export changes nothing."""
    await store.directory.import_(
        directory(RICH, GONE, ACME, catalog={"large-meeting": {"500": 49.5}})
    )
    first = await store.directory.export(None)
    again = Directory.model_validate_json(first.model_dump_json())
    await store.directory.import_(again)
    assert (await store.directory.export(None)).model_dump_json() == first.model_dump_json()


async def test_the_export_of_one_account_has_no_other_account_and_no_catalog(
    scenario: StoreScenario,
) -> None:
    """Contract, `export`: its import changes neither another account nor the catalog."""
    await scenario.store.directory.import_(directory(catalog={"workplace": 12}))
    exported = await scenario.store.directory.export("acme")
    assert [account.id for account in exported.accounts] == ["acme"]
    await scenario.store.directory.import_(
        Directory.model_validate_json(exported.model_dump_json())
    )
    assert (await scenario.store.directory.export(None)).catalog == Catalog.model_validate(
        {"workplace": "12"}
    )


async def test_an_unknown_account_is_not_exported(store: SqlStore) -> None:
    """Contract, `export`: an unknown account answers `not_found`."""
    with pytest.raises(Refused) as refused:
        await store.directory.export("nobody")
    assert refused.value.code is ErrorCode.NOT_FOUND


async def test_fields_of_the_file_are_set_and_all_others_stay(store: SqlStore) -> None:
    """Contract, `import`: fields and users that are missing in the file stay unchanged."""
    await imported(store, RICH)
    before = (await store.directory.export("rich")).accounts[0]
    await imported(
        store,
        account(
            "rich",
            user("b@rich.example", "member", name="Bea"),
            plan="business",
            collection="net_terms",
        ),
    )
    after = (await store.directory.export("rich")).accounts[0]
    assert after.users[1].name == "Bea"
    assert after.users[1].role == "member"
    named = {"name", "plan", "currency", "time_zone", "country", "collection", "users"}
    assert after.model_dump(exclude=named) == before.model_dump(exclude=named)
    assert after.users[::2] == before.users[::2]


async def test_items_are_updated_by_their_id_and_new_ones_come_last(store: SqlStore) -> None:
    """Contract, `import`: payment methods are matched by id, new ones are appended."""
    await imported(store, RICH)
    methods = [{"id": "new", "kind": "card"}, {"id": "a", "kind": "card"}]
    await imported(store, account("rich", plan="pro", payment_methods=methods))
    [after] = (await store.directory.export("rich")).accounts
    assert [(m.id, m.kind, m.declines) for m in after.payment_methods] == [
        ("z", "card", 2),
        ("new", "card", 0),
        ("a", "card", 0),
    ]


async def test_a_file_can_reorder_the_payment_methods(store: SqlStore) -> None:
    """ADD-4: the account's methods are tried in the order of the file."""
    await imported(store, RICH)
    methods = [{"id": "a", "kind": "bank"}, {"id": "z", "kind": "card"}]
    await imported(store, account("rich", plan="pro", payment_methods=methods))
    [after] = (await store.directory.export("rich")).accounts
    assert [method.id for method in after.payment_methods] == ["a", "z"]


async def test_the_owner_can_be_replaced_in_one_import(scenario: StoreScenario) -> None:
    """Contract, `import`: roles are compared after the import, not row by row."""
    await imported(
        scenario.store,
        account("acme", user(ADMIN, "owner"), user(OWNER, "member"), plan="business"),
    )
    owner = (await scenario.account("acme")).owner
    assert owner
    assert owner.email == ADMIN


async def test_a_user_who_joined_by_invitation_keeps_that_origin(scenario: StoreScenario) -> None:
    """INV-11: an import of the user does not change the membership's origin."""
    invite = scenario.new_invite("new@person.example", license=License.LICENSED)
    await scenario.send_and_accept(invite)
    await imported(
        scenario.store, account("acme", user("new@person.example", "admin", name="Nia"), plan="pro")
    )
    joined = (await scenario.account("acme")).user("new@person.example")
    assert joined
    assert (joined.role, joined.name, joined.licensed) == ("admin", "Nia", True)
    assert (await scenario.store.audit()).violations == ()


async def test_a_user_of_another_account_is_rejected(scenario: StoreScenario) -> None:
    """SRC-4: an import moves no user from one account to another."""
    found = await mistakes_of(
        scenario.store,
        account("fresh", user("x@fresh.example", "owner"), user("sue@solo.example")),
    )
    assert found == {"accounts[0].users[1].email": "sue@solo.example is a user of another account"}
    with pytest.raises(Refused):
        await scenario.account("fresh")


async def test_all_mistakes_of_a_file_are_reported_and_nothing_is_imported(
    scenario: StoreScenario,
) -> None:
    """Contract, `import`: each mistake has its path in the file and a reason."""
    before = await scenario.store.directory.export(None)
    found = await mistakes_of(
        scenario.store,
        account("acme", user("second@acme.example", "owner"), plan="pro", licenses=0),
        account("solo", user(ADMIN)),
        account("zeta", state="closed"),
        account(
            "fresh",
            user(
                "x@fresh.example",
                "owner",
                meetings=[{"id": "m", "topic": "", "starts_at": "2026-01-01T00:00:00Z"}] * 2,
                settings={"big": 10**30},
            ),
            billing_customer="nul\0",
        ),
    )
    assert found == {
        "accounts[0].users": "an account has one owner; name the new role of the present owner",
        "accounts[0].licenses": "1 licenses are assigned or reserved",
        "accounts[1].users[0].email": f"{ADMIN} is a user of another account",
        "accounts[2].users": "a closed account has no users",
        "accounts[3].users[0].meetings": "m is listed twice",
        "accounts[3].users[0].settings.big": f"more than {2**63 - 1}",
        "accounts[3].billing_customer": "the text has a character that cannot be stored",
    }
    assert await scenario.store.directory.export(None) == before


async def test_an_account_must_also_be_valid_after_the_import(store: SqlStore) -> None:
    """QUO-1: the file's currency does not fit the stored amounts of an invoice."""
    invoice = {"id": "i1", "amount_due": "0.30", "due_on": "2026-03-31", "status": "paid"}
    await imported(store, account("rich", plan="pro", invoices=[invoice]))
    found = await mistakes_of(store, account("acme"), account("rich", plan="pro", currency="JPY"))
    assert found.keys() == {"accounts[1]"}
    assert "more than 0 decimals for JPY" in found["accounts[1]"]
    assert [account.id for account in (await store.directory.export(None)).accounts] == ["rich"]


async def test_an_import_cannot_remove_reserved_licenses(scenario: StoreScenario) -> None:
    """INV-15: a reserved seat stays reserved."""
    await scenario.claim(scenario.new_invite("new@person.example", license=License.LICENSED))
    found = await mistakes_of(scenario.store, account("acme", plan="business", licenses=1))
    assert found == {"accounts[0].licenses": "2 licenses are assigned or reserved"}


async def test_a_newly_licensed_user_grows_a_pool_without_a_number(
    scenario: StoreScenario,
) -> None:
    """Contract, `import`: without a number the pool has room for every licensed user."""
    await imported(scenario.store, account("solo", user("two@solo.example", licensed=True)))
    assert (await scenario.account("solo")).licenses == 2


async def test_a_payment_stays_with_its_subscription(store: SqlStore) -> None:
    """QUO-1: a payment cannot be moved to another line."""
    await imported(store, RICH)
    line = {**LINE, "id": "s2", "payments": [{"id": "p1", "method": "card", "amount": "1"}]}
    found = await mistakes_of(store, account("rich", plan="pro", subscriptions=[line]))
    assert found == {"accounts[0].subscriptions[0].payments[0].id": "p1 was paid for s1"}


async def test_an_import_does_not_reopen_a_closed_account(store: SqlStore) -> None:
    """SRC-2: closed accounts never renew."""
    await imported(store, GONE)
    found = await mistakes_of(store, account("gone", state="open"))
    assert found == {"accounts[0].state": "a closed account cannot be reopened"}


def large(capacity: int, bought: int) -> dict[str, object]:
    return {"sku": "large-meeting", "capacity": capacity, "bought": bought}


def holder(email: str, *capacities: int, **more: object) -> dict[str, object]:
    """Return a licensed user; the one whose name is `a` is the owner."""
    held = [{"sku": "large-meeting", "capacity": capacity} for capacity in capacities]
    return {"licensed": True, **user(email, _role(email), addons=held), **more}


def _role(email: str) -> str:
    return "owner" if email.startswith("a@") else "member"


async def test_pools_and_addons_are_merged(store: SqlStore) -> None:
    """ASG-3: pools missing in the file stay; a holder's new meetings have the capacity."""
    meeting = {"id": "m", "topic": "One", "starts_at": "2026-04-01T09:00:00Z"}
    await imported(
        store,
        account(
            "rich",
            holder("a@rich.example", 500, meetings=[meeting]),
            holder("b@rich.example", 500, meetings=[meeting]),
            holder("c@rich.example", 1000),
            plan="pro",
            pools=[large(500, 2)],
        ),
    )
    await imported(
        store,
        account(
            "rich",
            user("a@rich.example", "owner", meetings=[{**meeting, "id": "n"}]),
            holder("b@rich.example"),
            plan="pro",
            pools=[large(500, 1), large(3000, 4)],
        ),
    )
    [rich] = (await store.directory.export("rich")).accounts
    assert [(pool.capacity, pool.bought) for pool in rich.pools] == [(500, 1), (1000, 1), (3000, 4)]
    assert [[held.capacity for held in user.addons] for user in rich.users] == [[500], [], [1000]]
    a, b, _ = rich.users
    assert [meeting.capacity for meeting in a.meetings] == [500, 500]
    assert [meeting.capacity for meeting in b.meetings] == [100]
    assert (await store.audit()).violations == ()


async def test_an_import_can_swap_the_capacities_of_two_users(store: SqlStore) -> None:
    """ASG-4: pools are checked after the import, so each user may get the other's license."""
    pools = [large(500, 1), large(1000, 1)]
    users = [holder("a@rich.example", 500), holder("b@rich.example", 1000)]
    await imported(store, account("rich", *users, plan="pro", pools=pools))
    users = [holder("a@rich.example", 1000), holder("b@rich.example", 500)]
    await imported(store, account("rich", *users, plan="pro", pools=pools))
    [rich] = (await store.directory.export("rich")).accounts
    assert [pool.bought for pool in rich.pools] == [1, 1]
    assert (await store.audit()).violations == ()


async def test_addons_without_base_or_free_license_are_rejected(store: SqlStore) -> None:
    """ASG-1, ASG-4, ASG-6: checked within the file and together with the stored account."""
    known = [holder("a@rich.example", 500), holder("b@rich.example", 500)]
    await imported(store, account("rich", *known, plan="pro", pools=[large(500, 2)]))
    found = await mistakes_of(
        store,
        account(
            "rich",
            user("a@rich.example", "owner", licensed=False),
            holder("c@rich.example", 500, 1000),
            holder("d@rich.example", 1000),
            user(
                "e@rich.example",
                licensed=True,
                addons=[{"capacity": 1000, "sku": sku} for sku in ("webinar", "large-meeting")],
            ),
            user(
                "f@rich.example",
                licensed=True,
                addons=[{"capacity": capacity, "sku": "webinar"} for capacity in (500, 1000)],
            ),
            plan="pro",
            pools=[
                large(500, 2),
                large(1000, 1),
                {"sku": "webinar", "capacity": 1000, "bought": 1},
            ],
        ),
        account("fresh", holder("a@fresh.example", 500, licensed=False), pools=[large(500, 0)]),
    )
    assert found == {
        "accounts[0].users[0].addons": "an add-on needs a base license",
        "accounts[0].users[1].addons": "add-ons do not stack: one of each kind for each user",
        "accounts[0].users[4].addons": "add-ons do not stack: one of each kind for each user",
        "accounts[0].pools[0].bought": "3 licenses are assigned",
        "accounts[0].pools[1].bought": "3 licenses are assigned",
        "accounts[0].pools[2].bought": "2 licenses are assigned",
        "accounts[1].users[0].addons": "an add-on needs a base license",
        "accounts[1].pools[0].bought": "1 licenses are assigned",
    }


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
AMOUNTS = st.decimals(0, 10**9, places=2).map(lambda amount: f"{amount:f}")


def moments(first: int, last: int) -> st.SearchStrategy[str]:
    """Generate times from the year `first` to before the year `last`."""
    range_ = datetime(first, 1, 2), datetime(last, 1, 1)
    aware = st.datetimes(*range_, timezones=st.timezones())
    return aware.map(lambda moment: moment.astimezone(UTC).isoformat())


def days(first: int, last: int) -> st.SearchStrategy[str]:
    return st.dates(date(first, 1, 2), date(last, 1, 1)).map(date.isoformat)


COUNTS = st.integers(0, 2**63 - 1)
SETTINGS = st.dictionaries(TEXTS, st.none() | st.booleans() | TEXTS | COUNTS, max_size=3)


def ids(prefix: str) -> st.SearchStrategy[list[str]]:
    numbers = st.lists(st.integers(0, 99), max_size=3, unique=True)
    return numbers.map(lambda some: [f"{prefix}{number}" for number in some])


@st.composite
def accounts(draw: st.DrawFn, name: str) -> dict[str, object]:
    users = [
        user(
            f"{local}@{name}.example",
            draw(st.sampled_from(["admin", "member"])) if number else "owner",
            name=draw(st.none() | TEXTS),
            licensed=draw(st.booleans()),
            settings=draw(SETTINGS),
            contacts=draw(COUNTS),
            meetings=[
                {"id": id, "topic": draw(TEXTS), "starts_at": draw(moments(1990, 2090))}
                for id in draw(ids("m"))
            ],
        )
        for number, local in enumerate(draw(ids("u")))
    ]
    lines = [
        {
            "id": id,
            "product": draw(TEXTS),
            "kind": "plan",
            "quantity": 1,
            "cycle": "annual",
            "period_start": draw(days(1990, 2030) | moments(1990, 2030)),
            "period_end": draw(days(2031, 2090) | moments(2031, 2090)),
            "payments": [
                {"id": f"{id}{paid}", "method": "bank", "amount": draw(AMOUNTS)}
                for paid in draw(ids("p"))
            ],
        }
        for id in draw(ids("s"))
    ]
    return account(
        name,
        *users,
        subscriptions=lines,
        credit=draw(AMOUNTS),
        locked_settings=draw(SETTINGS),
        rooms=[{"id": id, "name": draw(st.none() | TEXTS)} for id in draw(ids("r"))],
    )


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(accounts("one"), accounts("two"))
async def test_any_valid_import_is_exported_unchanged(
    engine: AsyncEngine, one: object, two: object
) -> None:
    """Contract, `export`: for generated accounts, the export equals the file."""
    async with engine.begin() as connection:
        # The ledger refuses to be emptied.
        await connection.run_sync(Base.metadata.drop_all)
        await connection.run_sync(Base.metadata.create_all)
    store, file = SqlStore(engine), directory(one, two)
    await store.directory.import_(file)
    exported = await store.directory.export(None)
    filled = {"accounts": {"__all__": {"licenses"}}}
    assert exported.model_dump(exclude=filled) == file.model_dump(exclude=filled)
    await store.directory.import_(exported)
    assert await store.directory.export(None) == exported


@pytest.mark.parametrize(
    "domain", ["gmail.com", " GMX.de", "mail.yahoo.co.uk", "seznam.cz", "wp.pl"]
)
async def test_a_public_mail_domain_cannot_be_managed(store: SqlStore, domain: str) -> None:
    """INV-18: the mistake has the path of the domain, and nothing is imported."""
    file = directory(account("rich", managed_domains=["rich.example", domain]))
    with pytest.raises(Refused) as refused:
        await store.directory.import_(file)
    [mistake] = cast(list[dict[str, str]], refused.value.details["mistakes"])
    assert mistake["path"] == "accounts[0].managed_domains[1]"
    assert "public mail" in mistake["reason"]
    assert (await store.directory.export(None)).accounts == ()


async def test_managed_domains_are_normalized_like_addresses(store: SqlStore) -> None:
    """INV-18, INV-3: domains are stored trimmed, lower-cased and IDN-encoded."""
    file = directory(account("rich", managed_domains=["RICH.Example ", "Bücher.example"]))
    await store.directory.import_(file)
    [kept] = (await store.directory.export("rich")).accounts
    assert kept.managed_domains == ("rich.example", "xn--bcher-kva.example")


@pytest.mark.parametrize("domain", ["", "example", "@rich.example", "a b.example", "rich.example."])
def test_an_invalid_domain_cannot_be_managed(domain: str) -> None:
    """INV-18: text that is no domain name is rejected."""
    with pytest.raises(ValueError, match="invalid domain"):
        directory(account("rich", managed_domains=[domain]))


async def test_an_imported_catalog_replaces_the_former_one(scenario: StoreScenario) -> None:
    """ADD-4: prices that the new file does not name are removed."""
    for catalog in ({"workplace": "1.00", "large-meeting": {"500": "2.00"}}, {"workplace": 3}):
        await scenario.store.directory.import_(directory(catalog=catalog))
    kept = (await scenario.store.directory.export(None)).catalog
    assert kept == Catalog.model_validate({"workplace": "3"})
