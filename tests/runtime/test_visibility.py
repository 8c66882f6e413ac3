"""The views that operators need, on a real server (OPS-5)."""

from urllib.parse import quote

import pytest

from runtime.visibility import VIEWS, View
from tests.docs.draw import ROOT
from tests.eventually import eventually
from tests.world import JANE, World

PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
async def test_the_query_of_each_view_is_valid_and_has_a_link(view: View, world: World) -> None:
    """`docs/operations.md` lists each view with its link into the UI of `seatflow up`."""
    found = await world.temporal.client.count_workflows(view.query)
    assert found.count >= 0
    link = f"http://localhost:8233/namespaces/default/workflows?query={quote(view.query)}"
    assert f"[{view.name}]({link})" in PAGE


async def test_a_view_shows_running_workflows_in_their_state(world: World) -> None:
    """OPS-5: here a pending invitation, until it is declined."""
    query = f'{VIEWS[0].query} AND AccountId = "{world.account}"'
    client = world.temporal.client

    async def count() -> int:
        return (await client.count_workflows(query)).count

    await world.pending(JANE)
    assert await eventually(count) == 1
    await world.client.decline(world.account, JANE)
    assert await eventually(count, until=lambda found: not found) == 0
