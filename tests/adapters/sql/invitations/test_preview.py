"""Previews of an acceptance for owners, plain members and people without an account (QUO-8)."""

from typing import Any

from activities.invitation import PreviewInvitation
from domain.account import HeldAddon
from domain.invitation import License
from tests.builders.account import ACME, NOON, PAYING, account, directory, user
from tests.builders.invitation import StoreScenario
from tests.builders.refund import PAULA, import_paid_account

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


async def imported(scenario: StoreScenario, plan: str = "free") -> None:
    host = account("host", user(HANA, "owner", **THEIRS), plan=plan)
    await scenario.store.directory.import_(directory(TARGET, host))


async def listed_codes(
    scenario: StoreScenario, email: str, license: License = License.BASIC
) -> dict[str, list[str]]:
    """Return the entries of each list of the preview."""
    preview = (await scenario.preview(scenario.new_invite(email, license=license))).preview
    return {
        name: [notice.item for notice in getattr(preview, name)]
        for name in ("moves", "stays_behind", "loses")
    }


async def test_the_preview_of_an_owner_lists_what_moves_stays_and_is_lost(
    scenario: StoreScenario,
) -> None:
    """QUO-8, TRF-3, INV-16: each in its own list."""
    await imported(scenario)
    assert await listed_codes(scenario, HANA) == {
        "moves": ["profile", "meetings", "recordings", "settings"],
        "stays_behind": ["large_meeting_license", "report_data"],
        "loses": ["cloud_recording", "long_meetings", "reports", "participants"],
    }
    assert (await listed_codes(scenario, HANA, License.LICENSED))["loses"] == ["participants"]


async def test_the_preview_of_a_plain_member_lists_their_own_data(scenario: StoreScenario) -> None:
    """QUO-8, SRC-3: without a quote and blockers."""
    users = user("otto@host.example", "owner"), user(HANA, **THEIRS)
    await scenario.store.directory.import_(directory(TARGET, account("host", *users)))
    assert await listed_codes(scenario, HANA) == {
        "moves": ["profile", "meetings", "recordings", "settings"],
        "stays_behind": ["large_meeting_license", "report_data"],
        "loses": ["cloud_recording", "long_meetings", "reports", "participants"],
    }


async def test_add_ons_of_a_closing_account_are_named(scenario: StoreScenario) -> None:
    """TRF-3: they end with the account."""
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
    await scenario.store.directory.import_(directory({**PAYING, "subscriptions": [line]}))
    owner = await listed_codes(scenario, "rita@rich.example")
    assert owner["stays_behind"] == ["webinar_license", "report_data"]
    member = await listed_codes(scenario, "max@rich.example")
    assert member["stays_behind"] == ["report_data"]


async def test_the_preview_of_a_person_without_an_account_is_empty(scenario: StoreScenario) -> None:
    """QUO-8, SRC-1: nothing moves and nothing is lost."""
    assert await listed_codes(scenario, "new@person.example") == {
        "moves": [],
        "stays_behind": [],
        "loses": [],
    }


async def test_letters_list_what_stays_and_later_the_licenses_left_behind(
    scenario: StoreScenario,
) -> None:
    """TRF-3: the invitee reads it before accepting, the admins afterwards."""
    await imported(scenario)
    invite = scenario.new_invite(HANA)
    record = await scenario.send(invite)
    before = await scenario.store.invitations.parties(invite)
    assert [notice.item for notice in before.stays] == ["large_meeting_license", "report_data"]
    assert "an admin of Acme must assign" in before.stays[0].message
    assert before.licenses_left == ()
    await scenario.accept(invite, record)
    after = await scenario.store.invitations.parties(invite)
    assert after.stays == ()
    assert after.licenses_left == (HeldAddon(capacity=500),)


async def test_the_preview_of_an_owner_names_the_account_that_closes(
    scenario: StoreScenario,
) -> None:
    """SRC-2, SRC-3: a plain member leaves an account that continues."""
    await imported(scenario)
    for email, closes in ((HANA, "host"), ("max@rich.example", None), ("new@x.example", None)):
        previewed = await scenario.preview(scenario.new_invite(email))
        assert previewed.preview.closes == closes


async def test_a_repeated_preview_records_its_author_once(scenario: StoreScenario) -> None:
    """OPS-8, QUO-5: the activity may be repeated after a crash."""
    await import_paid_account(scenario)
    request = PreviewInvitation(
        invite=scenario.new_invite(PAULA), at=NOON, by=f"operator Ann for {PAULA}"
    )
    for _ in range(2):
        previewed = await scenario.store.invitations.preview(request)
    shown = request.model_copy(update={"recorded": previewed.quote, "by": "invitee"})
    await scenario.store.invitations.preview(shown)
    [change] = [
        each for each in await scenario.store.changes.listed("acme") if each.action == "preview"
    ]
    assert (change.by, change.at) == (request.by, NOON)
