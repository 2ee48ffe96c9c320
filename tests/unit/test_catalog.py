"""The list of models: live, remembered, and never an error."""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import Mapping

import orjson
import pytest

from core.errors import AuthenticationFailed, ModelNotFound, ParleyError, ProviderUnavailable
from core.models.cache import FILE
from core.models.catalog import Catalog, ProviderModels
from core.models.facts import facts_of, static_models
from core.models.info import Abilities, ModelInfo
from core.providers import Status
from tests.puppet import Puppet

SOON = datetime.date(2026, 12, 11)
ONE = ModelInfo("puppet/one", "One", 8192, 1024, Abilities(vision=True, efforts=("low", "high")), SOON, "a note")
NO_KEY = Status("no_key", "No key for Puppet.", "Add one.")


def made(settings, *puppets: Puppet, clock=time.monotonic, **more: object) -> Catalog:
    return Catalog({puppet.name: puppet for puppet in puppets}, settings(**more), clock)


async def only(catalog: Catalog, keys: Mapping[str, str] | None = None, refresh: bool = False) -> ProviderModels:
    (group,) = await catalog.list(keys, refresh)
    return group


async def test_the_live_list_and_its_facts(settings) -> None:
    catalog = made(settings, Puppet(known=[ONE]))
    assert catalog.info("puppet/one") == facts_of("puppet/one")
    assert await only(catalog) == ProviderModels("puppet", "Puppet", True, Status("ready"), (ONE,))
    assert catalog.info("puppet/one") is ONE
    assert ONE.lifecycle(datetime.date(2026, 11, 20)) == "retires 2026-12-11"
    assert catalog.info("puppet/other") == facts_of("puppet/other") and not catalog.info("x/y\ud800").live


async def test_it_is_remembered_for_ten_minutes_and_refreshed_on_demand(settings) -> None:
    now = 0.0
    puppet = Puppet(known=[ONE])
    catalog = made(settings, puppet, clock=lambda: now)
    for now in (0.0, 300.0, 599.0):  # noqa: B007
        await only(catalog)
    assert len(puppet.asked) == 1
    now = 601.0
    await only(catalog)
    await only(catalog, refresh=True)
    assert len(puppet.asked) == 3


async def test_many_who_ask_at_once_ask_once(settings) -> None:
    class Slow(Puppet):
        async def models(self, keys: Mapping[str, str]) -> list[ModelInfo]:
            await asyncio.sleep(0.05)
            return await super().models(keys)

    puppet = Slow(known=[ONE])
    catalog = made(settings, puppet)
    tasks = [asyncio.create_task(only(catalog)) for _ in range(20)]
    await asyncio.sleep(0.01)
    tasks[0].cancel()  # the first to ask goes away; the others still get their answer
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(group.models == (ONE,) for group in results[1:]) and len(puppet.asked) == 1


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (ProviderUnavailable("Puppet is down."), "unreachable"),
        (AuthenticationFailed("The key is wrong."), "no_key"),
        (ModelNotFound("It lists none."), "unknown"),
        (RuntimeError("a bug with secret words"), "unknown"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
async def test_a_provider_that_fails_is_shown_with_the_models_of_the_table(
    settings, error: Exception, state: str
) -> None:
    catalog = made(settings, Puppet("anthropic", known=error))
    group = await only(catalog)
    assert group.status.state == state and group.status.what and "secret" not in repr(group)
    assert list(group.models) == static_models("anthropic") and group.models
    assert not any(model.live for model in group.models)
    if isinstance(error, ParleyError):
        assert group.status.what == error.what


async def test_a_failure_is_asked_again_sooner(settings) -> None:
    now = 0.0
    puppet = Puppet(known=ProviderUnavailable("Down."))
    catalog = made(settings, puppet, clock=lambda: now)
    await only(catalog)
    now = 31.0
    puppet.known = [ONE]
    assert (await only(catalog)).models == (ONE,)


async def test_without_a_key_nothing_is_asked(settings) -> None:
    puppet = Puppet("openai", state=NO_KEY)
    group = await only(made(settings, puppet))
    assert group.status == NO_KEY and puppet.asked == []
    assert list(group.models) == static_models("openai")


async def test_a_silent_provider_holds_nobody_up_for_long(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.models.catalog.PATIENCE", 0.1)
    silent, quick = Puppet("silent", known=3600.0), Puppet("quick", known=[ModelInfo("quick/a")])
    groups = await made(settings, silent, quick).list()
    assert [group.status.state for group in groups] == ["unreachable", "ready"]
    assert "did not answer" in groups[0].status.what


async def test_what_was_there_is_shown_after_a_start_without_network(settings) -> None:
    first = made(settings, Puppet(known=[ONE]))
    await only(first)
    second = made(settings, Puppet(known=ProviderUnavailable("Down.")))
    assert second.info("puppet/one") == ONE
    group = await only(second)
    assert [(model.id, model.context, model.retires, model.live) for model in group.models] == [
        ("puppet/one", 8192, SOON, False)
    ]
    assert group.models[0].abilities == ONE.abilities


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\x00",
        b'{"version":2,"providers":{}}',
        b'{"version":1,"providers":{"puppet":[{"id":"puppet/x"}]}}',
        b'{"version":1,"providers":{"puppet":[{"id":"x","abilities":{"efforts":[],"fly":true},"retires":null}]}}',
    ],
)
async def test_a_damaged_file_is_as_good_as_none(settings, text: bytes) -> None:
    folder = settings().data_dir
    folder.mkdir(parents=True)
    (folder / FILE).write_bytes(text)
    catalog = made(settings, Puppet(known=[ONE]))
    assert (await only(catalog)).models == (ONE,)
    assert orjson.loads((folder / FILE).read_bytes())["version"] == 1
    assert [path.name for path in folder.iterdir()] == [FILE]


async def test_a_folder_that_cannot_be_written(settings) -> None:
    folder = settings().data_dir
    folder.write_bytes(b"a file where the folder should be")
    assert (await only(made(settings, Puppet(known=[ONE])))).models == (ONE,)


async def test_a_visitors_own_list_is_theirs_alone(settings) -> None:
    class Keyed(Puppet):
        async def models(self, keys: Mapping[str, str]) -> list[ModelInfo]:
            await super().models(keys)
            return [ModelInfo(f"puppet/of-{keys.get('puppet', 'server')}", context=5)]

    puppet = Keyed()
    catalog = made(settings, puppet)

    async def names(keys: Mapping[str, str] | None = None) -> list[str]:
        return [model.name for model in (await only(catalog, keys)).models]

    alice = {"puppet": "sk-alice-123456", "other": "sk-other-123456"}
    assert await names() == ["of-server"]
    assert await names(alice) == ["of-sk-alice-123456"]
    assert await names({"puppet": "sk-bob-123456"}) == ["of-sk-bob-123456"]
    assert await names() == ["of-server"]
    assert await names(alice) == ["of-sk-alice-123456"] and len(puppet.asked) == 3
    assert puppet.asked[1] == {"puppet": "sk-alice-123456"}, "a key goes to its own provider only"
    assert catalog.info("puppet/of-sk-alice-123456").context == 5
    written = (settings().data_dir / FILE).read_text()
    assert "of-server" in written and "alice" not in written and "bob" not in written
    assert "sk-alice-123456" not in repr(list(catalog._kept))


async def test_lists_of_visitors_do_not_pile_up(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("core.models.catalog.MOST_KEPT", 5)
    catalog = made(settings, Puppet(known=[ONE]), clock=lambda: now)
    for number in range(20):
        now = number * 200.0
        await only(catalog, {"puppet": f"key {number}"})
    assert len(catalog._kept) <= 5


async def test_an_unsure_provider_that_lists_its_models_is_ready(settings) -> None:
    assert (await only(made(settings, Puppet(known=[ONE], state=Status("unknown"))))).status == Status("ready")
