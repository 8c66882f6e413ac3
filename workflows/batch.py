"""The workflow of one batch of people who are invited into one account (REM-3)."""

from temporalio import workflow
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.workflow import ActivityConfig

with workflow.unsafe.imports_passed_through():
    from activities.batch import BatchActivities
    from domain.address import masked
    from domain.batch import Batch, BatchProgress, StartBatch
    from workflows import search_attribute
    from workflows.options import SLICE

SLICES_PER_RUN = 100
"""Slices before continue-as-new; some 600 events."""


@workflow.defn(name="BulkInvite")
class BatchWorkflow:
    """One batch: gives every row its result (REM-3).

    The rows are in the store, so history has neither addresses nor thousands of events.
    """

    slices_per_run = SLICES_PER_RUN

    @workflow.init
    def __init__(self, start: StartBatch) -> None:
        """Restore the progress carried over from the previous run, if any."""
        self._batch = start.batch
        self._progress = start.progress
        self._slices = 0
        self._publish()

    @workflow.run
    async def run(self, start: StartBatch) -> BatchProgress:
        """Invite the rows slice by slice; return the final counts."""
        while not self._progress.finished:
            if self._history_is_long():
                workflow.continue_as_new(StartBatch(batch=self._batch, progress=self._progress))
            await self._invite_slice()
        return self._progress

    async def _invite_slice(self) -> None:
        self._slices += 1
        self._progress = await workflow.execute_activity_method(
            BatchActivities.invite_slice,
            self._batch,
            **SLICE | ActivityConfig(summary=f"Invite from row {self._progress.done + 1}"),
        )
        self._publish()

    def _history_is_long(self) -> bool:
        suggested = workflow.info().is_continue_as_new_suggested()
        return suggested or self._slices >= self.slices_per_run

    def _publish(self) -> None:
        workflow.set_current_details(details(self._batch, self._progress))

    # Queries

    @workflow.query
    def progress(self) -> BatchProgress:
        """Return the counts after the last slice."""
        return self._progress


def search_attributes(batch: Batch) -> TypedSearchAttributes:
    """Return the search attributes of a batch."""
    return TypedSearchAttributes([SearchAttributePair(search_attribute.ACCOUNT_ID, batch.account)])


def details(batch: Batch, progress: BatchProgress) -> str:
    """Return the Markdown that the UI shows."""
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
