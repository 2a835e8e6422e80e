"""Pages that are shown on this machine alone: bound to loopback, and asked for by a name of loopback."""

from __future__ import annotations

import ipaddress

ADDRESS = "127.0.0.1"
IDLE_S = 30.0  # after which a connection that says nothing is closed
_NAMES = ("127.0.0.1", "localhost")


def is_loopback(host: str) -> bool:
    """Return whether a host, without a port, is this machine and reached by nobody else."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_own_name(host: str) -> bool:
    """Return whether a request's Host header names this machine.

    The page of another site could reach loopback under its own name (DNS rebinding), and is to get no answer.
    """
    name, _, port = host.partition(":")
    return name in _NAMES and (not port or port.isdecimal())
