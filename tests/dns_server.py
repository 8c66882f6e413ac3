"""A real DNS server with scripted answers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread

from dnslib import CNAME, QTYPE, RCODE, RR, TXT, DNSError, DNSRecord
from dnslib.server import DNSHandler, DNSLogger, DNSServer

Answer = Sequence[str | Sequence[str]] | str
"""TXT records, each a string or its parts; or the name of an RCODE, or `silent`."""

DATAGRAM = 512
"""The bytes of a reply over UDP."""


@dataclass
class ScriptedDnsServer:
    """A server that knows the TXT records of `answers`; every other name does not exist."""

    address: tuple[str, int] = ("127.0.0.1", 0)
    answers: dict[str, Answer] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    """Names that refer to others by CNAME."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """The protocol and the name of each request."""

    @property
    def setting(self) -> str:
        """Return the value of SEATFLOW_DNS_SERVERS."""
        host, port = self.address
        return f"{host}:{port}"

    def resolve(self, request: DNSRecord, handler: DNSHandler) -> DNSRecord:
        """Return the reply to a request."""
        name = str(request.q.qname).removesuffix(".")
        self.asked.append((handler.protocol, name))
        reply = request.reply()
        if alias := self.aliases.get(name):
            reply.add_answer(RR(name, QTYPE.CNAME, rdata=CNAME(alias)))
            name = alias
        answer = self.answers.get(name, "NXDOMAIN")
        if answer == "silent":
            raise DNSError("no reply")
        if isinstance(answer, str):
            reply.header.rcode = getattr(RCODE, answer)
            return reply
        for value in answer:
            reply.add_answer(RR(name, QTYPE.TXT, rdata=TXT(value)))
        if handler.protocol == "udp" and len(reply.pack()) > DATAGRAM:
            # The client repeats the request over TCP. The library's own truncation drops the
            # question, and clients ignore a reply to no question.
            reply = request.reply()
            reply.header.tc = 1
        return reply


def _listening(scripted: ScriptedDnsServer) -> tuple[DNSServer, DNSServer]:
    """Return servers over UDP and TCP on one port, which another program may hold for TCP."""
    log = DNSLogger(logf=lambda line: None)
    while True:
        udp = DNSServer(scripted, "127.0.0.1", 0, logger=log)
        scripted.address = udp.server.server_address
        try:
            return udp, DNSServer(scripted, *scripted.address, tcp=True, logger=log)
        except OSError:
            udp.server.server_close()


@contextmanager
def running() -> Iterator[ScriptedDnsServer]:
    """Run a server on a free port, over UDP and TCP."""
    scripted = ScriptedDnsServer()
    udp, tcp = _listening(scripted)
    with udp.server, tcp.server:
        for server in (udp.server, tcp.server):
            # The library's own thread takes half a second to stop.
            Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield scripted
        for server in (udp.server, tcp.server):
            server.shutdown()
