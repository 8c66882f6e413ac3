"""The tables that commands print about an invitation."""

import pytest
from rich.console import Console

from commands.render_invitation import of_preview
from domain.blocker import find_blockers
from domain.invitation import BlockerItem
from domain.policy import Policy
from domain.preview import Notice, Preview
from domain.quote import terms_of
from tests.builders.source_account import a_source


def shown(users: int) -> str:
    """Return the output about an account with so many other users."""
    others = [BlockerItem(kind="user", id=f"user-{n}@club.example") for n in range(users)]
    console = Console(width=10_000)
    source = a_source()
    with console.capture() as output:
        console.print(
            of_preview(
                Preview(policy=terms_of(Policy(), source), blockers=find_blockers(source, others))
            )
        )
    return output.get()


def test_a_truncated_list_of_items_says_how_many_are_missing() -> None:
    """OPS-7: and which command lists them all."""
    assert "user-49@club.example and 250 more (`export` of that account lists all)" in shown(300)
    assert "user-50@club.example" not in shown(300)


def test_a_complete_list_of_items_says_nothing_more() -> None:
    """OPS-7: up to fifty items are listed."""
    assert "user-49@club.example" in shown(50)
    assert "more" not in shown(50)


@pytest.mark.parametrize(
    ("notice", "label"),
    [
        (Notice(item="meetings", message="Yours.", count=2), "2 meetings"),
        (Notice(item="meetings", message="Yours.", count=1), "1 meeting"),
        (Notice(item="chat_history", message="Yours.", count=30), "30 messages"),
        (Notice(item="participants", message="Larger.", count=3), "3 larger meetings"),
        (Notice(item="webinar_license", message="Yours.", count=1), "1 license"),
    ],
)
def test_a_preview_names_what_it_counts(notice: Notice, label: str) -> None:
    """QUO-8: a bare number says nothing."""
    console = Console(width=200)
    with console.capture() as output:
        console.print(of_preview(Preview(policy=terms_of(Policy(), a_source()), moves=(notice,))))
    assert label in output.get()


def test_a_preview_says_which_account_closes() -> None:
    """SRC-2: also when there is nothing to settle."""
    console = Console(width=200)
    with console.capture() as output:
        console.print(of_preview(Preview(policy=terms_of(Policy(), a_source()), closes="solo")))
    assert "Accepting closes the account solo." in output.get()
