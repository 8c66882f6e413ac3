"""The operators' pages: the list, refunds, search, audit and reconciliation."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select, update
from temporalio.client import Client

from adapters.sql.database.schema import BalanceRow, ReversalRow
from adapters.sql.database.transaction import reading, writing
from domain.change import Change
from domain.error import ErrorCode, Refused, Unavailable
from domain.invitation import Choice
from domain.manifest import ItemStatus
from domain.reconciliation import Divergence, DivergenceKind
from domain.refund import RefundState
from domain.reversal import ReversalKind, ReversalStatus
from portal.operator.run import MARK, Run
from runtime.clients import Clients
from tests.eventually import eventually
from tests.portal.browser_page import ReadPage
from tests.portal.conftest import Visitor
from tests.portal.test_sign_in import OPERATOR, csrf_of, portal_of, session_of
from tests.workflows.test_invitation_move import FailingServices, invite_owner_with_data
from tests.world import JANE, OWNER, World, a_paying_owner

BY = f"operator {OPERATOR}"
BOTH = ["credit_left_behind", "divergence"]


@asynccontextmanager
async def an_operator(world: World) -> AsyncIterator[Visitor]:
    """Open the portal for a signed-in operator."""
    async with portal_of(world, operators=frozenset({OPERATOR})) as visitor:
        await session_of(visitor, OPERATOR)
        yield visitor


def operators_clients(world: World) -> Clients:
    """Return the clients of a portal with this operator."""
    settings = world.clients.settings.model_copy(update={"operators": frozenset({OPERATOR})})
    return replace(world.clients, settings=settings)


async def send(visitor: Visitor, path: str, **form: str) -> ReadPage:
    """Post a form of the operators' pages, with the token of the session."""
    token = csrf_of(await visitor.get("/operator/search"))
    return await visitor.post(f"/operator{path}", csrf_token=token, **form)


async def changes(world: World, action: str) -> list[Change]:
    return [each for each in await world.store.changes.listed() if each.action == action]


def location(page: ReadPage) -> str:
    assert page.status == 303
    return page.response.headers["location"]


async def a_given_up_row(world: World, workflow_id: str = "") -> int:
    """Insert a row of the outbox that waits for an operator; return its number."""
    workflow_id = workflow_id or f"invitation/{world.account}/someone"
    outbox = world.store.outbox
    await outbox.add_starts([workflow_id], after=timedelta())
    [row] = [each for each in await outbox.lease(9, timedelta()) if each.workflow_id == workflow_id]
    await outbox.give_up(row, "It failed soon after its start.")
    return row.number


async def a_divergence(world: World, subject: str = "refund/rf-1") -> None:
    kind = DivergenceKind.CHARGE_UNKNOWN
    found = Divergence.of(kind, subject, store="paid", elsewhere=None, account=world.account)
    await world.store.restore.report([found])


async def a_dispute(world: World) -> None:
    async with writing(world.store.engine) as session:
        now = datetime.now(UTC)
        session.add(
            ReversalRow(
                reversal_id="dp/1 x",
                kind=ReversalKind.DISPUTE,
                account_id=world.account,
                subject="pay-1",
                currency="EUR",
                amount=Decimal(40),
                reason="fraudulent",
                status=ReversalStatus.OPEN,
                since=now,
                reported_at=now,
            )
        )


# The list.


async def test_the_list_names_each_case_and_what_can_be_done(world_without_worker: World) -> None:
    """OPS-5: by kind and account, oldest first, each with its remedy as a form or as text."""
    world = world_without_worker
    await world.imported("gone", plan="pro", state="closed", credit="9.00")
    await a_divergence(world)
    async with an_operator(world) as visitor:
        page = await visitor.get("/operator")
        assert (page.status, page.name) == (200, "attention")
        assert sorted(page.all("data-case")) == BOTH
        assert "seatflow reconcile --settled" in page.html
        assert "/admin/gone/orders" in page.html
        page = await visitor.get("/operator?kind=divergence")
        assert page.all("data-case") == ["divergence"]
        page = await visitor.get("/operator?account=gone&kind=none")
        assert page.all("data-case") == ["credit_left_behind"]
        page = await visitor.get("/operator?kind=divergence&account=gone")
        assert "No case of this kind is open" in page.text


async def test_an_empty_list_says_so(world_without_worker: World) -> None:
    async with an_operator(world_without_worker) as visitor:
        page = await visitor.get("/operator")
    assert "Nothing waits for a person" in page.text


async def test_without_temporal_the_cases_of_the_store_are_shown(
    world_without_worker: World,
) -> None:
    """OPS-5: the page says that some are missing."""
    world = world_without_worker
    await a_divergence(world)

    async with an_operator(without_temporal(world)) as visitor:
        page = await visitor.get("/operator")
        assert page.status == 200
        assert page.all("data-case") == ["temporal_unreachable", "divergence"]
        assert "127.0.0.1:1" in page.text
        refused = await send(visitor, "/reconcile")
        assert (refused.status, refused.error) == (503, "backend_unavailable")
        assert refused.response.headers["retry-after"]


def without_temporal(world: World) -> World:
    async def connect() -> Client:
        raise Unavailable("Temporal is not reachable at 127.0.0.1:1.")

    return replace(world, clients=replace(world.clients, connect=connect))


async def test_a_long_list_has_pages_in_both_orders(world_without_worker: World) -> None:
    """At most 50 rows; the next page continues after them, also when rows were settled."""
    world = world_without_worker
    for number in range(60):
        await a_divergence(world, f"refund/rf-{number:02}")
    async with an_operator(world) as visitor:
        for order in ("", "&order=newest"):
            first = await visitor.get(f"/operator?kind=divergence{order}")
            ids = first.all("data-id")
            assert len(ids) == 50
            [following] = [each for each in first.all("href") if "after=" in each]
            more = (await visitor.get(following.replace("&amp;", "&"))).all("data-id")
            assert sorted(ids + more) == [f"refund/rf-{number:02}" for number in range(60)]


async def test_a_row_of_the_outbox_is_tried_again(world_without_worker: World) -> None:
    """OPS-1, OPS-8: due now, in the operator's name; the filter of the list is kept."""
    world = world_without_worker
    number = await a_given_up_row(world)
    async with an_operator(world) as visitor:
        page = await visitor.get("/operator?kind=follow_up_failing")
        form = page.form("outbox/retry")
        assert (form["subject"], form["kind"]) == (str(number), "follow_up_failing")
        answer = await visitor.post("/operator/outbox/retry", **form)
        assert location(answer) == "/operator?kind=follow_up_failing&done=outbox_retried"
        assert "It is due now" in (await visitor.get(location(answer))).text
    [row] = [each for each in await world.store.outbox.listed() if each.number == number]
    assert not row.given_up
    [change] = await changes(world, "outbox retry")
    assert (change.by, change.subject) == (BY, str(number))


async def test_a_row_of_the_outbox_is_discarded_once(world_without_worker: World) -> None:
    """OPS-1: asks once; the second click is refused on the list."""
    world = world_without_worker
    number = await a_given_up_row(world)
    async with an_operator(world) as visitor:
        form = (await visitor.get("/operator")).form("outbox/discard")
        assert location(await visitor.post("/operator/outbox/discard", **form))
        page = await visitor.post("/operator/outbox/discard", **form)
        assert (page.status, page.name, page.error) == (409, "attention", "conflict")
        for wrong in ("x", "٣", "9" * 30, ""):
            page = await send(visitor, "/outbox/retry", subject=wrong)
            assert (page.status, page.error) == (409, "conflict")
    assert number not in {each.number for each in await world.store.outbox.listed()}
    [change] = await changes(world, "outbox discard")
    assert change.by == BY


async def test_a_dispute_is_closed_with_a_reason(world_without_worker: World) -> None:
    """OPS-5, OPS-8: without a reason it is refused, and what was entered stays."""
    world = world_without_worker
    await a_dispute(world)
    async with an_operator(world) as visitor:
        form = (await visitor.get("/operator")).form("reversals/close")
        for reason in (" ", "x" * 501):
            page = await visitor.post("/operator/reversals/close", **form, reason=reason)
            assert (page.status, page.error) == (422, "invalid_input")
            assert f'value="{reason}"' in page.html
            assert "Write the reason" in page.text
        answer = await visitor.post("/operator/reversals/close", **form, reason="paid in cash")
        assert location(answer) == "/operator?done=reversal_closed"
        page = await visitor.post("/operator/reversals/close", **form, reason="again")
        assert (page.status, page.error) == (409, "conflict")
        page = await send(visitor, "/reversals/close", subject="unknown", reason="x")
        assert (page.status, page.name, page.error) == (409, "attention", "conflict")
    async with reading(world.store.engine) as session:
        row = (await session.scalars(select(ReversalRow))).one()
    assert (row.closed_by, row.closing_reason) == (BY, "paid in cash")


async def test_a_difference_is_settled_once(world_without_worker: World) -> None:
    """OPS-6, OPS-8."""
    world = world_without_worker
    await a_divergence(world)
    async with an_operator(world) as visitor:
        form = (await visitor.get("/operator")).form("divergences/settle")
        assert location(await visitor.post("/operator/divergences/settle", **form))
        page = await visitor.post("/operator/divergences/settle", **form)
        assert (page.status, page.error) == (409, "conflict")
    [change] = await changes(world, "reconcile --settled")
    assert change.by == BY
    assert await world.store.attention.cases() == []


async def test_failed_items_are_moved_again(world_without_worker: World) -> None:
    """TRF-1, OPS-8: from the list, in the operator's name."""
    world = world_without_worker.patient()
    async with world.working(services=FailingServices(world, for_good=True)):
        await invite_owner_with_data(world)
        await world.client.accept(world.account, JANE)
        await world.until(JANE, "completed")
    async with world.working(), an_operator(world) as visitor:
        page = await visitor.get("/operator")
        assert page.all("data-case") == ["move_failed"]
        form = page.form("moves/retry")
        assert f"/admin/{world.account}/invitations/{form['subject']}" in page.html
        answer = await visitor.post("/operator/moves/retry", **form)
        assert location(answer) == "/operator?done=move_retried"
        assert (await visitor.get("/operator")).all("data-case") == []
        page = await visitor.post("/operator/moves/retry", **form | {"subject": "nobody@x.example"})
        assert (page.status, page.error) == (409, "conflict")
    assert {each.status for each in (await world.stored(JANE)).manifest} == {ItemStatus.MOVED}
    [change] = await changes(world, "retry-move")
    assert (change.by, change.account) == (BY, world.account)


# Refunds.


async def a_failed_refund(world: World) -> str:
    await a_paying_owner(world, refundable=False)
    accepted = await world.client.accept(world.account, JANE, Choice.REFUND)
    assert accepted.settlement
    refund_id = accepted.settlement.refund_id or ""
    await world.refund_until(refund_id, RefundState.FAILED)
    return refund_id


async def test_a_failed_refund_is_converted(world: World) -> None:
    """REF-4, OPS-8: from the list; the page of the refund shows its parts and its journal."""
    refund_id = await a_failed_refund(world)
    async with an_operator(world) as visitor:
        page = await visitor.get("/operator")
        assert page.all("data-case") == ["refund_failed"]
        form = page.form("convert")
        answer = await visitor.post(f"/operator/refunds/{refund_id}/convert", **form)
        assert location(answer) == f"/operator/refunds/{refund_id}?done=refund_converted"
        page = await visitor.get(location(answer))
        assert (page.status, page.name, page.state) == (200, "refund", "converted")
        assert "was converted to credit" in page.text
        assert f"operator {OPERATOR}" in page.text
        assert sorted(page.all("data-payment")) == ["pay-1", "pay-2"]
        assert page.all("data-event")[0] == "convert"
        again = await visitor.post(f"/operator/refunds/{refund_id}/convert", **form)
        assert (again.status, again.name, again.error) == (409, "refund", "conflict")
    refund = await world.store.refunds.latest(refund_id)
    assert [each.by for each in refund.journal if each.event == "convert"] == [BY]


async def test_a_failed_refund_is_requested_again_or_closed(world: World) -> None:
    """REF-4, OPS-8: to another method, which the provider may refuse; closing needs a reason."""
    refund_id = await a_failed_refund(world)
    path = f"/operator/refunds/{refund_id}"
    async with an_operator(world) as visitor:
        form = (await visitor.get(path)).form("close")
        page = await visitor.post(f"{path}/close", **form, reason="\x00 ")
        assert (page.status, page.name, page.error) == (422, "refund", "invalid_input")
        assert "Write the reason" in page.text
        page = await visitor.post(f"{path}/retry", **form, method="card-of-somebody")
        assert page.status in {409, 422}
        assert 'value="card-of-somebody"' in page.html
        answer = await visitor.post(f"{path}/close", **form, reason="sent <by> cheque")
        assert location(answer) == f"{path}?done=refund_closed"
        page = await visitor.get(path)
        assert page.state == "closed"
        assert "sent <by> cheque" in page.text
    [closed] = [
        each
        for each in (await world.store.refunds.latest(refund_id)).journal
        if each.event == "close"
    ]
    assert (closed.by, closed.note) == (BY, "sent <by> cheque")


async def test_a_reason_survives_when_temporal_does_not_answer(world: World) -> None:
    """503 on the page of the refund, with what was entered."""
    refund_id = await a_failed_refund(world)
    async with an_operator(without_temporal(world)) as visitor:
        page = await send(visitor, f"/refunds/{refund_id}/close", reason="sent by cheque")
    assert (page.status, page.name, page.error) == (503, "refund", "backend_unavailable")
    assert 'value="sent by cheque"' in page.html


async def test_refunds_are_listed_by_state(world: World) -> None:
    """The newest first, with the number of each state."""
    refund_id = await a_failed_refund(world)
    async with an_operator(world) as visitor:
        for path, listed in (
            ("/operator/refunds", [refund_id]),
            ("/operator/refunds?state=failed", [refund_id]),
            ("/operator/refunds?state=settled", []),
            ("/operator/refunds?state=none&after=unknown", [refund_id]),
        ):
            page = await visitor.get(path)
            assert (page.status, page.name) == (200, "refunds")
            assert page.all("data-refund") == listed
        for unknown in ("unknown", "%00", "x" * 200):
            assert (await visitor.get(f"/operator/refunds/{unknown}")).status == 404
            page = await send(visitor, f"/refunds/{unknown}/convert")
            assert (page.status, page.name) == (404, "not-found")


# Search.


async def test_an_operator_finds_a_person_and_an_account(world: World) -> None:
    """By the whole address, or a part of an id, a name or an owner; nothing in the address."""
    refund_id = await a_failed_refund(world)
    async with an_operator(world) as visitor:
        page = await send(visitor, "/search", q=f" {JANE.upper()} ")
        assert (page.status, page.name) == (200, "search")
        assert page.attribute("data-person") == JANE
        assert f"/operator/refunds/{refund_id}" in page.html
        assert f"/admin/{world.account}/invitations/" in page.html
        page = await send(visitor, "/search", q=world.account.upper())
        assert page.all("data-account") == [world.account]
        opened = await visitor.get(f"/admin/{world.account}")
        assert f"in the name of {OWNER}" in opened.html
        page = await send(visitor, "/search", q="owner@acme")
        assert world.account in page.all("data-account")
        page = await send(visitor, "/search", q="jnae@example.com")
        assert JANE in page.text
        page = await send(visitor, "/search", q="nothing like <this>")
        assert "Nothing was found for “nothing like <this>”" in page.text
        page = await send(visitor, "/search", q=" ")
        assert (page.status, page.error) == (422, "invalid_input")
        assert (await visitor.get(f"/operator/search?q={JANE}")).attribute("data-person") is None


async def test_many_accounts_have_pages(world_without_worker: World) -> None:
    """50 of them on each."""
    world = world_without_worker
    for number in range(53):
        await world.imported(f"many-{number:02}", plan="pro")
    async with an_operator(world) as visitor:
        page = await send(visitor, "/search", q="many-")
        assert len(page.all("data-account")) == 50
        page = await send(visitor, "/search", q="many-", after=page.all("data-account")[-1])
        assert page.all("data-account") == ["many-50", "many-51", "many-52"]


# Audit and reconciliation.


async def test_the_audit_shows_what_it_checked_and_what_it_found(
    world_without_worker: World,
) -> None:
    """AUD: with counts; a broken rule is named with its subject."""
    world = world_without_worker
    async with an_operator(world) as visitor:
        page = await send(visitor, "/audit")
        assert (page.status, page.name, page.state) == (200, "audit", "audit")
        assert "No violation was found" in page.text
        assert "accounts" in page.all("data-checked")
        await broken(world)
        page = await send(visitor, "/audit")
        assert page.attribute("data-finished") == "done"
        assert page.all("data-violation")
        assert page.html.rstrip().endswith("</html>")


async def broken(world: World) -> None:
    """Change the balances of the ledger, so that a rule is broken."""
    await world.imported("gone", plan="pro", credit="9.00")
    async with writing(world.store.engine) as session:
        await session.execute(update(BalanceRow).values(amount=Decimal(700)))


async def test_a_difference_is_found_and_removed(world_without_worker: World) -> None:
    """OPS-6, OPS-8: the operator is recorded; then nothing is left."""
    world = world_without_worker.patient()
    async with world.working():
        invitation = await world.pending(JANE)
    handle = world.temporal.client.get_workflow_handle(invitation.workflow_id)
    await handle.terminate("by hand")
    async with an_operator(world) as visitor:

        async def compared() -> ReadPage:
            return await send(visitor, "/reconcile")

        page = await eventually(compared, until=lambda page: bool(page.all("data-kind")))
        assert (page.status, page.state) == (200, "compare")
        assert page.all("data-kind") == ["workflow_missing"]
        assert invitation.workflow_id in page.text
        page = await send(visitor, "/reconcile/fix")
        assert (page.status, page.state) == (200, "fix")
        assert page.all("data-list") == ["fixed"]
        assert "No difference is left" in page.text
    [change] = await changes(world, "reconcile --fix")
    assert (change.by, change.subject) == (BY, invitation.workflow_id)


async def parts_of(run: Run[int], read: int = 100) -> list[str]:
    """Begin the work, and read that many parts of its page."""
    response = run.response(
        f"head{MARK}tail",
        lambda done, total: f"{done}/{total}",
        lambda result: f"result {result}",
    )
    parts: list[str] = []
    iterator = response.body_iterator  # type: ignore[attr-defined]
    async for part in iterator:
        parts.append(part)
        if len(parts) == read:
            break
    await iterator.aclose()
    return parts


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.operator.run.FIRST_WAIT", 0.01)
    monkeypatch.setattr("portal.operator.run.PROGRESS_EVERY", 0.01)


@pytest.mark.usefixtures("quick")
async def test_a_run_shows_its_progress_and_its_result() -> None:
    """The page grows while the work runs."""
    may_end = asyncio.Event()

    async def work(watch: Callable[[int, int], None]) -> int:
        watch(3, 9)
        asyncio.get_running_loop().call_later(0.1, may_end.set)
        await may_end.wait()
        return 42

    run = Run(work)
    await run.begin()
    head, *progress, result, tail = await parts_of(run)
    assert (head, set(progress), result, tail) == ("head", {"3/9"}, "result 42", "tail")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("carry_on", [False, True])
async def test_a_run_that_is_left_stops_unless_it_must_not(carry_on: bool) -> None:
    """A check is stopped; a removal of differences goes on to its end."""
    may_end, ended = asyncio.Event(), asyncio.Event()

    async def work(watch: Callable[[int, int], None]) -> int:
        try:
            await may_end.wait()
            return 42
        finally:
            ended.set()

    run = Run(work, carry_on=carry_on)
    await run.begin()
    assert await parts_of(run, read=2) == ["head", "0/0"]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert ended.is_set() is not carry_on
    may_end.set()
    await asyncio.wait_for(ended.wait(), 1)


@pytest.mark.usefixtures("quick")
async def test_a_run_that_fails_says_so() -> None:
    """At once with a status of its own; later in the page."""

    async def unavailable(watch: Callable[[int, int], None]) -> int:
        raise Unavailable("Temporal is gone.")

    with pytest.raises(Refused) as refused:
        await Run(unavailable).begin()
    assert refused.value.code is ErrorCode.BACKEND_UNAVAILABLE

    async def failing(watch: Callable[[int, int], None]) -> int:
        await asyncio.sleep(0.05)
        raise Unavailable("Temporal is gone.")

    run = Run(failing)
    await run.begin()
    assert (await parts_of(run))[-2:] == ["result None", "tail"]
