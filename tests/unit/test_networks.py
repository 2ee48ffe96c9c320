"""Where visitors come from, as far as limits need it."""

from __future__ import annotations

from typing import Any

import pytest

from core import visitors as module
from core.hosts import network_of
from core.visitors import Visitors


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("testclient", ""),
        ("/run/parley.sock", ""),
    ],
)
def test_networks(address: str, network: str) -> None:
    assert network_of(address) == network


async def ask(visitors: Visitors, client: tuple[str, int] | None, path: str = "/") -> str:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(dict(scope["headers"]).get(b"x-parley-visitor", b"").decode())

    scope = {"type": "http", "path": path, "root_path": "", "scheme": "http", "headers": [], "client": client}
    await visitors.middleware(app)(scope, None, None)  # type: ignore[arg-type]
    return seen[0]


async def test_the_network_of_a_visitor_is_that_of_the_last_request(settings) -> None:
    visitors = Visitors(settings(PARLEY_SHARED="on"))
    visitor = await ask(visitors, ("2001:db8:1:2:3:4:5:6", 1234))
    assert visitors.network_of(visitor) == "2001:db8:1:2::/64"
    assert visitors.network_of(await ask(visitors, None)) == visitors.network_of("nobody") == ""


async def test_not_all_visitors_are_remembered_for_ever(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_NETWORKS", 3)
    visitors = Visitors(settings(PARLEY_SHARED="on"))
    made = [await ask(visitors, (f"203.0.113.{number}", 1)) for number in range(5)]
    assert [visitors.network_of(visitor) for visitor in made] == ["", "", *(f"203.0.113.{n}" for n in (2, 3, 4))]
