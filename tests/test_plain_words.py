"""Plain words in code, documents and message catalogs.

`python -m tests.test_plain_words [PATH]…` prints every hit under the paths, and their number
for each top-level folder.
"""

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent

CHECKED = (
    ".ci",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Makefile",
    "README.md",
    "activities",
    "adapters",
    "bench",
    "clients",
    "commands",
    "devstack",
    "docs",
    "domain",
    "portal",
    "pyproject.toml",
    "runtime",
    "starter.py",
    "states",
    "tests",
    "worker.py",
    "workflows",
)
"""Files and folders that are checked."""

SUFFIXES = {"", ".j2", ".md", ".po", ".py", ".toml"}
"""Kinds of files that people read; the recorded histories are JSON."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


OPENINGS = _words(
    """
    as because how however since so such that unless until what whatever when whence whenever where
    whereas whereby wherever whether which whichever while who whoever whom whomever whose why
    """
)
"""First words of relative clauses and the like: no docstring opens with one."""

VERBS = _words(
    """
    abort accept acknowledge acquire activate adapt add adjust advance aggregate align allocate
    allow announce anonymize answer append apply approve arrange assemble assert assign attach
    attempt authenticate authorize await balance begin bill bind block book bound bridge build buy
    bypass cache calculate call cancel capture carry cascade catch change charge check choose claim
    classify clean clear click clone close coerce collect combine commit compare compile complete
    compose compress compute configure confirm connect consume continue control convert copy correct
    count cover create credit cut debit decide declare decline decode decorate decrement decrypt
    deduct deduplicate define delay delegate delete deliver deny derive describe deserialize detect
    determine digest disable discard disconnect dispatch display divide download drain draw drive
    drop dump duplicate edit emit enable encode encrypt end enforce enqueue ensure enter erase
    escape estimate evaluate exchange exclude execute exercise exit expand expect expire explain
    export extend extract fail feed fetch file fill filter find finish fire fit flag flush follow
    force forget format forward free freeze fulfil fulfill gather generate get give grant group grow
    guard guess handle hash hide hold identify ignore implement import include increase increment
    indicate infer inform initialize inject insert inspect install interpret interrupt introduce
    invalidate invite invoke isolate issue iterate join journal jump keep kill label launch leave
    lease limit link list load locate lock log lower make map mark mask match measure mention merge
    migrate minimize mirror mock modify monitor mount move multiply name narrow negotiate nest
    normalize note notify number observe obtain offer omit open order override pad parse partition
    pass patch pause pay perform persist pick place plan play plot point poll populate post postpone
    prefer prefix prepare present preserve prevent preview price prime print prioritize probe
    process produce promote propose prorate protect prove provide prune publish pull purge push put
    query queue quote raise rank reach read rebuild recalculate receive recheck recognize recommend
    recompute reconcile reconnect record recover redirect reduce refer refresh refund refuse
    register reject relate relay release reload remember remind remove rename render renew reopen
    repair repeat replace replay reply report represent reproduce request require reschedule resend
    reserve reset resolve respond restart restore restrict resume retrieve retry return reuse
    reverse revoke rewrite roll rotate round route run sample save scale scan schedule search select
    send separate serialize serve set settle shift ship shorten show shut sign signal simulate skip
    sleep slice sort spawn split spread stamp start state stay step stop store stream strip submit
    subscribe substitute subtract sum summarize supersede supply support suppress suspend swap
    switch synchronize tag tally terminate test throw time touch track transfer transform translate
    transmit trigger trim truncate try turn unassign unblock undo unlink unlock unpack unregister
    unsubscribe unwrap update upgrade upload upsert use validate verify view visit void wait wake
    warm warn watch wipe withdraw wrap write yield zip
    """
)
"""Verbs that open function docstrings; not ask, bring, let, look, say, take or tell."""

_NOT_A_LETTER_BEFORE = r"(?<![A-Za-z])"
_NOT_A_LETTER_AFTER = r"(?![A-Za-z])"
_BETWEEN = r"""[\s_#"']+"""
"""Space in prose, an underscore in a name, a line break in comments and strings."""

_PHRASES = (
    "anew",
    "whoever",
    "nobody here wants",
    "of before",
    "of now",
    "slip of somebody's hand",
    "(?:want|wants|wanted) an operator",
    "(?:come|comes|came|coming) to rest",
    "(?:leave|leaves|leaving|left) alone",
    "(?:take|takes|taking|taken|took) up(?! to)",
    "(?:bring|brings|bringing|brought) in",
    "(?:is|are|was|were|be|been|being) told",
    "(?:look|looks|looked|looking) again",
)
NOT_USED = re.compile(
    _NOT_A_LETTER_BEFORE
    + "(?:"
    + "|".join(phrase.replace(" ", _BETWEEN) for phrase in _PHRASES)
    + ")"
    + _NOT_A_LETTER_AFTER,
    re.IGNORECASE,
)

_RULE_IDS = re.compile(r"(?:(?:to |and )?[A-Z]{3}(?:-\d+|(?=:))[,;:]?\s+)+")
_FIRST_WORD = re.compile(r"[A-Za-z][A-Za-z’']*")
_PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PROPERTIES = frozenset(
    ["cached_property", "computed_field", "hybrid_property", "property", "setter"]
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, order=True)
class Hit:
    """A place whose words are not plain."""

    path: Path
    line: int
    fault: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.fault}"

    @property
    def folder(self) -> str:
        """Top-level folder or file."""
        return self.path.parts[0]


@dataclass(frozen=True)
class Docstring:
    """A string that documents a module, a class, a function or an attribute."""

    line: int
    first_word: str
    capitalized: bool
    needs_verb: bool


def hits(*names: str) -> list[Hit]:
    """Return the hits in files and folders of the repository, in order."""
    found = set[Hit]()
    for name in names:
        top = ROOT / name
        for path in [top] if top.is_file() else sorted(top.rglob("*")):
            if path.is_file() and path.suffix in SUFFIXES and path != Path(__file__):
                text = path.read_text(encoding="utf-8")
                place = path.relative_to(ROOT)
                found |= {Hit(place, line, fault) for line, fault in faults(text, path.suffix)}
    return sorted(found)


def faults(text: str, suffix: str) -> Iterator[tuple[int, str]]:
    """Yield the line and a description of each fault in a file."""
    if suffix == ".po":
        text = _source_messages(text)
    for found in NOT_USED.finditer(text):
        words = " ".join(found[0].split())
        yield _line_of(found.start(), text), f"“{words}” is not used"
    if suffix == ".py":
        yield from _docstring_faults(text)
    elif suffix == ".md":
        for block in _PYTHON_BLOCK.finditer(text):
            above = _line_of(block.start(1), text) - 1
            for line, fault in _docstring_faults(block[1]):
                yield line + above, fault


def _docstring_faults(source: str) -> Iterator[tuple[int, str]]:
    for docstring in _docstrings(ast.parse(source)):
        word = docstring.first_word
        if word.lower() in OPENINGS:
            yield docstring.line, f"docstring opens with “{word}”"
        elif docstring.needs_verb and word.lower() not in VERBS:
            yield docstring.line, f"function docstring opens with “{word}”, which is no listed verb"
        elif docstring.needs_verb and not docstring.capitalized:
            yield docstring.line, f"function docstring opens with “{word}” in lower case"


def _docstrings(tree: ast.Module) -> Iterator[Docstring]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | Function):
            needs_verb = isinstance(node, Function) and not (_is_test(node) or _is_property(node))
            for before, statement in zip([None, *node.body], node.body, strict=False):
                documents = before is None or isinstance(before, ast.Assign | ast.AnnAssign)
                match statement:
                    case ast.Expr(value=ast.Constant(value=str(text))) if documents:
                        yield _docstring(text, statement.lineno, before is None and needs_verb)


def _docstring(text: str, line: int, needs_verb: bool) -> Docstring:
    words = _RULE_IDS.sub("", text.strip(), count=1)
    found = _FIRST_WORD.match(words)
    word = found[0] if found else words[:1]
    return Docstring(line, word, word[:1].isupper(), needs_verb)


def _is_test(function: Function) -> bool:
    """Return whether it is a test, whose docstring is a sentence."""
    return function.name.startswith("test_")


def _is_property(function: Function) -> bool:
    """Return whether it is read like an attribute, whose docstring is a noun phrase."""
    return any(
        _PROPERTIES & {name.id for name in ast.walk(decorator) if isinstance(name, ast.Name)}
        or (isinstance(decorator, ast.Attribute) and decorator.attr in _PROPERTIES)
        for decorator in function.decorator_list
    )


def _source_messages(catalog: str) -> str:
    """Return a catalog's English messages on their lines, without quotes and translations."""
    lines, kept = [], False
    for line in catalog.split("\n"):
        if not line.startswith('"'):
            kept = line.startswith("msgid")
        lines.append(line.replace('"', " ") if kept else "")
    return "\n".join(lines)


def _line_of(position: int, text: str) -> int:
    return text.count("\n", 0, position) + 1


def test_code_documents_and_catalogs_use_plain_words() -> None:
    """The hits name file, line and fault."""
    found = hits(*CHECKED)
    assert not found, "\n".join(["words that are not plain:", *map(str, found)])


def test_every_package_is_checked() -> None:
    assert {init.parent.name for init in ROOT.glob("*/__init__.py")} <= set(CHECKED)


def test_each_fault_is_found_at_its_line() -> None:
    """Docstrings of modules, classes, functions and attributes are checked, and every phrase."""
    source = '''\
"""What a module is for."""

LIMIT = 3
"""How many there are."""


class Pool:
    """Whoever waits."""

    def free(self) -> int:
        """The free licenses."""
        # The rest is left
        # alone.
        return 0

    def release(self) -> None:
        """release a license."""
        self._take_up_waiting()
'''
    assert sorted(faults(source, ".py")) == [
        (1, "docstring opens with “What”"),
        (4, "docstring opens with “How”"),
        (8, "docstring opens with “Whoever”"),
        (8, "“Whoever” is not used"),
        (11, "function docstring opens with “The”, which is no listed verb"),
        (12, "“left # alone” is not used"),
        (17, "function docstring opens with “release” in lower case"),
        (18, "“take_up” is not used"),
    ]


def test_plain_words_pass() -> None:
    """A rule id may precede the verb; a test or property needs none."""
    source = '''\
"""The pools of an account."""


class Pool:
    """Licenses of one kind."""

    @property
    def free(self) -> int:
        """Licenses that can be assigned; at most as many as take up to a day to arrive."""
        return 0

    def release(self) -> None:
        """ADD-6, ADD-7: Release a license."""


def test_a_pool_is_never_negative() -> None:
    """ASG-6: the last license is assigned once."""
'''
    assert not list(faults(source, ".py"))


def test_of_a_catalog_only_the_english_messages_are_read() -> None:
    """TXT-1: translations follow the rules of their languages."""
    catalog = 'msgid ""\n"You are "\n"told."\nmsgstr ""\n"anew"\n'
    assert list(faults(catalog, ".po")) == [(2, "“are told” is not used")]


def test_python_blocks_of_a_document_are_read() -> None:
    """An example in a document is checked like a module."""
    page = '# Page\n\n```python\ndef price() -> int:\n    """The price."""\n```\n'
    fault = "function docstring opens with “The”, which is no listed verb"
    assert list(faults(page, ".md")) == [(5, fault)]


if __name__ == "__main__":
    every = hits(*(sys.argv[1:] or CHECKED))
    print(*every, sep="\n")
    for folder, count in sorted(Counter(hit.folder for hit in every).items()):
        print(f"{count:5} {folder}")
