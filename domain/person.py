"""People: the data that the store has about one, and their pseudonym once they are forgotten."""

import re
from collections.abc import Mapping, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final
from urllib.parse import quote

from pydantic import JsonValue

from domain.address import is_address, mask_addresses, masked
from domain.model import Value

FORGOTTEN: Final = "forgotten.invalid"
"""The domain of pseudonyms. RFC 2606 reserves `.invalid`: nobody can have an address there."""

_NAMES_OWNER: Final = ("email", "id", "host", "to")
"""The members that say whose name the member `name` of the same object is."""


def pseudonym(token: str) -> str:
    """Return the address that takes the place of a forgotten person's; `token` is random."""
    return f"forgotten-{token}@{FORGOTTEN}"


def is_pseudonym(address: str) -> bool:
    """Return whether the address is that of a forgotten person."""
    return address.endswith(f"@{FORGOTTEN}")


class Forgotten(Value):
    """The numbers of rows by table; both are empty when the store has nothing about the person."""

    forgotten: dict[str, int]
    """Rows that named the person or had their content: deleted, or rewritten."""
    kept: dict[str, int]
    """Rows of theirs that stay, with the pseudonym in place of the person."""


class PersonalData(Value):
    """Everything that the store has about one person, by table.

    Other people appear with masked addresses and without names.
    """

    email: str
    records: dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Redaction:
    """The replacement of a person by a pseudonym, in texts and in JSON documents."""

    pseudonym: str
    addresses: Set[str]
    """The normalized address, and those as written."""
    keys: Mapping[str, str]
    """The hashes of the address in workflow ids, with those that replace them."""
    names: Set[str]
    """The person's names, and those of accounts that were theirs alone."""

    @property
    def alias(self) -> str:
        """Return the pseudonym in the place of a name."""
        return self.pseudonym.partition("@")[0]

    def text(self, text: str) -> str:
        """Return the text without address, hash and name.

        A name is replaced within sentences, and where it is the whole text. An id is a whole text
        without capitals: it is never a name.
        """
        for key, other in self.keys.items():
            text = text.replace(key, other)
        text = self._address.sub(self.pseudonym, text)
        for own in self.addresses:
            text = text.replace(masked(own), masked(self.pseudonym))
        if self._name is None:
            return text
        if re.search(r"\s", text):
            return self._name.sub(self.alias, text)
        return self.alias if text in self.names and text != text.lower() else text

    def document(self, document: JsonValue) -> JsonValue:
        """Return the document with every text in it replaced.

        Another person may have the same name: theirs stays.
        """
        match document:
            case str():
                return self.text(document)
            case list():
                return [self.document(each) for each in document]
            case dict():
                of_another = names_another(document, self.addresses)
                return {
                    self.text(key): each if key == "name" and of_another else self.document(each)
                    for key, each in document.items()
                }
        return document

    @cached_property
    def _address(self) -> re.Pattern[str]:
        return address_pattern(self.addresses)

    @cached_property
    def _name(self) -> re.Pattern[str] | None:
        longest_first = sorted(self.names, key=len, reverse=True)
        if not longest_first:
            return None
        return re.compile(
            rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)", re.IGNORECASE
        )


def address_pattern(addresses: Set[str]) -> re.Pattern[str]:
    """Return the pattern of these addresses within a text, in any case, also URL-encoded."""
    forms = {*addresses, *(quote(each) for each in addresses)}
    longest_first = sorted(forms, key=len, reverse=True)
    # Neither the end of a longer local part nor the beginning of a longer domain.
    return re.compile(
        rf"(?<![\w.+-])(?:{'|'.join(map(re.escape, longest_first))})(?![\w-]|\.\w)", re.IGNORECASE
    )


def names_another(document: Mapping[str, JsonValue], addresses: Set[str]) -> bool:
    """Return whether the object is about a person with another address than these."""
    owners = (document.get(member) for member in _NAMES_OWNER)
    found = [each for each in owners if isinstance(each, str) and is_address(each)]
    return bool(found) and all(each.lower() not in addresses for each in found)


def disclosed(document: JsonValue, addresses: Set[str]) -> JsonValue:
    """Return the document as the person with these addresses may see it.

    Other people's addresses are masked, and their names are left out.
    """
    match document:
        case str():
            return mask_addresses(document, but=addresses)
        case list():
            return [disclosed(each, addresses) for each in document]
        case dict():
            of_another = names_another(document, addresses)
            return {
                mask_addresses(key, but=addresses): None
                if key == "name" and of_another
                else disclosed(each, addresses)
                for key, each in document.items()
            }
    return document
