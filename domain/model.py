"""The base of every value that is sent to or from a workflow."""

from pydantic import BaseModel, ConfigDict


class Value(BaseModel):
    """An immutable value.

    Unknown fields are ignored: a worker of the previous release must be able to read what one of
    the next release has written.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True)
