"""Visitors: cookies that cannot be forged, keys that are nowhere to be read, streams that pass through untouched."""

from __future__ import annotations

import asyncio
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from itsdangerous import TimestampSigner

from core.errors import BadRequest
from core.settings import Settings
from core.visitors import KEYS_LIFE, MOST_SESSIONS, YEAR, Visitors, clean_key

MakeSettings = Callable[..., Settings]
KEY = "sk-ant-very-secret-0123456789"


class Browser:
    """Sends requests through the middleware and keeps cookies as a browser does."""

    def __init__(self, visitors: Visitors, *, scheme: str = "http") -> None:
        self.app = visitors.middleware(self._answer)
        self.scheme = scheme
        self.cookies: dict[str, str] = {}
        self.set_cookie: list[str] = []
        self.seen: dict[str, str] = {}
        self.sent: list[Any] = []

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        names = [name for name, _ in scope["headers"]]
        assert len(names) == len(set(names)), "a header that we own stands there twice"
        self.seen = {name.decode(): value.decode() for name, value in scope["headers"]}
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-own", b"1")]})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await send({"type": "http.response.body", "body": b"two", "more_body": False})

    async def get(self, path: str = "/", **headers: str) -> tuple[str, str]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookies:
            sent["cookie"] = "; ".join(["theme={dark:1}", *(f"{n}={v}" for n, v in self.cookies.items())])
        scope = {
            "type": "http",
            "path": path,
            "root_path": "",
            "scheme": self.scheme,
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
        }
        self.sent = []

        async def send(message: Any) -> None:
            self.sent.append(message)

        async def receive() -> Any:
            raise AssertionError("the middleware must not read the request")

        await self.app(scope, receive, send)
        start = self.sent[0]
        self.set_cookie = [value.decode() for name, value in start["headers"] if name == b"set-cookie"]
        for cookie in self.set_cookie:
            name, _, value = cookie.split(";")[0].partition("=")
            self.cookies[name] = value
        return self.seen.get("x-parley-visitor", ""), self.seen.get("x-parley-session", "")


@pytest.fixture
def shared(settings: MakeSettings) -> Visitors:
    return Visitors(settings(PARLEY_SHARED="on"))


async def test_a_visitor_is_known_again_and_gets_no_second_cookie(shared: Visitors) -> None:
    browser = Browser(shared)
    first = await browser.get()
    assert all(first) and len(browser.set_cookie) == 2
    assert await browser.get() == first
    assert browser.set_cookie == []
    assert await Browser(shared).get() != first


async def test_on_a_local_machine_there_is_one_visitor(settings: MakeSettings) -> None:
    visitors = Visitors(settings())
    one, two = Browser(visitors), Browser(visitors)
    (visitor, session), (other, other_session) = await one.get(), await two.get()
    assert visitor == other == "local"
    assert session != other_session
    assert [cookie for cookie in one.set_cookie if "visitor" in cookie] == []


async def test_what_the_cookies_allow(shared: Visitors) -> None:
    browser = Browser(shared)
    await browser.get()
    session, visitor = sorted(browser.set_cookie)
    for cookie in (session, visitor):
        assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and "Path=/" in cookie
        assert "Secure" not in cookie
    assert f"Max-Age={YEAR}" in visitor
    assert "Max-Age" not in session and "Expires" not in session


async def test_cookies_work_in_a_frame_on_https(shared: Visitors) -> None:
    browser = Browser(shared, scheme="https")
    await browser.get()
    assert len(browser.set_cookie) == 2
    for cookie in browser.set_cookie:
        assert "SameSite=None; Secure; Partitioned" in cookie


async def test_incoming_headers_are_stripped(shared: Visitors) -> None:
    visitor, session = await Browser(shared).get(x_parley_visitor="somebody-else", X_Parley_Session="theirs")
    assert visitor != "somebody-else" and session != "theirs"
    browser = Browser(shared)
    await browser.get("/v1/models", x_parley_visitor="somebody-else")
    assert "x-parley-visitor" not in browser.seen


@pytest.mark.parametrize(
    "forge",
    [
        lambda value: "somebody",
        lambda value: "x" + value,
        lambda value: value[:-2] + ("aa" if value[-2:] != "aa" else "bb"),
        lambda value: "",
        lambda value: "\xe9.\xff.\x00",
        lambda value: "a" * 100_000,
        lambda value: TimestampSigner("guessed", salt="parley.visitor").sign("admin").decode(),
        lambda value: ".".join([value.split(".")[0], "________", value.split(".")[2]]),
    ],
)
async def test_a_forged_cookie_makes_a_new_visitor(shared: Visitors, forge: Callable[[str], str]) -> None:
    browser = Browser(shared)
    visitor, _ = await browser.get()
    name = next(name for name in browser.cookies if "visitor" in name)
    browser.cookies[name] = forge(browser.cookies[name])
    other, _ = await browser.get()
    assert other and other != visitor and other not in ("admin", "somebody")
    assert len(browser.set_cookie) == 1


async def test_a_session_cookie_is_no_visitor_cookie(shared: Visitors) -> None:
    browser = Browser(shared)
    visitor, session = await browser.get()
    by_kind = {name.split("_")[1]: name for name in browser.cookies}
    browser.cookies[by_kind["visitor"]] = browser.cookies[by_kind["session"]]
    other, _ = await browser.get()
    assert other not in (visitor, session)


async def test_old_cookies(shared: Visitors, monkeypatch: pytest.MonkeyPatch) -> None:
    def aged(seconds: float) -> Browser:
        browser = Browser(shared)
        now = TimestampSigner.get_timestamp(None)  # type: ignore[arg-type]
        with monkeypatch.context() as patch:
            patch.setattr(TimestampSigner, "get_timestamp", lambda self: now - int(seconds))
            browser.cookies = {
                shared.cookie_name(kind): shared.cookie(kind, "known", https=False)
                .decode()
                .split(";")[0]
                .partition("=")[2]
                for kind in ("visitor", "session")
            }
        return browser

    assert await aged(29 * 86400).get() == ("known", "known")

    renewed = aged(200 * 86400)
    visitor, session = await renewed.get()
    assert visitor == "known" and session != "known"
    assert any("parley_visitor" in cookie for cookie in renewed.set_cookie), (
        "renewed, so that regulars are not forgotten"
    )

    visitor, _ = await aged(YEAR + 10).get()
    assert visitor != "known"


async def test_streams_are_not_touched(shared: Visitors) -> None:
    browser = Browser(shared)
    await browser.get()
    assert [message["type"] for message in browser.sent] == ["http.response.start"] + ["http.response.body"] * 2
    assert (b"x-own", b"1") in browser.sent[0]["headers"]
    assert browser.sent[1]["body"] == b"one"


async def test_two_servers_on_one_host_leave_each_others_cookies_alone(settings: MakeSettings, tmp_path: Path) -> None:
    one = Visitors(settings(PARLEY_SHARED="on"))
    two = Visitors(settings(PARLEY_SHARED="on", PARLEY_DATA_DIR=str(tmp_path / "other")))
    browser = Browser(one)
    first = await browser.get()
    browser.app = two.middleware(browser._answer)
    await browser.get()
    browser.app = one.middleware(browser._answer)
    assert await browser.get() == first


async def test_the_secret_outlives_a_restart_and_is_private(settings: MakeSettings) -> None:
    made = settings(PARLEY_SHARED="on")
    browser = Browser(Visitors(made))
    first = await browser.get()
    assert stat.S_IMODE((made.data_dir / "secret").stat().st_mode) == 0o600
    browser.app = Visitors(made).middleware(browser._answer)
    assert await browser.get() == first


async def test_a_half_written_secret_is_replaced(settings: MakeSettings) -> None:
    made = settings()
    made.data_dir.mkdir(parents=True)
    (made.data_dir / "secret").write_text("")
    Visitors(made)
    assert len((made.data_dir / "secret").read_text()) > 40


async def test_the_secret_can_be_given(settings: MakeSettings) -> None:
    made = settings(PARLEY_SHARED="on", PARLEY_SECRET="of the owner")
    browser = Browser(Visitors(made))
    first = await browser.get()
    assert not (made.data_dir / "secret").exists()
    browser.app = Visitors(made).middleware(browser._answer)
    assert await browser.get() == first


async def test_a_folder_that_cannot_be_written(settings: MakeSettings, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    browser = Browser(Visitors(settings(PARLEY_DATA_DIR=str(tmp_path / "file" / "data"), PARLEY_SHARED="on")))
    first = await browser.get()
    assert all(first) and await browser.get() == first


async def test_an_unreadable_secret(settings: MakeSettings) -> None:
    made = settings()
    (made.data_dir / "secret").mkdir(parents=True)  # a folder of that name: neither readable nor creatable
    assert all(await Browser(Visitors(made)).get())


def test_keys_are_kept_for_their_session_only(settings: MakeSettings) -> None:
    visitors = Visitors(settings())
    visitors.set_key("a", "anthropic", f"  {KEY}\n")
    visitors.set_key("a", "openai", "sk-2")
    assert dict(visitors.keys("a")) == {"anthropic": KEY, "openai": "sk-2"}
    assert dict(visitors.keys("b")) == {} and dict(visitors.keys("")) == {}
    visitors.drop_key("a", "anthropic")
    visitors.drop_key("a", "nobody")
    visitors.drop_key("c", "anthropic")
    assert dict(visitors.keys("a")) == {"openai": "sk-2"}


def test_keys_are_forgotten_when_not_used(settings: MakeSettings) -> None:
    now = [0.0]
    visitors = Visitors(settings(), clock=lambda: now[0])
    visitors.set_key("used", "anthropic", KEY)
    visitors.set_key("idle", "anthropic", KEY)
    now[0] = KEYS_LIFE - 1
    assert visitors.keys("used")
    now[0] = KEYS_LIFE + 1
    assert not visitors.keys("idle")
    assert visitors.keys("used"), "every use counts anew"
    visitors.drop_key("used", "openai")
    now[0] = 2 * KEYS_LIFE + 2
    assert not visitors.keys("used")


def test_sessions_with_keys_are_limited(settings: MakeSettings) -> None:
    visitors = Visitors(settings())
    for number in range(MOST_SESSIONS + 10):
        visitors.set_key(f"s{number}", "openai", "k")
    assert not visitors.keys("s0") and visitors.keys(f"s{MOST_SESSIONS + 9}")


def test_keys_are_nowhere_to_be_read(settings: MakeSettings) -> None:
    visitors = Visitors(settings())
    visitors.set_key("a", "anthropic", KEY)
    keys = visitors.keys("a")
    for shown in (repr(visitors), str(visitors), repr(keys), str(keys), f"{keys}"):
        assert KEY not in shown
    assert "anthropic" in repr(keys)


@pytest.mark.parametrize(
    "key",
    ["", "   ", f"{KEY} x", f"{KEY}\nx", f"{KEY}\r\nX-Evil: 1", f"{KEY}\x00", f"{KEY}é", f"{KEY}\u200b", "x" * 5000],
)
def test_what_cannot_be_a_key_is_refused_and_not_shown(settings: MakeSettings, key: str) -> None:
    visitors = Visitors(settings())
    with pytest.raises(BadRequest) as caught:
        visitors.set_key("a", "anthropic", key)
    assert not re.search("secret-0123|xxxx", str(caught.value))
    assert not visitors.keys("a")


def test_without_a_session_no_key_is_kept(settings: MakeSettings) -> None:
    with pytest.raises(BadRequest, match="cookie"):
        Visitors(settings()).set_key("", "anthropic", KEY)


def test_white_space_around_a_key_does_not_matter() -> None:
    assert clean_key(f"\n\t {KEY} \r\n") == KEY


@pytest.mark.parametrize("path", ["/", "/v1/models"])
async def test_a_request_that_is_cancelled_just_ends(shared: Visitors, path: str) -> None:
    """The server cancels what still runs when it stops, and prints a stack trace for each that lets it on."""
    begun = asyncio.Event()

    async def hang(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        await asyncio.sleep(60)

    scope = {"type": "http", "path": path, "headers": []}
    task = asyncio.create_task(shared.middleware(hang)(scope, None, None))  # type: ignore[arg-type]
    await begun.wait()
    task.cancel()
    await asyncio.wait([task])
    assert not task.cancelled() and task.exception() is None
