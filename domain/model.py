"""The base of every value that crosses a wire."""

from pydantic import BaseModel, ConfigDict


class Value(BaseModel):
    """An immutable value.

    Fields that a reader does not know are ignored: a worker of the last release
    must be able to read what one of the next release has written.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True)
