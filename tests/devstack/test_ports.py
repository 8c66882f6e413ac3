"""Ports that are free when they are asked for, and still when a server comes to listen."""

import socket

import pytest

from devstack.ports import HOST, Ports, free_port


def test_a_free_port_is_kept_from_whoever_asks_for_any() -> None:
    port = free_port()
    with socket.socket() as somebody, pytest.raises(OSError, match="in use"):
        somebody.bind((HOST, port))
    socket.create_server((HOST, port)).close()


def test_the_parts_of_a_stack_have_different_ports() -> None:
    ports = Ports.free()
    ports.require_free()
    assert len({ports.temporal, ports.ui, ports.smtp, ports.portal}) == 4
