"""A whole file of people, invited at once (REM-3)."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Group, RenderableType

from commands import batch as bulk
from commands.bar import Bar
from commands.demo.stage import RIVAL, RIVAL_ADMIN, Stage, Step, expect
from domain.error import ErrorCode, Refused
from domain.invitation import License

ROWS = 200
BAD_ROW = 100


class Bulk:
    """What `invite --file` does, with its own bar."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._bars: list[Bar] = []
        self._file = stage.folder / "people.csv"
        self.steps = (
            Step("One of 200 rows in Nils's file is wrong: nobody is invited", self._checked),
            Step("Without it 199 are, and each row has its result", self._invited, self._shown),
            Step("Acme's single invitation does not wait for their e-mails", self._beside),
        )

    def _shown(self) -> RenderableType | None:
        return Group(*self._bars) if self._bars else None

    async def _checked(self) -> None:
        people = [f"p{number}@crowd.example" for number in range(1, ROWS + 1)]
        people[BAD_ROW - 1] = "nobody"
        self._file.write_text("\n".join(["email", *people, ""]), encoding="utf-8")
        try:
            bulk.read(str(self._file), License.BASIC, None, skip_bad_rows=False)
        except Refused as refused:
            expect(refused.code is ErrorCode.INVALID_INPUT, f"it is {refused.code}")
        else:
            expect(False, "the file was taken as it is")

    async def _invited(self) -> None:
        file = bulk.read(str(self._file), License.BASIC, None, skip_bad_rows=True)
        request = bulk.BatchRequest(RIVAL, RIVAL_ADMIN, heads_up_days=0, batch=None)
        results = self._file.with_name("results.csv")
        _, found = await bulk.run_batch(
            self._stage.bulk,
            request,
            bulk.rows_of([], file),
            self._counting,
            results=results,
            wait=False,
        )
        counts = Counter(row.result for row in found)
        expect(counts == {"invited": ROWS - 1, "refused": 1}, f"the rows are {counts}")
        expect(found[BAD_ROW - 1].result == "refused", "the bad row was invited")
        written = len(results.read_text(encoding="utf-8-sig").splitlines())
        expect(written == 1 + ROWS, f"{results} has {written} lines")

    async def _beside(self) -> None:
        # Their e-mails are still on their way: it has its own turn (REM-3).
        await self._stage.pending("una@else.example")

    @contextmanager
    def _counting(self, doing: str) -> Iterator[Callable[[int, int], None]]:
        bar = Bar(doing)
        self._bars.append(bar)
        yield bar.show
