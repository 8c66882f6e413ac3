"""Invitations that end in every way (INV)."""

import asyncio
from datetime import timedelta

from commands.demo.step import (
    ACCOUNT,
    ADMIN,
    RIVAL,
    RIVAL_ADMIN,
    SECOND,
    Stage,
    Step,
    expect,
)
from domain.error import ErrorCode, Refused
from domain.invitation import InvitationState, License, Person


class Invitations:
    """From the first e-mail, or the notice before it, to each of their ends."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._client = stage.client
        self.steps = (
            Step("New to all this: Nina is invited and accepts", self._accepted),
            Step("Fred accepts; his free account closes behind him", self._left_behind),
            Step("Dora declines, and Adam learns why", self._declined),
            Step("Adam takes Rita's invitation back; her seat is free again", self._revoked),
            Step("Nobody answers for Emil: 30 days pass", self._expired),
            Step("Bo's address bounces, and Adam is told", self._bounced),
            Step("Sven lost the e-mail: a new link works, the old one is dead", self._resent),
            Step("Hugo gets a notice, and three days later his invitation", self._announced),
            Step("Nele's address is in Acme's own domain: she joins unasked", self._unasked),
            Step("Rosa accepts two accounts at once; one of them has her", self._raced),
        )
        self.last_steps = (
            Step("Accepting again changes nothing; a bad row spoils no other", self._repeated),
        )

    async def _accepted(self) -> None:
        nina = "nina@new.example"
        pending = await self._stage.pending(nina, License.LICENSED)
        expect(pending.link is not None, "there is no link")
        await self._client.accept_link(str(pending.link), nina)
        await self._stage.until(nina, InvitationState.COMPLETED)
        await self._stage.mailed("accepted", ADMIN)

    async def _left_behind(self) -> None:
        fred = "fred@home.example"
        await self._stage.pending(fred)
        await self._client.accept(ACCOUNT, fred)
        await self._stage.until(fred, InvitationState.COMPLETED)
        left = await self._stage.account("fred-free")
        expect(left.state == "closed", "Fred's free account is still open")

    async def _declined(self) -> None:
        dora = "dora@else.example"
        await self._stage.pending(dora)
        await self._client.decline(ACCOUNT, dora, "I like it where I am.")
        await self._stage.mailed("declined", ADMIN)

    async def _revoked(self) -> None:
        rita = "rita@else.example"
        await self._stage.pending(rita, License.LICENSED)
        await self._client.revoke(ACCOUNT, rita, ADMIN)
        await self._stage.refused(ErrorCode.REVOKED, self._client.accept(ACCOUNT, rita))

    async def _expired(self) -> None:
        emil = "emil@else.example"
        pending = await self._stage.pending(emil)
        await self._stage.clock.go_to(pending.workflow_id, pending.deadline - SECOND)
        still = await self._client.show(ACCOUNT, emil)
        expect(still.state is InvitationState.PENDING, "it ended a second early")
        await self._stage.clock.go_to(pending.workflow_id, pending.deadline)
        await self._stage.until(emil, InvitationState.EXPIRED)
        await self._stage.refused(ErrorCode.EXPIRED, self._client.accept(ACCOUNT, emil))

    async def _bounced(self) -> None:
        bo = "bounce-bo@else.example"
        await self._stage.invite(bo)
        await self._stage.until(bo, InvitationState.UNDELIVERABLE)
        await self._stage.mailed("undeliverable", ADMIN)

    async def _resent(self) -> None:
        sven = "sven@else.example"
        first = await self._stage.pending(sven)
        too_soon = self._client.resend(ACCOUNT, sven, ADMIN)
        await self._stage.refused(ErrorCode.RATE_LIMITED, too_soon)
        await self._stage.clock.pass_time(first.workflow_id, timedelta(hours=1))
        second = await self._client.resend(ACCOUNT, sven, ADMIN)
        dead = self._client.accept_link(str(first.link), sven)
        await self._stage.refused(ErrorCode.NOT_FOUND, dead)
        await self._client.accept_link(str(second.link), sven)
        await self._stage.until(sven, InvitationState.COMPLETED)

    async def _announced(self) -> None:
        hugo = "hugo@else.example"
        await self._stage.invite(hugo, heads_up_days=3)
        await self._stage.mailed("heads_up", hugo)
        await self._stage.refused(ErrorCode.NOT_PENDING, self._client.accept(ACCOUNT, hugo))
        announced = await self._client.show(ACCOUNT, hugo)
        await self._stage.clock.pass_time(announced.workflow_id, timedelta(days=3))
        await self._stage.until(hugo, InvitationState.PENDING)
        await self._client.accept(ACCOUNT, hugo)
        await self._stage.until(hugo, InvitationState.COMPLETED)

    async def _unasked(self) -> None:
        nele = "nele@acme.example"
        await self._stage.invite(nele)
        joined = await self._stage.until(nele, InvitationState.COMPLETED)
        expect(any(entry.event == "join" for entry in joined.journal), "she was asked")
        await self._stage.mailed("welcome", nele)
        expect(not self._stage.has_mail("invitation", nele), "she has an invitation too")

    async def _raced(self) -> None:
        rosa = "rosa@else.example"
        await self._stage.pending(rosa)
        await self._stage.pending(rosa, account=RIVAL, by=RIVAL_ADMIN)
        answers = await asyncio.gather(
            *(self._answer(account, rosa) for account in (ACCOUNT, RIVAL))
        )
        expect(sorted(map(str, answers)) == ["None", "superseded"], f"the answers are {answers}")
        won = answers[0] is None
        winner, loser = (ACCOUNT, RIVAL) if won else (RIVAL, ACCOUNT)
        await self._stage.until(rosa, InvitationState.COMPLETED, winner)
        await self._stage.until(rosa, InvitationState.SUPERSEDED, loser)
        await self._stage.mailed("superseded", RIVAL_ADMIN if won else ADMIN)

    async def _answer(self, account: str, email: str) -> ErrorCode | None:
        """How an acceptance is refused; None when it is not."""
        try:
            await self._client.accept(account, email)
        except Refused as refused:
            return refused.code
        return None

    async def _repeated(self) -> None:
        first = await self._client.show(ACCOUNT, "nina@new.example")
        again = await self._client.accept(ACCOUNT, "nina@new.example")
        expect(again == first, "a second acceptance changed something")
        people = [Person(email="not an address"), Person(email="vera@else.example")]
        results = [row.result for row in await self._client.invite(ACCOUNT, people, ADMIN)]
        expect(results == ["refused", "invited"], f"the rows are {results}")
        results = [row.result for row in await self._client.invite(ACCOUNT, people, ADMIN)]
        expect(results == ["refused", "already_invited"], f"the rows are {results}")
