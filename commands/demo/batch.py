"""A file of people, invited as one batch (REM-3)."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Group, RenderableType

from adapters.private_file import make_private_file
from commands import batch as command
from commands.bar import ProgressBar
from commands.demo.step import OTHER_ACCOUNT, OTHER_ADMIN, DemoStack, Step, expect
from domain.batch import rows_of
from domain.error import ErrorCode, Refused
from domain.invitation import License

ROWS = 200
BAD_ROW = 100


class Batch:
    """Steps that run the code of `invite --file`, with its progress bars."""

    def __init__(self, demo: DemoStack) -> None:
        self._demo = demo
        self._bars: list[ProgressBar] = []
        self._file = demo.folder / "people.csv"
        self.steps = (
            Step("One of 200 rows in Nils's file is invalid; nobody is invited", self._validate),
            Step(
                "Without that row 199 people are invited; each row has a result",
                self._invite,
                self._picture,
            ),
            Step("Acme's single invitation does not wait for that batch", self._invite_one),
        )

    def _picture(self) -> RenderableType | None:
        return Group(*self._bars) if self._bars else None

    async def _validate(self) -> None:
        people = [f"p{number}@crowd.example" for number in range(1, ROWS + 1)]
        people[BAD_ROW - 1] = "nobody"
        make_private_file(self._file)
        self._file.write_text("\n".join(["email", *people, ""]), encoding="utf-8")
        try:
            command.read(str(self._file), License.BASIC, None, skip_bad_rows=False)
        except Refused as refused:
            expect(refused.code is ErrorCode.INVALID_INPUT, f"the code is {refused.code}")
        else:
            expect(False, "the invalid file was accepted")

    async def _invite(self) -> None:
        file = command.read(str(self._file), License.BASIC, None, skip_bad_rows=True)
        request = command.BatchRequest(OTHER_ACCOUNT, OTHER_ADMIN, heads_up_days=0, batch=None)
        results = self._file.with_name("results.csv")
        make_private_file(results)
        _, rows = await command.run_batch(
            self._demo.clients.batches,
            request,
            rows_of([], file),
            self._progress,
            results=results,
            wait=False,
        )
        counts = Counter(row.result for row in rows)
        expect(counts == {"invited": ROWS - 1, "refused": 1}, f"the results are {counts}")
        expect(rows[BAD_ROW - 1].result == "refused", "the invalid row was invited")
        lines = len(results.read_text(encoding="utf-8-sig").splitlines())
        expect(lines == 1 + ROWS, f"{results} has {lines} lines")

    async def _invite_one(self) -> None:
        # The e-mails of the batch are still being sent: accounts take turns (REM-3).
        await self._demo.pending("una@else.example")

    @contextmanager
    def _progress(self, title: str) -> Iterator[Callable[[int, int], None]]:
        bar = ProgressBar(title)
        self._bars.append(bar)
        yield bar.show
