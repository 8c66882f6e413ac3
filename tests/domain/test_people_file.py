"""CSV files of people: spreadsheet formats, and errors with row and column."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.address import normalized
from domain.error import ErrorCode
from domain.invitation import License, Person
from domain.people_file import CsvError, PeopleFile, read_people
from domain.text import one_line

BOM = "\ufeff"


def people(file: PeopleFile) -> list[Person]:
    return [row.person for row in file.rows]


def places(file: PeopleFile) -> list[tuple[int, str | None]]:
    return [(error.row, error.column) for error in file.errors]


ADA = Person(email="ada@example.com")
FULL = Person(email="ada@example.com", license=License.LICENSED, locale="de", name="Ada")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("email\nada@example.com\n", [ADA]),
        ("email\r\nada@example.com\r\n", [ADA]),
        ("email\rada@example.com", [ADA]),
        (f"{BOM}email\nada@example.com", [ADA]),
        ("email,license,locale,name\nada@example.com,licensed,de,Ada\n", [FULL]),
        ("email\tlicense\tlocale\tname\nada@example.com\tlicensed\tde\tAda\n", [FULL]),
        ("email;license;locale;name\nada@example.com;licensed;de;Ada\n", [FULL]),
        ("name,locale,license,email\nAda,de,licensed,ada@example.com\n", [FULL]),
        (f'{BOM}"Email" ; "LICENSE";locale;name\n ada@example.com ;Licensed;de;Ada', None),
        ("email , license\nada@example.com, basic\n", [ADA]),
        ("\n\nemail\n\nada@example.com\n ,\n\n", [ADA]),
        # Excel leaves out empty cells at the end of a row.
        ("email,license,locale\nada@example.com\n", [ADA]),
        ("email,license\nada@example.com,,,\n", [ADA]),
    ],
)
def test_files_of_common_spreadsheets_are_read(text: str, said: list[Person] | None) -> None:
    """REM-3: separators, quotes, byte order marks and missing cells."""
    file = read_people(io.BytesIO(text.encode()))
    if said is None:
        assert places(file) == [(1, None)]
    else:
        assert (people(file), file.errors) == (said, ())


def test_a_quoted_line_break_is_a_space_and_no_new_row() -> None:
    """TXT-3: control characters become one space."""
    text = 'email;name\nada@example.com;"Ada\r\n""the first""; Countess"\nnobody;Bob\n'
    file = read_people(io.BytesIO(text.encode()))
    assert file.rows[0].person.name == 'Ada "the first"; Countess'
    assert places(file) == [(3, "email")]


def test_empty_cells_take_the_defaults_of_the_request() -> None:
    """REM-3: license and locale."""
    text = "email,license,locale\nada@example.com,,\nbob@example.com,basic,fr\n"
    ada, bob = people(read_people(io.BytesIO(text.encode()), License.LICENSED, "pl"))
    assert (ada.license, ada.locale) == (License.LICENSED, "pl")
    assert (bob.license, bob.locale) == (License.BASIC, "fr")


@pytest.mark.parametrize(
    ("content", "errors"),
    [
        (b"", [(1, None)]),
        (b"\n \n", [(1, None)]),
        (b"email\n", [(1, None)]),
        (b"name\nAda\n", [(1, "email")]),
        (b"name,role\nAda,boss\n", [(1, "email"), (1, "role")]),
        (b"email,role,email,\nada@example.com\n", [(1, "role"), (1, "email"), (1, "column 4")]),
        (b"email,role\nada@example.com,boss\nada,boss\n", [(1, "role"), (3, "email")]),
        (b"email\n\xe9ric@example.com\n", [(2, "email")]),
        ("email\nada@example.com".encode("utf-16"), [(1, None)]),
    ],
)
def test_an_unreliable_file_is_reported_with_its_errors(
    content: bytes, errors: list[tuple[int, str | None]]
) -> None:
    """REM-3: no row of it is invited."""
    file = read_people(io.BytesIO(content))
    assert file.unreadable
    assert places(file) == errors


def test_every_error_is_reported_with_its_row_and_column() -> None:
    """REM-3, INV-2: the other rows are read."""
    text = (
        f"{BOM}email;license;locale;name\n"
        "ada@example.com;basic;de;Ada\n"
        "not an address;gold;?;Bob\n"
        ";basic;de;Nobody\n"
        "eve@example.com;basic;de;Eve;extra\n"
        '"mal"formed@example.com;basic;de;Mal\n'
        "zoe@example.com;licensed;sv;Zoë\n"
    )
    file = read_people(io.BytesIO(text.encode()))
    assert not file.unreadable
    assert places(file) == [
        (3, "email"),
        (3, "license"),
        (3, "locale"),
        (4, "email"),
        (5, None),
        (6, None),
    ]
    assert [error.code for error in file.errors[:2]] == [
        ErrorCode.INVALID_EMAIL,
        ErrorCode.INVALID_INPUT,
    ]
    good = [row.person.email for row in file.rows if not row.errors]
    assert good == ["ada@example.com", "zoe@example.com"]


def test_an_unclosed_quote_is_reported_where_it_opens() -> None:
    """REM-3: not at the end of the file."""
    file = read_people(io.BytesIO(b'email,name\nada@example.com,"Ada\nbob@example.com,Bob\n'))
    assert places(file) == [(2, None)]


def test_rows_below_an_unclosed_quote_are_not_read() -> None:
    """REM-3: they would otherwise be part of one cell."""
    text = 'email,name\nnobody,\nada@example.com,"Ada\nbob@example.com,"Bob"\neve@example.com,Eve\n'
    file = read_people(io.BytesIO(text.encode()))
    assert places(file) == [(2, "email"), (3, None)]
    assert [error.row for error in file.unreadable] == [3]
    assert file.unreadable[0].reason.endswith("; nothing below it can be read")


def test_bytes_that_are_not_utf_8_are_reported_by_row_and_column() -> None:
    """REM-3: the rows of a file in another encoding are unreliable."""
    text = 'email,name\na@example.com,"one\ntwo"\nb@example.com,M\xfcller\nc@example.com,J\xf6rg\n'
    file = read_people(io.BytesIO(text.encode("latin-1")))
    assert places(file) == [(3, "name"), (4, "name")]
    assert len(file.unreadable) == 2


def test_a_repeated_address_counts_once() -> None:
    """INV-2, INV-3: by the normalized address; the first row counts."""
    text = "email,license\nada@example.com,licensed\nbob@example.com,\n ADA@Example.com ,basic\n"
    file = read_people(io.BytesIO(text.encode()))
    assert [(person.email, person.license) for person in people(file)] == [
        ("ada@example.com", License.LICENSED),
        ("bob@example.com", License.BASIC),
    ]
    [repeated] = file.repeated
    assert (repeated.row, repeated.email, repeated.first_row) == (4, "ada@example.com", 2)


def test_the_place_of_an_error_is_text() -> None:
    """REM-3: row and column, as an operator reads them."""
    assert CsvError(row=3, column="email", reason="missing").place == "row 3, email"
    assert CsvError(row=3, column=None, reason="cut off").place == "row 3"


CELLS = st.sampled_from(
    [
        *("email", "license", "locale", "name", "ada@example.com", "ADA@example.com", "basic"),
        *(
            "gold",
            "de",
            "xx",
            "",
            " ",
            '"',
            '""',
            "'",
            "=cmd|x",
            "\0",
            "\x1b[2J",
            "strauß@x.example",
        ),
        *("a@127.0.0.1", "\ufeff", "\u2028", "x" * 200),
    ]
) | st.text(max_size=8)
FILES = st.binary(max_size=200) | st.lists(
    st.tuples(CELLS, st.sampled_from([",", ";", "\n", "\r\n", "\r", "\t", '"'])), max_size=40
).map(lambda parts: "".join(map("".join, parts)).encode())


@given(FILES | FILES.map(lambda content: b"email,license,locale,name\n" + content))
def test_any_file_is_read_or_has_errors(content: bytes) -> None:
    """REM-3: each address once, and every bad row with its place and reason on one line."""
    file = read_people(io.BytesIO(content))
    good = [normalized(row.person.email) for row in file.rows if not row.errors]
    assert len(set(good)) == len(good)
    for error in file.errors:
        assert error.row >= 1
        assert error.place == one_line(error.place)
        assert error.reason
    assert file.rows or file.unreadable
