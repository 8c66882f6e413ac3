"""The base of every value that crosses a wire."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

_FIELD_SETS: dict[frozenset[str], set[str]] = {}
"""What pydantic notes for each value, the fields that were given; once for all alike.

A pending invitation is eight values, and its own notes would be 4 KiB of it.
"""


class Value(BaseModel):
    """An immutable value.

    Fields that a reader does not know are ignored: a worker of the last release
    must be able to read what one of the next release has written.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    def model_post_init(self, context: Any) -> None:
        """Share the note of which fields were given."""
        self._share_field_set()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy that shares it as well."""
        copy = super().model_copy(update=update, deep=deep)
        copy._share_field_set()
        return copy

    def _share_field_set(self) -> None:
        given = self.__pydantic_fields_set__
        shared = _FIELD_SETS.setdefault(frozenset(given), given)
        object.__setattr__(self, "__pydantic_fields_set__", shared)
