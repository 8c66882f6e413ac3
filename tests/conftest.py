"""One real Temporal server for the session, and a separate world for each test."""

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from tests.database import Databases
from tests.prepared_process import prepared
from tests.world import World, a_world, databases_in, temporal_server

LONGEST = {
    "test_a_killed_worker_and_a_killed_command_lose_nothing",
    "test_a_late_success_whose_credit_is_used_waits_for_an_operator",
    "test_a_run_reminds_all_quiet_invitees_and_the_next_run_none",
    "test_a_worker_killed_between_payment_and_pool_charges_and_grows_once",
    "test_every_lifecycle_ends_as_it_must_in_spite_of_outages",
    "test_a_store_restored_from_a_copy_made_while_it_was_written",
    "test_a_lost_secret_key_from_which_the_id_key_is_derived",
    "test_fifty_licenses_are_assigned_fifty_times",
    "test_closing_the_failed_part_keeps_the_open_part",
    "test_one_invitation_through_the_whole_stack",
    "test_two_accounts_that_invite_one_person_have_one_winner",
    "test_two_years_of_renewals_with_one_decline_keep_the_history_short",
    "test_the_commands_of_a_chapter_print_the_documented_output",
    "test_a_settlement_that_would_break_an_invariant_is_repeated",
    "test_a_closed_refund_that_never_arrives_is_watched_for_a_quarter",
    "test_a_workflow_whose_task_fails_is_listed_until_it_continues",
}


def pytest_xdist_auto_num_workers() -> int:
    """Use two workers per core, because tests wait for half of their time."""
    return 2 * (os.cpu_count() or 1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Move the longest tests to the start of each worker's share, so that none starts last."""
    workers = getattr(config, "workerinput", {"workercount": 1})["workercount"]
    longest: list[pytest.Item] = []
    others: list[pytest.Item] = []
    for item in items:
        (longest if item.name.partition("[")[0] in LONGEST else others).append(item)
    share = len(items) // workers
    items.clear()
    for number in range(workers):
        first = longest[number::workers]
        rest = share - len(first) if number < workers - 1 else len(others)
        items += [*first, *others[:rest]]
        del others[:rest]


@pytest.fixture(scope="session")
async def temporal() -> AsyncIterator[WorkflowEnvironment]:
    async with temporal_server() as environment:
        yield environment


@pytest.fixture(scope="session")
def command_line() -> Iterator[list[str]]:
    """Yield the program that runs `seatflow` in a separate process."""
    with tempfile.TemporaryDirectory() as folder, prepared(Path(folder) / "prepared") as command:
        yield command


@pytest.fixture(scope="session")
async def set_up_databases(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Databases]:
    async with databases_in(tmp_path_factory.mktemp("worlds")) as databases:
        yield databases


@pytest.fixture
async def world(temporal: WorkflowEnvironment, set_up_databases: Databases) -> AsyncIterator[World]:
    async with a_world(temporal, set_up_databases) as world:
        yield world


@pytest.fixture
async def world_without_worker(
    temporal: WorkflowEnvironment, set_up_databases: Databases
) -> AsyncIterator[World]:
    async with a_world(temporal, set_up_databases, working=False) as world:
        yield world
