"""Builders of import files, valid and damaged."""

from collections.abc import Iterator

from hypothesis import strategies as st
from pydantic import JsonValue

from domain.account_file import Location


def account(number: int, **members: JsonValue) -> dict[str, JsonValue]:
    return {
        "id": f"a{number}",
        "name": "Acme",
        "plan": "free",
        "currency": "EUR",
        "time_zone": "UTC",
        "country": "DE",
        "collection": "autopay",
        **members,
    }


def user(address: str, **members: JsonValue) -> JsonValue:
    return {"email": address, "role": "member", **members}


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        ["EUR", "0.10", "2026-01-01", "a@127.0.0.1", "ann@x.example", "\0", "\uff11"]
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


def full_account(number: int) -> dict[str, JsonValue]:
    meeting: JsonValue = {"id": "m", "topic": "Weekly", "starts_at": "2026-01-01T00:00:00Z"}
    line: JsonValue = {
        "id": "s",
        "product": "Pro",
        "kind": "plan",
        "quantity": 1,
        "cycle": "monthly",
        "period_start": "2026-01-01",
        "period_end": "2026-02-01",
        "payments": [{"id": "p", "method": "card", "amount": "10.00"}],
    }
    return account(
        number,
        users=[
            user(
                f"u{number}@x.example",
                role="owner",
                meetings=[meeting],
                settings={"theme": ["dark"]},
            )
        ],
        rooms=[{"id": "r"}],
        subscriptions=[line],
        invoices=[{"id": "i", "amount_due": "1.00", "due_on": "2026-01-01"}],
    )


def places(value: JsonValue, place: Location = ()) -> Iterator[Location]:
    yield place
    if isinstance(value, dict):
        for name, member in value.items():
            yield from places(member, (*place, name))
    elif isinstance(value, list):
        for number, entry in enumerate(value):
            yield from places(entry, (*place, number))


def replaced(value: JsonValue, place: Location, new: JsonValue) -> JsonValue:
    """Return the document with another value at the place."""
    if not place:
        return new
    first, *rest = place
    if isinstance(value, dict):
        return {**value, str(first): replaced(value.get(str(first)), tuple(rest), new)}
    assert isinstance(value, list)
    assert isinstance(first, int)
    return [
        replaced(each, tuple(rest), new) if n == first else each for n, each in enumerate(value)
    ]


@st.composite
def documents(draw: st.DrawFn) -> JsonValue:
    """Draw a valid file of two accounts with one to four parts replaced."""
    document: JsonValue = {"accounts": [full_account(1), full_account(2)]}
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.sampled_from(list(places(document))))
        document = replaced(document, place, draw(VALUES))
    return document
