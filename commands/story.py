"""What the demo plays, step by step, and how it looks meanwhile."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from pydantic import JsonValue
from rich.console import Group, RenderableType
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text
from temporalio.service import RPCError

from commands import picture
from domain.account import Directory
from domain.error import ErrorCode, Refused, Unavailable
from domain.invitation import Choice, Invitation, InvitationState, License, Person
from domain.refund import Refund, RefundState
from runtime.stack import Stack
from runtime.virtual_clock import VirtualClock

EXAMPLES = Path(__file__).parent.parent / "examples"
ACCOUNT = "acme"
ADMIN = "adam@acme.example"
PATIENCE = timedelta(seconds=30)
SECOND = timedelta(seconds=1)


class WentWrong(Exception):
    """A step did not do what it should."""


@dataclass
class Step:
    """One step of the story: what is told, and how it went."""

    title: str
    play: Callable[[], Awaitable[None]]
    seconds: float | None = None
    failure: str | None = None

    @property
    def done(self) -> bool:
        """Whether it was played to its end, well or not."""
        return self.seconds is not None


class Story:
    """Invitations that end in every way, on a stack that is up."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._client = stack.client
        self._refunds = stack.refunds
        self._clock = VirtualClock(stack.temporal)
        self._invitations: list[Invitation] = []
        self.steps = [
            Step("An operator imports a directory of accounts", self._import),
            Step("New to all this: Nina is invited and accepts", self._accepted),
            Step("Fred accepts; his free account closes behind him", self._left_behind),
            Step("Dora declines, and Adam learns why", self._declined),
            Step("Adam takes Rita's invitation back; her seat is free again", self._revoked),
            Step("Nobody answers for Emil: 30 days pass", self._expired),
            Step("Bo's address bounces, and Adam is told", self._bounced),
            Step("Sven lost the e-mail: a new link works, the old one is dead", self._resent),
            Step("Paula owns a paid plan: she has to choose first", self._has_to_choose),
            Step("She chooses a refund; it settles on the 4th business day", self._refunded),
            Step("Rolf's card is closed: his refund fails and becomes credit", self._converted),
            Step("Tara transfers; Acme's next invoice is paid from it", self._transferred),
            Step("Nora transfers; Northwind's operator names the invoice", self._applied),
            Step("Accepting again changes nothing; a bad row spoils no other", self._repeated),
            Step("The audit finds nothing", self._audited),
        ]

    @property
    def succeeded(self) -> bool:
        """Whether every step did what it should."""
        return all(step.done and step.failure is None for step in self.steps)

    async def play(self) -> None:
        """Play the steps in order, up to the first that goes wrong."""
        for step in self.steps:
            begun = time.monotonic()
            try:
                async with asyncio.timeout(2 * PATIENCE.total_seconds()):
                    await step.play()
            except (WentWrong, Refused, Unavailable, TimeoutError, RPCError) as failure:
                step.failure = str(failure) or type(failure).__name__
            step.seconds = time.monotonic() - begun
            self._invitations = await self._client.list(ACCOUNT, everything=True)
            if step.failure:
                return

    # The steps.

    async def _import(self) -> None:
        for name in ("accounts.json", "money.json"):
            directory = Directory.model_validate_json((EXAMPLES / name).read_bytes())
            imported = await self._stack.store.directory.import_(directory)
            _expect(len(imported) == len(directory.accounts), "an account is missing")

    async def _accepted(self) -> None:
        pending = await self._pending("nina@new.example", License.LICENSED)
        _expect(pending.link is not None, "there is no link")
        await self._client.accept_link(str(pending.link), "nina@new.example")
        await self._until("nina@new.example", InvitationState.COMPLETED)
        await self._mailed("accepted", ADMIN)

    async def _left_behind(self) -> None:
        await self._pending("fred@home.example")
        await self._client.accept(ACCOUNT, "fred@home.example")
        await self._until("fred@home.example", InvitationState.COMPLETED)
        [account] = (await self._stack.store.directory.export("fred-free")).accounts
        _expect(account.state == "closed", "Fred's free account is still open")

    async def _declined(self) -> None:
        await self._pending("dora@else.example")
        await self._client.decline(ACCOUNT, "dora@else.example", "I like it where I am.")
        await self._mailed("declined", ADMIN)

    async def _revoked(self) -> None:
        await self._pending("rita@else.example", License.LICENSED)
        await self._client.revoke(ACCOUNT, "rita@else.example", ADMIN)
        await self._refused(ErrorCode.REVOKED, self._client.accept(ACCOUNT, "rita@else.example"))

    async def _expired(self) -> None:
        pending = await self._pending("emil@else.example")
        await self._clock.go_to(pending.workflow_id, pending.deadline - SECOND)
        still = await self._client.show(ACCOUNT, "emil@else.example")
        _expect(still.state is InvitationState.PENDING, "it ended a second early")
        await self._clock.go_to(pending.workflow_id, pending.deadline)
        await self._until("emil@else.example", InvitationState.EXPIRED)
        await self._refused(ErrorCode.EXPIRED, self._client.accept(ACCOUNT, "emil@else.example"))

    async def _bounced(self) -> None:
        await self._invite("bounce-bo@else.example")
        await self._until("bounce-bo@else.example", InvitationState.UNDELIVERABLE)
        await self._mailed("undeliverable", ADMIN)

    async def _resent(self) -> None:
        sven = "sven@else.example"
        first = await self._pending(sven)
        await self._refused(ErrorCode.RATE_LIMITED, self._client.resend(ACCOUNT, sven, ADMIN))
        await self._clock.pass_time(first.workflow_id, timedelta(hours=1))
        second = await self._client.resend(ACCOUNT, sven, ADMIN)
        await self._refused(ErrorCode.NOT_FOUND, self._client.accept_link(str(first.link), sven))
        await self._client.accept_link(str(second.link), sven)
        await self._until(sven, InvitationState.COMPLETED)

    async def _has_to_choose(self) -> None:
        paula = "paula@studio.example"
        await self._pending(paula)
        preview = await self._client.preview(ACCOUNT, paula)
        _expect(bool(preview.loses), "she is not told what she loses")
        await self._refused(ErrorCode.CHOICE_REQUIRED, self._client.accept(ACCOUNT, paula))

    async def _refunded(self) -> None:
        paula = "paula@studio.example"
        quoted = await self._client.preview(ACCOUNT, paula)
        accepted = await self._client.accept(ACCOUNT, paula, Choice.REFUND)
        settlement = accepted.settlement
        _expect(settlement is not None and settlement.amount == quoted.amount, "not as quoted")
        refund = await self._refund_of(accepted, RefundState.PROCESSING)
        await self._mailed("refund_requested", paula)
        await self._clock.pass_time(refund.workflow_id, timedelta(days=8))
        settled = await self._refund_of(accepted, RefundState.SETTLED)
        _expect(settled.amount_open.amount == 0, "something is still open")
        await self._until(paula, InvitationState.COMPLETED)

    async def _converted(self) -> None:
        rolf = "rolf@office.example"
        await self._pending(rolf)
        accepted = await self._client.accept(ACCOUNT, rolf, Choice.REFUND)
        failed = await self._refund_of(accepted, RefundState.FAILED)
        before = (await self._stack.store.credits.show(ACCOUNT)).entries
        await self._refunds.convert(failed.refund_id)
        after = (await self._stack.store.credits.show(ACCOUNT)).entries
        _expect(len(after) > len(before), "there is no credit")
        await self._mailed("refund_converted", rolf)
        await self._until(rolf, InvitationState.COMPLETED)

    async def _transferred(self) -> None:
        tara = "tara@team.example"
        await self._pending(tara)
        await self._client.accept(ACCOUNT, tara, Choice.TRANSFER)
        await self._until(tara, InvitationState.COMPLETED)
        await self._mailed("credit_received", "olga@acme.example")
        due = await self._due(ACCOUNT, "inv-2027-01")
        _expect(due < Decimal("200.00"), "the next invoice is still as it was")

    async def _applied(self) -> None:
        nora, target = "nora@shop.example", "northwind"
        await self._invite(nora, account=target, by="nils@northwind.example")
        await self._until(nora, InvitationState.PENDING, account=target)
        await self._client.accept(target, nora, Choice.TRANSFER)
        await self._until(nora, InvitationState.COMPLETED, account=target)
        _expect(await self._due(target, "inv-7") == Decimal("500.00"), "nobody asked for it yet")
        await self._stack.store.credits.apply(target, "inv-7", datetime.now(UTC))
        _expect(await self._due(target, "inv-7") < Decimal("500.00"), "it was not applied")

    async def _repeated(self) -> None:
        first = await self._client.show(ACCOUNT, "nina@new.example")
        again = await self._client.accept(ACCOUNT, "nina@new.example")
        _expect(again == first, "a second acceptance changed something")
        people = [Person(email="not an address"), Person(email="vera@else.example")]
        results = [row.result for row in await self._client.invite(ACCOUNT, people, ADMIN)]
        _expect(results == ["refused", "invited"], f"the rows are {results}")
        results = [row.result for row in await self._client.invite(ACCOUNT, people, ADMIN)]
        _expect(results == ["refused", "already_invited"], f"the rows are {results}")

    async def _audited(self) -> None:
        report = await self._stack.store.audit()
        _expect(not report.violations, f"{len(report.violations)} violations")

    # What the steps are made of.

    async def _invite(
        self,
        email: str,
        license: License = License.BASIC,
        account: str = ACCOUNT,
        by: str = ADMIN,
    ) -> None:
        [row] = await self._client.invite(account, [Person(email=email, license=license)], by)
        _expect(row.result == "invited", f"{email} was {row.result}")

    async def _pending(self, email: str, license: License = License.BASIC) -> Invitation:
        await self._invite(email, license)
        return await self._until(email, InvitationState.PENDING)

    async def _refund_of(self, accepted: Invitation, state: RefundState) -> Refund:
        settlement = accepted.settlement
        _expect(settlement is not None and settlement.refund_id is not None, "no refund")
        async with asyncio.timeout(PATIENCE.total_seconds()):
            while True:
                # Its workflow begins a moment after the acceptance.
                with suppress(Refused):
                    refund = await self._refunds.show(str(settlement and settlement.refund_id))
                    if refund.state is state:
                        return refund
                await asyncio.sleep(0.05)

    async def _due(self, account: str, invoice_id: str) -> Decimal:
        [exported] = (await self._stack.store.directory.export(account)).accounts
        [due] = [each.amount_due for each in exported.invoices if each.id == invoice_id]
        return due

    async def _until(
        self, email: str, state: InvitationState, account: str = ACCOUNT
    ) -> Invitation:
        async with asyncio.timeout(PATIENCE.total_seconds()):
            while True:
                invitation = await self._client.show(account, email)
                if invitation.state is state:
                    return invitation
                await asyncio.sleep(0.05)

    async def _mailed(self, event: str, to: str) -> None:
        async with asyncio.timeout(PATIENCE.total_seconds()):
            while True:
                letters = self._stack.mailbox.letters()
                if any(letter.event == event and letter.to == to for letter in letters):
                    return
                await asyncio.sleep(0.05)

    async def _refused(self, code: ErrorCode, answer: Awaitable[object]) -> None:
        try:
            await answer
        except Refused as refused:
            _expect(refused.code is code, f"{refused.code} where {code} was due")
        else:
            raise WentWrong(f"nothing was refused, where {code} was due")

    # How it looks.

    def shown(self) -> RenderableType:
        """The steps and the invitations as they stand."""
        steps = Table(show_header=False, box=None, title="Seatflow", title_justify="left")
        current = next((step for step in self.steps if not step.done), None)
        for step in self.steps:
            steps.add_row(_mark(step, playing=step is current), Text(step.title), _told(step))
        return Group(steps, picture.of_invitations(self._invitations, datetime.now(UTC)))

    def places(self) -> RenderableType:
        """Where to look now."""
        folder = self._stack.settings.state_folder
        table = Table(title="Look around", title_justify="left", show_header=False, box=None)
        table.add_row("Temporal UI", self._stack.ui)
        table.add_row("mailbox", f"SEATFLOW_STATE_FOLDER={folder} seatflow mail list")
        table.add_row("stop", "Ctrl-C")
        return table

    def as_json(self) -> dict[str, JsonValue]:
        """How each step went, and where to look now."""
        return {
            "steps": [
                {"step": step.title, "seconds": step.seconds, "failure": step.failure}
                for step in self.steps
            ],
            "ui": self._stack.ui,
            "state_folder": str(self._stack.settings.state_folder),
        }


def _mark(step: Step, *, playing: bool) -> RenderableType:
    if step.failure:
        return Text("✗", style="red")
    if step.done:
        return Text("✓", style="green")
    return Spinner("dots") if playing else Text("·", style="dim")


def _told(step: Step) -> Text:
    if step.failure:
        return Text(step.failure, style="red")
    return Text(f"{step.seconds:.1f} s" if step.seconds else "", style="dim")


def _expect(truth: bool, otherwise: str) -> None:
    if not truth:
        raise WentWrong(otherwise)
