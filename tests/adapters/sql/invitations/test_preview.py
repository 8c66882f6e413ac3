"""What accepting would do is told to owners, plain members and people without an account."""

from typing import Any

from domain.account import HeldAddon
from domain.invitation import License
from tests.builders.invitation import ACME, PAYING, Town, account, directory, user

HANA = "hana@host.example"
LARGE = {"sku": "large-meeting", "capacity": 500}
MEETING = {"id": "801", "topic": "Standup", "starts_at": "2026-05-01T09:00:00Z", "capacity": 500}
THEIRS: dict[str, Any] = {
    "licensed": True,
    "settings": {"waiting_room": True},
    "meetings": [MEETING],
    "recordings": 3,
    "addons": [LARGE],
}
TARGET = {**ACME, "vanity_url": "acme", "locked_settings": {"waiting_room": False}}


async def imported(town: Town, role: str = "owner", plan: str = "free") -> None:
    host = account("host", user(HANA, role, **THEIRS), plan=plan)
    await town.store.directory.import_(directory(TARGET, host))


async def told(town: Town, email: str, license: License = License.BASIC) -> dict[str, list[str]]:
    """What is named in each list of the preview."""
    preview = (await town.previewed(town.invite(email, license=license))).preview
    return {
        name: [notice.item for notice in getattr(preview, name)]
        for name in ("moves", "stays_behind", "loses")
    }


async def test_an_owner_is_told_what_moves_what_stays_and_what_is_lost(town: Town) -> None:
    """QUO-8, TRF-3, INV-16."""
    await imported(town)
    assert await told(town, HANA) == {
        "moves": ["profile", "meetings", "recordings", "settings"],
        "stays_behind": ["large_meeting_license", "report_data"],
        "loses": ["cloud_recording", "long_meetings", "reports", "participants"],
    }
    assert (await told(town, HANA, License.LICENSED))["loses"] == ["participants"]


async def test_a_plain_member_is_told_the_same_of_what_is_theirs(town: Town) -> None:
    """QUO-8, SRC-3."""
    await imported(town, role="member")
    assert await told(town, HANA) == {
        "moves": ["profile", "meetings", "recordings", "settings"],
        "stays_behind": ["large_meeting_license", "report_data"],
        "loses": ["cloud_recording", "long_meetings", "reports", "participants"],
    }


async def test_add_ons_of_a_closing_account_are_named(town: Town) -> None:
    """TRF-3: they end with it."""
    line = {
        "id": "addon-1",
        "product": "Webinar 500",
        "kind": "addon",
        "quantity": 1,
        "cycle": "monthly",
        "period_start": "2026-02-10",
        "period_end": "2026-03-22",
        "payments": [],
    }
    await town.store.directory.import_(directory({**PAYING, "subscriptions": [line]}))
    owner = await told(town, "rita@rich.example")
    assert owner["stays_behind"] == ["webinar_license", "report_data"]
    member = await told(town, "max@rich.example")
    assert member["stays_behind"] == ["report_data"]


async def test_who_has_no_account_takes_nothing_along(town: Town) -> None:
    """QUO-8, SRC-1."""
    assert await told(town, "new@person.example") == {"moves": [], "stays_behind": [], "loses": []}


async def test_letters_know_what_stays_and_afterwards_which_licenses_were_left(
    town: Town,
) -> None:
    """TRF-3: the invitee is told before, the admins afterwards."""
    await imported(town)
    invite = town.invite(HANA)
    record = await town.pending(invite)
    before = await town.store.invitations.parties(invite)
    assert [notice.item for notice in before.stays] == ["large_meeting_license", "report_data"]
    assert "an admin of Acme must assign" in before.stays[0].message
    assert before.licenses_left == ()
    await town.join(invite, record)
    after = await town.store.invitations.parties(invite)
    assert after.stays == ()
    assert after.licenses_left == (HeldAddon(capacity=500),)
