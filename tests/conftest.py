"""One real Temporal server for the session, a world of its own for each test."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from tests.database import Databases
from tests.prepared_process import prepared
from tests.world import World, a_world, databases_in, temporal_server


@pytest.fixture(scope="session")
async def temporal() -> AsyncIterator[WorkflowEnvironment]:
    async with temporal_server() as environment:
        yield environment


@pytest.fixture(scope="session")
def command_line() -> Iterator[list[str]]:
    """What starts `seatflow` as a process of its own."""
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
