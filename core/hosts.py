"""What host names and addresses say: whether they are this machine's own, and whose. It imports nothing of core."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_loopback(name: str) -> bool:
    """Whether a host's name or address, with or without brackets, is reached from this machine only."""
    name = name.strip("[]").lower()
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def network_of(address: str) -> str:
    """The network that an address belongs to, as far as one household or office has it: an IPv6 /64, an IPv4 address.

    "" for what is no address.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is None:
            return str(ipaddress.ip_network((found, 64), strict=False))
        found = found.ipv4_mapped
    return str(found)


def host_of(address: str) -> str:
    """The host of a URL, or of what a Host header holds; "" if there is none."""
    try:
        return urlsplit(address if "//" in address else f"//{address}").hostname or ""
    except ValueError:
        return ""
