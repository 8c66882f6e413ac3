"""Taking a person's data along to the account that they have joined (TRF)."""

from typing import Protocol

from pydantic import AwareDatetime

from domain.invitation import Invitation
from domain.manifest import Change, Item, Manifest, ManifestItem
from domain.model import Value


class MoveData(Value):
    """Move what the manifest names as unfinished."""

    invitation_id: str
    account: str
    """The account that was joined."""
    email: str
    """The normalized address of the person whose data it is."""
    manifest: Manifest
    at: AwareDatetime
    """When this was ordered, in workflow time."""
    give_up_at: AwareDatetime | None = None
    """From this instant on, what still fails is given up: `failed`. Until then it is tried
    again. None: one try, and what fails stays `pending`."""


class DataMoved(Value):
    """What became of the manifest."""

    manifest: Manifest


class MoveItem(Value):
    """Move one kind of data."""

    invitation_id: str
    account: str
    email: str
    item: Item


class ItemMoved(Value):
    """One kind of data is where the person is."""

    count: int
    changes: tuple[Change, ...] = ()


class Unmovable(Exception):
    """A service says that it will never move this."""


class ContentServices(Protocol):
    """The services that keep people's meetings, recordings, settings and so on."""

    async def move(self, order: MoveItem) -> ItemMoved:
        """Move it once per invitation and item; a repeat returns the first result.

        Raises `Unmovable`. Any other exception: not moved, try again.
        """


class ManifestStore(Protocol):
    """The store, as far as the move needs it."""

    async def keep_item(self, invitation_id: str, item: ManifestItem) -> Invitation:
        """Keep how far an item has come, also after the invitation was completed.

        The record that is kept then; `with_errors` says whether any item has failed.
        """
