"""Refunds and credits for unused, prepaid time (QUO, REF, CRD)."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from commands.demo.step import ACCOUNT, OTHER_ACCOUNT, OTHER_ADMIN, DemoStack, Step, expect
from domain.error import ErrorCode
from domain.invitation import Choice, InvitationState
from domain.refund import RefundState

PAULA = "paula@studio.example"


class Money:
    """Owners of paid plans, who choose a refund or a transfer."""

    def __init__(self, demo: DemoStack) -> None:
        self._demo = demo
        self._client = demo.clients.invitations
        self.steps = (
            Step(
                "Paula owns a paid plan; she must choose refund or transfer", self._require_choice
            ),
            Step("She chooses the refund; it settles on the 4th business day", self._refund),
            Step("Rolf's card is closed; his refund fails and becomes credit", self._convert),
            Step("Tara chooses the transfer; it reduces Acme's next invoice", self._transfer),
            Step("Nora chooses it too; Northwind applies the credit itself", self._apply),
        )

    async def _require_choice(self) -> None:
        await self._demo.pending(PAULA)
        preview = await self._client.preview(ACCOUNT, PAULA)
        expect(bool(preview.loses), "the preview lists no losses")
        await self._demo.refused(
            ErrorCode.CHOICE_REQUIRED, self._demo.invitees.accept(ACCOUNT, PAULA)
        )

    async def _refund(self) -> None:
        quoted = await self._client.preview(ACCOUNT, PAULA)
        accepted = await self._demo.invitees.accept(ACCOUNT, PAULA, Choice.REFUND)
        settlement = accepted.settlement
        expect(
            settlement is not None and settlement.amount == quoted.amount,
            "the refund differs from the quote",
        )
        refund = await self._demo.refund_of(accepted, RefundState.PROCESSING)
        await self._demo.mailed("refund_requested", PAULA)
        await self._demo.clock.pass_time(refund.workflow_id, timedelta(days=8))
        settled = await self._demo.refund_of(accepted, RefundState.SETTLED)
        expect(settled.amount_open.amount == 0, "the refund has an open amount")
        await self._demo.until(PAULA, InvitationState.COMPLETED)

    async def _convert(self) -> None:
        rolf = "rolf@office.example"
        await self._demo.pending(rolf)
        accepted = await self._demo.invitees.accept(ACCOUNT, rolf, Choice.REFUND)
        failed = await self._demo.refund_of(accepted, RefundState.FAILED)
        before = (await self._demo.store.credits.show(ACCOUNT)).entries
        await self._demo.clients.refunds.convert(failed.refund_id)
        after = (await self._demo.store.credits.show(ACCOUNT)).entries
        expect(len(after) > len(before), "no credit was posted")
        await self._demo.mailed("refund_converted", rolf)
        await self._demo.until(rolf, InvitationState.COMPLETED)

    async def _transfer(self) -> None:
        tara = "tara@team.example"
        await self._demo.pending(tara)
        await self._demo.invitees.accept(ACCOUNT, tara, Choice.TRANSFER)
        await self._demo.until(tara, InvitationState.COMPLETED)
        await self._demo.mailed("credit_received", "olga@acme.example")
        due = await self._demo.amount_due(ACCOUNT, "inv-2027-01")
        expect(due < Decimal("200.00"), "the next invoice was not reduced")

    async def _apply(self) -> None:
        nora = "nora@shop.example"
        await self._demo.pending(nora, account=OTHER_ACCOUNT, by=OTHER_ADMIN)
        await self._demo.invitees.accept(OTHER_ACCOUNT, nora, Choice.TRANSFER)
        await self._demo.until(nora, InvitationState.COMPLETED, OTHER_ACCOUNT)
        before = await self._demo.amount_due(OTHER_ACCOUNT, "inv-7")
        expect(before == Decimal("500.00"), "the credit was applied too early")
        await self._demo.store.credits.apply(OTHER_ACCOUNT, "inv-7", datetime.now(UTC))
        due = await self._demo.amount_due(OTHER_ACCOUNT, "inv-7")
        expect(due < Decimal("500.00"), "the credit was not applied")
