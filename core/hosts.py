"""Hosts, networks and origins: which are this machine's own, how they are written. It imports nothing of core."""

from __future__ import annotations

import ipaddress
import re
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


def networks(text: str) -> tuple[str, ...]:
    """Addresses and networks with spaces or commas between, as networks. ValueError says which is neither."""
    found = []
    for item in re.split(r"[,\s]+", text.strip()):
        if item:
            try:
                found.append(str(ipaddress.ip_network(item)))
            except ValueError:
                raise ValueError(f"has {item!r}, which is not an address or a network like 10.0.0.0/8") from None
    return tuple(found)


def origins(text: str) -> tuple[str, ...]:
    """Origins of web pages with spaces or commas between. ValueError says which is none."""
    found = []
    for item in re.split(r"[,\s]+", text.strip().lower()):
        if item and not re.fullmatch(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(:[0-9]{1,5})?", item):
            raise ValueError(f"has {item!r}, which is not an origin like https://app.example")
        if item:
            found.append(item)
    return tuple(found)
