"""Look-ups over a real DNS server."""

import time
from collections.abc import Iterator
from datetime import timedelta

import pytest

from adapters.dns import DnsResolver
from domain.error import Unavailable
from tests import dns_server
from tests.dns_server import ScriptedDnsServer

NAME = "_seatflow-challenge.acme.example"


@pytest.fixture
def server() -> Iterator[ScriptedDnsServer]:
    with dns_server.running() as server:
        yield server


def resolver(server: ScriptedDnsServer, seconds: float = 5) -> DnsResolver:
    return DnsResolver([server.address], timedelta(seconds=seconds))


async def test_all_txt_records_of_a_name_are_returned(server: ScriptedDnsServer) -> None:
    """INV-18: others may stand at the same name; the strings of one record are joined."""
    server.answers[NAME] = ["v=spf1 -all", ["seatflow-", "verification=1"]]
    assert sorted(await resolver(server).txt_records(NAME)) == [
        "seatflow-verification=1",
        "v=spf1 -all",
    ]


async def test_an_alias_is_followed(server: ScriptedDnsServer) -> None:
    """INV-18: a company may delegate the name to another zone."""
    server.aliases[NAME] = "proofs.example"
    server.answers["proofs.example"] = ["seatflow-verification=1"]
    assert await resolver(server).txt_records(NAME) == ["seatflow-verification=1"]


@pytest.mark.parametrize("answer", ["NXDOMAIN", []], ids=["no name", "no record"])
async def test_a_missing_record_is_no_failure(
    server: ScriptedDnsServer, answer: str | list[str]
) -> None:
    """INV-18: the name does not exist, or has records of other types alone."""
    server.answers[NAME] = answer
    assert await resolver(server).txt_records(NAME) == []


async def test_long_answers_arrive_over_tcp(server: ScriptedDnsServer) -> None:
    """INV-18: more records than fit in one datagram."""
    server.answers[NAME] = [f"{number:0200}" for number in range(20)]
    assert len(await resolver(server).txt_records(NAME)) == 20
    assert {protocol for protocol, _ in server.asked} == {"udp", "tcp"}


async def test_only_the_name_itself_is_looked_up(server: ScriptedDnsServer) -> None:
    """INV-18: no search domain of this machine is appended."""
    await resolver(server).txt_records(NAME)
    assert {name for _, name in server.asked} == {NAME}


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED"])
async def test_a_failing_server_is_a_failure(server: ScriptedDnsServer, rcode: str) -> None:
    """INV-18: nothing is known of the record."""
    server.answers[NAME] = rcode
    with pytest.raises(Unavailable, match=rcode):
        await resolver(server).txt_records(NAME)


async def test_a_silent_server_is_a_failure_after_the_timeout(server: ScriptedDnsServer) -> None:
    """INV-18: a look-up ends in time, whatever the server does."""
    server.answers[NAME] = "silent"
    started_at = time.monotonic()
    with pytest.raises(Unavailable, match=NAME):
        await resolver(server, seconds=0.3).txt_records(NAME)
    assert time.monotonic() - started_at < 2


async def test_bytes_that_are_no_text_are_read(server: ScriptedDnsServer) -> None:
    """INV-18: the records of others may hold anything."""
    server.answers[NAME] = ["\N{SNOWMAN}", "seatflow-verification=1"]
    assert "seatflow-verification=1" in await resolver(server).txt_records(NAME)
