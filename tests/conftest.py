"""One real Temporal server for the session, a world of its own for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from tests.world import World, a_world, temporal_server


@pytest.fixture(scope="session")
async def temporal() -> AsyncIterator[WorkflowEnvironment]:
    async with temporal_server() as environment:
        yield environment


@pytest.fixture
async def world(temporal: WorkflowEnvironment, tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(temporal, tmp_path) as world:
        yield world


@pytest.fixture
async def world_without_worker(
    temporal: WorkflowEnvironment, tmp_path: Path
) -> AsyncIterator[World]:
    async with a_world(temporal, tmp_path, working=False) as world:
        yield world
