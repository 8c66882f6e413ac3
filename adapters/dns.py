"""Look-ups in DNS."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import dns.asyncresolver
from dns.exception import DNSException
from dns.nameserver import Do53Nameserver
from dns.rdatatype import TXT
from dns.rdtypes.txtbase import TXTBase
from dns.resolver import NXDOMAIN

from domain.error import Unavailable

TIMEOUT: Final = timedelta(seconds=5)
"""Longest time of a look-up: a command reports an error within ten seconds."""


class DnsResolver:
    """The `TxtResolver` over DNS servers, by default those of the system."""

    def __init__(
        self, servers: Sequence[tuple[str, int]] = (), timeout: timedelta = TIMEOUT
    ) -> None:
        """Set the addresses and ports of the servers, and the longest time of a look-up."""
        self._servers = servers
        self._timeout = timeout

    async def txt_records(self, name: str) -> Sequence[str]:
        """Return the TXT records of a name; none if it has none or does not exist."""
        try:
            answer = await self._resolver().resolve(
                f"{name}.", TXT, raise_on_no_answer=False, lifetime=self._timeout.total_seconds()
            )
        except NXDOMAIN:
            return []
        except (DNSException, OSError) as failure:
            raise Unavailable(f"DNS does not answer for {name}: {failure}") from None
        return [
            b"".join(record.strings).decode(errors="replace")
            for record in answer.rrset or ()
            if isinstance(record, TXTBase)
        ]

    def _resolver(self) -> dns.asyncresolver.Resolver:
        resolver = dns.asyncresolver.Resolver(configure=not self._servers)
        if self._servers:
            resolver.nameservers = [Do53Nameserver(*server) for server in self._servers]
        return resolver
