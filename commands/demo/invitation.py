"""Invitations and their ends (INV)."""

import asyncio
from collections import Counter
from datetime import timedelta

from commands.demo.browser import Page
from commands.demo.step import (
    ACCOUNT,
    ADMIN,
    OTHER_ACCOUNT,
    OTHER_ADMIN,
    SECOND,
    DemoStack,
    Step,
    expect,
    shows,
)
from domain.error import ErrorCode, Refused
from domain.invitation import InvitationState, License

NINA, DORA, RITA = ADDED = ("nina@new.example", "dora@else.example", "rita@else.example")


class Invitations:
    """Invitations from their first e-mail to each of their final states."""

    def __init__(self, demo: DemoStack) -> None:
        self._demo = demo
        self._client = demo.clients.invitations
        self.steps = (
            Step("Adam, an admin, signs in by the link in his mailbox", self._sign_in),
            Step(
                "He enters three people and a mistake; he sees each result, nothing is sent",
                self._add,
            ),
            Step("He confirms, follows the progress, and finds all three pending", self._confirm),
            Step("Nina, who has no account, accepts", self._accept),
            Step("Fred accepts; his free account is closed", self._accept_from_free_account),
            Step("Dora declines; Adam is notified", self._decline),
            Step(
                "Adam searches for Rita and revokes on her timeline; she cannot accept",
                self._revoke,
            ),
            Step("Emil does not answer; his invitation expires after 30 days", self._expire),
            Step("The e-mail to Bo bounces; Adam is notified", self._bounce),
            Step("Sven's invitation is resent; only the new link works", self._resend),
            Step("Hugo is notified three days before his invitation is sent", self._announce),
            Step("Nele's address is in Acme's own domain; she joins at once", self._join),
            Step("Rosa accepts two invitations at the same time; one succeeds", self._race),
        )
        self.last_steps = (
            Step("Nina accepts again; nothing changes", self._repeat),
            Step("Adam looks at Paula's timeline: she joined and was refunded", self._look_back),
        )

    async def _sign_in(self) -> None:
        self._adam = await self._demo.sign_in(ADMIN, ACCOUNT)
        invited = self._adam.page.all("data-invitation")
        expect(not invited, f"{len(invited)} people are invited already")

    async def _add(self) -> None:
        people = "\n".join((*ADDED, "nobody"))
        page = await self._adam.send("/invite", people=people, license=License.LICENSED)
        shows(page, "invite-review")
        results = dict(zip(page.all("data-row"), page.all("data-result"), strict=True))
        expected = dict.fromkeys(ADDED, "invited") | {"nobody": "refused"}
        expect(results == expected, f"the review shows {results}")
        expect(not self._demo.mails("invitation"), "the review has sent an e-mail")

    async def _confirm(self) -> None:
        await self._adam.send("/invite/confirm")
        page = await self._demo.reloaded(self._adam, "finished")
        shows(page, "invite-progress", "finished")
        results = Counter(page.all("data-result"))
        expect(results == {"invited": len(ADDED), "refused": 1}, f"the results are {results}")
        for email in ADDED:
            await self._demo.until(email, InvitationState.PENDING)
        page = await self._adam.open()
        shows(page, "invitations")
        rows = [each["data-state"] for each in page.elements if "data-invitation" in each]
        expect(rows == ["pending"] * len(ADDED), f"the list shows {rows}")

    async def _accept(self) -> None:
        await self._demo.invitees.accept(ACCOUNT, NINA)
        await self._demo.until(NINA, InvitationState.COMPLETED)
        await self._demo.mailed("accepted", ADMIN)

    async def _accept_from_free_account(self) -> None:
        fred = "fred@home.example"
        await self._demo.pending(fred)
        await self._demo.invitees.accept(ACCOUNT, fred)
        await self._demo.until(fred, InvitationState.COMPLETED)
        free_account = await self._demo.account("fred-free")
        expect(free_account.state == "closed", "Fred's free account is still open")

    async def _decline(self) -> None:
        await self._demo.invitees.decline(ACCOUNT, DORA, "I like it where I am.")
        await self._demo.mailed("declined", ADMIN)

    async def _revoke(self) -> None:
        shows(await self._timeline("rita"), "timeline", "pending")
        page = await self._adam.send("/revoke")
        shows(page, "timeline", "revoked")
        events = page.all("data-event")
        expect(events == ["revoke", "deliver", "invite"], f"the timeline shows {events}")
        await self._demo.refused(ErrorCode.REVOKED, self._client.accept(ACCOUNT, RITA))

    async def _timeline(self, name: str) -> Page:
        """Search all invitations, and open the only one that is found."""
        found = (await self._adam.open(f"?all=1&q={name}")).all("data-invitation")
        expect(len(found) == 1, f"the search for {name} finds {len(found)} invitations")
        return await self._adam.open(f"/invitations/{found[0]}")

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
        first = await self._client.show(ACCOUNT, NINA)
        again = await self._client.accept(ACCOUNT, NINA)
        expect(again == first, "a second acceptance changed something")

    async def _look_back(self) -> None:
        page = await self._timeline("paula")
        shows(page, "timeline", "completed")
        events = [event for event in page.all("data-event") if event in ("accept", "refund")]
        expect(events == ["refund", "accept"], f"the timeline shows {events}")
        settlement = (await self._client.show(ACCOUNT, "paula@studio.example")).settlement
        amount = settlement and f"{settlement.amount.amount:f}"
        expect(page.all("data-total") == [amount], f"the timeline does not show {amount}")
