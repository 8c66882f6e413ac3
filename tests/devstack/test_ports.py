"""Free ports, which stay free until a server listens on them."""

import socket

import pytest

from devstack.ports import HOST, Ports, free_port


def test_a_free_port_is_not_assigned_to_another_program() -> None:
    """`demo`: it can only be bound by a server that reuses addresses."""
    port = free_port()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind((HOST, port))
    socket.create_server((HOST, port)).close()


def test_the_parts_of_a_stack_have_different_ports() -> None:
    """`demo`: four servers listen at the same time."""
    ports = Ports.free()
    ports.require_free()
    assert len({ports.temporal, ports.ui, ports.smtp, ports.portal}) == 4
