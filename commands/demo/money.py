"""What becomes of the time that was paid for and not used (QUO, REF, CRD)."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from commands.demo.step import ACCOUNT, RIVAL, RIVAL_ADMIN, Stage, Step, expect
from domain.error import ErrorCode
from domain.invitation import Choice, InvitationState
from domain.refund import RefundState

PAULA = "paula@studio.example"


class Money:
    """Refunds and credits."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._client = stage.client
        self.steps = (
            Step("Paula owns a paid plan: she has to choose first", self._has_to_choose),
            Step("She chooses a refund; it settles on the 4th business day", self._refunded),
            Step("Rolf's card is closed: his refund fails and becomes credit", self._converted),
            Step("Tara transfers; Acme's next invoice is paid from it", self._transferred),
            Step("Nora transfers; Northwind's operator names the invoice", self._applied),
        )

    async def _has_to_choose(self) -> None:
        await self._stage.pending(PAULA)
        preview = await self._client.preview(ACCOUNT, PAULA)
        expect(bool(preview.loses), "she is not told what she loses")
        await self._stage.refused(ErrorCode.CHOICE_REQUIRED, self._client.accept(ACCOUNT, PAULA))

    async def _refunded(self) -> None:
        quoted = await self._client.preview(ACCOUNT, PAULA)
        accepted = await self._client.accept(ACCOUNT, PAULA, Choice.REFUND)
        settlement = accepted.settlement
        expect(settlement is not None and settlement.amount == quoted.amount, "not as quoted")
        refund = await self._stage.refund_of(accepted, RefundState.PROCESSING)
        await self._stage.mailed("refund_requested", PAULA)
        await self._stage.clock.pass_time(refund.workflow_id, timedelta(days=8))
        settled = await self._stage.refund_of(accepted, RefundState.SETTLED)
        expect(settled.amount_open.amount == 0, "something is still open")
        await self._stage.until(PAULA, InvitationState.COMPLETED)

    async def _converted(self) -> None:
        rolf = "rolf@office.example"
        await self._stage.pending(rolf)
        accepted = await self._client.accept(ACCOUNT, rolf, Choice.REFUND)
        failed = await self._stage.refund_of(accepted, RefundState.FAILED)
        before = (await self._stage.store.credits.show(ACCOUNT)).entries
        await self._stage.refunds.convert(failed.refund_id)
        after = (await self._stage.store.credits.show(ACCOUNT)).entries
        expect(len(after) > len(before), "there is no credit")
        await self._stage.mailed("refund_converted", rolf)
        await self._stage.until(rolf, InvitationState.COMPLETED)

    async def _transferred(self) -> None:
        tara = "tara@team.example"
        await self._stage.pending(tara)
        await self._client.accept(ACCOUNT, tara, Choice.TRANSFER)
        await self._stage.until(tara, InvitationState.COMPLETED)
        await self._stage.mailed("credit_received", "olga@acme.example")
        due = await self._stage.due(ACCOUNT, "inv-2027-01")
        expect(due < Decimal("200.00"), "the next invoice is still as it was")

    async def _applied(self) -> None:
        nora = "nora@shop.example"
        await self._stage.pending(nora, account=RIVAL, by=RIVAL_ADMIN)
        await self._client.accept(RIVAL, nora, Choice.TRANSFER)
        await self._stage.until(nora, InvitationState.COMPLETED, RIVAL)
        untouched = await self._stage.due(RIVAL, "inv-7")
        expect(untouched == Decimal("500.00"), "nobody asked for it yet")
        await self._stage.store.credits.apply(RIVAL, "inv-7", datetime.now(UTC))
        due = await self._stage.due(RIVAL, "inv-7")
        expect(due < Decimal("500.00"), "it was not applied")
