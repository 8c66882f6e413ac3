"""Commands for the keys of the settings."""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from commands.output import CommandOutput
from domain.error import Unavailable

if TYPE_CHECKING:
    from runtime.settings import Settings

app = typer.Typer(name="keys", help="The keys of the settings.", rich_markup_mode="markdown")


@app.command("show-id-key", epilog="Example: seatflow keys show-id-key")
def show_id_key(context: typer.Context) -> None:
    """Print the id key in the form in which SEATFLOW_ID_KEY takes it. It is a secret.

    Once SEATFLOW_ID_KEY is set to it, no secret key is needed for it, and each can be removed.
    An id key that is not the database's is refused.
    """
    from runtime.settings import load_settings

    settings = load_settings()
    id_key = f"hex:{settings.id_key.hex()}"
    asyncio.run(_check(settings))
    CommandOutput.of(context).print(
        {"id_key": id_key, "fingerprint": settings.id_key_fingerprint},
        lambda: Text(id_key, no_wrap=True, overflow="ignore"),
    )


async def _check(settings: "Settings") -> None:
    from runtime.store import open_store

    # The key is also needed before `setup`, and after a loss of the database.
    with suppress(Unavailable):
        async with open_store(settings) as store:
            await store.check_id_key(settings.id_key_fingerprint)
