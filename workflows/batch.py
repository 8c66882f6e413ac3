"""Thousands of people asked into one account: as fast as others allow, and each once."""

from temporalio import workflow
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.workflow import ActivityConfig

with workflow.unsafe.imports_passed_through():
    from activities.batch import BulkActivities
    from domain.address import masked
    from domain.batch import Batch, BatchProgress, StartBatch
    from workflows import search_attribute
    from workflows.options import SLICE

SLICES_IN_ONE_RUN = 100
"""Some 600 events; then the history starts anew."""


@workflow.defn(name="BulkInvite")
class BulkInviteWorkflow:
    """Sees to it that every row of a batch gets its result (REM-3).

    The rows lie in the store, so that history holds neither addresses nor thousands of events.
    """

    @workflow.init
    def __init__(self, start: StartBatch) -> None:
        """Stand where the run before stood, or at the beginning."""
        self._batch = start.batch
        self._progress = start.progress
        self._slices = 0
        self._describe()

    @workflow.run
    async def run(self, start: StartBatch) -> BatchProgress:
        """Invite slice after slice; returns what became of all rows."""
        while not self._progress.finished:
            if self._history_is_long():
                workflow.continue_as_new(StartBatch(batch=self._batch, progress=self._progress))
            await self._invite_a_slice()
        return self._progress

    async def _invite_a_slice(self) -> None:
        self._slices += 1
        self._progress = await workflow.execute_activity_method(
            BulkActivities.invite_slice,
            self._batch,
            **SLICE | ActivityConfig(summary=f"Invite on from row {self._progress.done + 1}"),
        )
        self._describe()

    def _history_is_long(self) -> bool:
        suggested = workflow.info().is_continue_as_new_suggested()
        return suggested or self._slices >= SLICES_IN_ONE_RUN

    def _describe(self) -> None:
        workflow.set_current_details(details(self._batch, self._progress))

    # What others may look at.

    @workflow.query
    def progress(self) -> BatchProgress:
        """How far it has come, to the last slice."""
        return self._progress


def search_attributes(batch: Batch) -> TypedSearchAttributes:
    """What a batch is found by."""
    return TypedSearchAttributes([SearchAttributePair(search_attribute.ACCOUNT_ID, batch.account)])


def details(batch: Batch, progress: BatchProgress) -> str:
    """What an operations person reads in the UI, in Markdown."""
    return "\n".join(
        (
            f"**{progress.done} of {progress.total}** rows done",
            "",
            f"- **Account:** `{batch.account}`, invited by {masked(batch.by)}",
            f"- **Invited:** {progress.invited}",
            f"- **Already invited:** {progress.already_invited}",
            f"- **Refused:** {progress.refused}",
        )
    )
