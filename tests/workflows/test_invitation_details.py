"""Current Details of an invitation, as operators read them in the UI (OPS-5)."""

import re
from datetime import UTC, datetime, timedelta

from markdown_it import MarkdownIt
from temporalio.api.sdk.v1 import WorkflowMetadata

from domain.invitation import Invitation
from tests.eventually import eventually
from tests.world import JANE, World, refusal_of


async def details(world: World, invitation: Invitation) -> dict[str, str]:
    """Return the facts in the details of its workflow, by name."""
    handle = world.temporal.client.get_workflow_handle(invitation.workflow_id)
    metadata = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    return dict(re.findall(r"^- \*\*(.+?):\*\* (.*)$", metadata.current_details, re.MULTILINE))


async def test_the_details_follow_the_invitation(world: World) -> None:
    """INV-4, INV-7: no e-mail is counted before the first is sent, no deadline after the answer."""
    world.smtp.answers["RCPT"] = "452 try later"
    await world.invite(JANE)
    sent = await details(world, await world.until(JANE, "sent"))
    assert not sent.keys() & {"Invitation e-mails", "Answer before", "Source account"}
    assert sent["Who can act"] == "an admin (revoke)"
    world.smtp.answers.clear()
    pending = await world.until(JANE, "pending")
    waiting = await details(world, pending)
    assert waiting["Invitation e-mails"] == "1"
    assert waiting["Answer before"] == f"{pending.expires_at:%Y-%m-%d %H:%M:%S} UTC"
    assert waiting["Who can act"] == (
        "the invitee (accept, decline, recheck), an admin (resend, revoke)"
    )
    await world.client.decline(world.account, JANE)
    declined = await details(world, pending)
    assert declined["Waiting for"] == "nothing: it has ended"
    assert not declined.keys() & {"Answer before", "Who can act"}


async def test_the_details_of_a_blocked_invitation_name_the_account_and_the_next_recheck(
    world: World,
) -> None:
    """BLK-4: the remedies need the account; each recheck sets the time of the next."""
    await world.imported(
        "club", plan="pro", users=[(JANE, "owner"), ("bob@club.example", "member")]
    )
    await world.pending(JANE)
    assert await refusal_of(world.client.accept(world.account, JANE)) == "blocked"
    blocked = await world.show(JANE)
    shown = await details(world, blocked)
    assert shown["Source account"] == "`club`"
    first = next_recheck(shown)
    assert_after(blocked, first, timedelta(minutes=1))
    await world.pass_time(JANE, timedelta(minutes=1, seconds=1))
    second = await eventually(
        lambda: details(world, blocked), until=lambda shown: next_recheck(shown) != first
    )
    assert_after(blocked, next_recheck(second), timedelta(minutes=5))


def next_recheck(shown: dict[str, str]) -> datetime:
    return datetime.strptime(shown["Next recheck"], "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC)


def assert_after(blocked: Invitation, at: datetime, delay: timedelta) -> None:
    """Require that `at` is `delay` after the block, to the second."""
    [block] = [entry.at for entry in blocked.journal if entry.event == "block"]
    assert abs(at - block - delay) <= timedelta(seconds=2)


async def test_a_reason_has_no_link_and_no_image_in_the_details(world: World) -> None:
    """TXT-3: operators read the invitee's words as text, not as Markdown."""
    reason = "![x](https://evil.example/a.png) [here](https://evil.example) `https://evil.example"
    pending = await world.pending(JANE)
    await world.client.decline(world.account, JANE, reason)
    handle = world.temporal.client.get_workflow_handle(pending.workflow_id)
    metadata = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    read = [
        part
        for token in MarkdownIt().parse(metadata.current_details)
        for part in token.children or ()
    ]
    assert not [part for part in read if part.type in {"link_open", "image", "html_inline"}]
    shown = [part.content for part in read if "evil" in part.content]
    assert shown == [reason]
    assert [part.type for part in read if "evil" in part.content] == ["code_inline"]
