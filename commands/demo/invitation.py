"""Invitations and their ends (INV)."""

import asyncio
from datetime import timedelta

from commands.demo.step import (
    ACCOUNT,
    ADMIN,
    OTHER_ACCOUNT,
    OTHER_ADMIN,
    SECOND,
    DemoStack,
    Step,
    expect,
)
from domain.error import ErrorCode, Refused
from domain.invitation import InvitationState, License, Person


class Invitations:
    """Invitations from their first e-mail to each of their final states."""

    def __init__(self, demo: DemoStack) -> None:
        self._demo = demo
        self._client = demo.clients.invitations
        self.steps = (
            Step("Nina, who has no account, is invited and accepts", self._accept),
            Step("Fred accepts; his free account is closed", self._accept_from_free_account),
            Step("Dora declines; Adam is notified", self._decline),
            Step("Adam revokes Rita's invitation; she can no longer accept", self._revoke),
            Step("Emil does not answer; his invitation expires after 30 days", self._expire),
            Step("The e-mail to Bo bounces; Adam is notified", self._bounce),
            Step("Sven's invitation is resent; only the new link works", self._resend),
            Step("Hugo is notified three days before his invitation is sent", self._announce),
            Step("Nele's address is in Acme's own domain; she joins at once", self._join),
            Step("Rosa accepts two invitations at the same time; one succeeds", self._race),
        )
        self.last_steps = (
            Step("Accepting again changes nothing; a bad row affects no other", self._repeat),
        )

    async def _accept(self) -> None:
        nina = "nina@new.example"
        pending = await self._demo.pending(nina, License.LICENSED)
        expect(pending.link is not None, "the invitation has no link")
        await self._demo.invitees.accept(ACCOUNT, nina)
        await self._demo.until(nina, InvitationState.COMPLETED)
        await self._demo.mailed("accepted", ADMIN)

    async def _accept_from_free_account(self) -> None:
        fred = "fred@home.example"
        await self._demo.pending(fred)
        await self._demo.invitees.accept(ACCOUNT, fred)
        await self._demo.until(fred, InvitationState.COMPLETED)
        free_account = await self._demo.account("fred-free")
        expect(free_account.state == "closed", "Fred's free account is still open")

    async def _decline(self) -> None:
        dora = "dora@else.example"
        await self._demo.pending(dora)
        await self._demo.invitees.decline(ACCOUNT, dora, "I like it where I am.")
        await self._demo.mailed("declined", ADMIN)

    async def _revoke(self) -> None:
        rita = "rita@else.example"
        await self._demo.pending(rita, License.LICENSED)
        await self._client.revoke(ACCOUNT, rita, ADMIN)
        await self._demo.refused(ErrorCode.REVOKED, self._client.accept(ACCOUNT, rita))

    async def _expire(self) -> None:
        emil = "emil@else.example"
        pending = await self._demo.pending(emil)
        await self._demo.clock.go_to(pending.workflow_id, pending.deadline - SECOND)
        shortly_before = await self._client.show(ACCOUNT, emil)
        expect(shortly_before.state is InvitationState.PENDING, "it expired a second too early")
        await self._demo.clock.go_to(pending.workflow_id, pending.deadline)
        await self._demo.until(emil, InvitationState.EXPIRED)
        await self._demo.refused(ErrorCode.EXPIRED, self._client.accept(ACCOUNT, emil))

    async def _bounce(self) -> None:
        bo = "bounce-bo@else.example"
        await self._demo.invite(bo)
        await self._demo.until(bo, InvitationState.UNDELIVERABLE)
        await self._demo.mailed("undeliverable", ADMIN)

    async def _resend(self) -> None:
        sven = "sven@else.example"
        first = await self._demo.pending(sven)
        too_soon = self._client.resend(ACCOUNT, sven, ADMIN)
        await self._demo.refused(ErrorCode.RATE_LIMITED, too_soon)
        await self._demo.clock.pass_time(first.workflow_id, timedelta(hours=1))
        await self._client.resend(ACCOUNT, sven, ADMIN)
        old_link = self._client.accept_link(str(first.link), sven)
        await self._demo.refused(ErrorCode.NOT_FOUND, old_link)
        await self._demo.invitees.accept(ACCOUNT, sven)
        await self._demo.until(sven, InvitationState.COMPLETED)

    async def _announce(self) -> None:
        hugo = "hugo@else.example"
        await self._demo.invite(hugo, heads_up_days=3)
        await self._demo.mailed("heads_up", hugo)
        await self._demo.refused(ErrorCode.NOT_PENDING, self._client.accept(ACCOUNT, hugo))
        announced = await self._client.show(ACCOUNT, hugo)
        await self._demo.clock.pass_time(announced.workflow_id, timedelta(days=3))
        await self._demo.until(hugo, InvitationState.PENDING)
        await self._demo.invitees.accept(ACCOUNT, hugo)
        await self._demo.until(hugo, InvitationState.COMPLETED)

    async def _join(self) -> None:
        nele = "nele@acme.example"
        await self._demo.invite(nele)
        joined = await self._demo.until(nele, InvitationState.COMPLETED)
        expect(any(entry.event == "join" for entry in joined.journal), "she did not join at once")
        await self._demo.mailed("welcome", nele)
        expect(not self._demo.has_mail("invitation", nele), "she got an invitation as well")

    async def _race(self) -> None:
        rosa = "rosa@else.example"
        await self._demo.pending(rosa)
        await self._demo.pending(rosa, account=OTHER_ACCOUNT, by=OTHER_ADMIN)
        codes = await asyncio.gather(
            *(self._accept_code(account, rosa) for account in (ACCOUNT, OTHER_ACCOUNT))
        )
        expect(sorted(map(str, codes)) == ["None", "superseded"], f"the results are {codes}")
        won = codes[0] is None
        winner, loser = (ACCOUNT, OTHER_ACCOUNT) if won else (OTHER_ACCOUNT, ACCOUNT)
        await self._demo.until(rosa, InvitationState.COMPLETED, winner)
        await self._demo.until(rosa, InvitationState.SUPERSEDED, loser)
        await self._demo.mailed("superseded", OTHER_ADMIN if won else ADMIN)

    async def _accept_code(self, account: str, email: str) -> ErrorCode | None:
        """Accept; return the code of the refusal, or None."""
        try:
            await self._client.accept(account, email)
        except Refused as refused:
            return refused.code
        return None

    async def _repeat(self) -> None:
        first = await self._client.show(ACCOUNT, "nina@new.example")
        again = await self._client.accept(ACCOUNT, "nina@new.example")
        expect(again == first, "a second acceptance changed something")
        people = [Person(email="not an address"), Person(email="vera@else.example")]
        results = [row.result for row in await self._client.invite(ACCOUNT, people, ADMIN)]
        expect(results == ["refused", "invited"], f"the results are {results}")
        results = [row.result for row in await self._client.invite(ACCOUNT, people, ADMIN)]
        expect(results == ["refused", "already_invited"], f"the results are {results}")
