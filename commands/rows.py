"""The output of commands for many people: one row for each (INV-2)."""

from collections.abc import Sequence

from pydantic import JsonValue
from rich.console import Group
from rich.text import Text

from commands import render_invitation
from commands.output import DONE, REFUSED, UNREACHABLE, CommandOutput, as_json
from domain.error import ErrorCode
from domain.invitation import Invitation, InviteResult

_MEMBERS = Invitation.model_fields


def print_results(
    output: CommandOutput, results: Sequence[InviteResult], summary: str = "", **members: JsonValue
) -> int:
    """Print every row on stdout; when all were refused, the first row's error on stderr too.

    A person reads the `summary` below the rows; the JSON document has `members` besides them.
    """
    rows = render_invitation.of_results(results)
    output.print(
        {"invitations": [_row(result) for result in results], **members},
        lambda: Group(rows, Text(summary, style="dim")) if summary else rows,
    )
    if not results or any(result.result != "refused" for result in results):
        return DONE
    error = results[0].error or {}
    unreachable = error.get("code") == ErrorCode.BACKEND_UNAVAILABLE
    return output.print_error_document(error, UNREACHABLE if unreachable else REFUSED)


def _row(result: InviteResult) -> dict[str, JsonValue]:
    if result.invitation:
        members = as_json(result.invitation)
    else:
        members = dict.fromkeys(field.alias or name for name, field in _MEMBERS.items())
    return {
        **members,
        "email": result.email,
        "result": result.result,
        "error": result.error,
        "note": result.note,
    }
