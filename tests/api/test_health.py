"""/healthz and /readyz: what those who watch the process are told."""

from __future__ import annotations

import shutil
from typing import Any

import orjson
import pytest

from core.errors import ModelUnavailable, ProviderUnavailable
from core.messages import Begun
from core.providers import Status
from core.store.database import Database
from tests.api._server import Api, MakeSettings, Puppet, serving


async def get(api: Api, path: str) -> tuple[int, dict[str, Any]]:
    status, _, answer = await api.call("GET", path)
    return status, orjson.loads(answer)


async def test_alive(settings: MakeSettings) -> None:
    async with serving(settings(PARLEY_API_KEYS="secret-key", PARLEY_HOST="0.0.0.0"), {}) as api:
        assert await get(api, "/healthz") == (200, {"status": "ok"})
        assert (await api.call("POST", "/healthz"))[0] == 405
        status, headers, _ = await api.call("GET", "/healthz", host="anything.example")
        assert status == 200 and headers["cache-control"] == "no-store"


async def test_ready(settings: MakeSettings) -> None:
    down = Puppet(name="down", state=Status("no_key", "No key for Down.", "Add one."))
    made = settings(OPENAI_API_KEY="sk-very-secret")
    async with serving(made, {"puppet": Puppet(), "down": down}) as api:
        status, found = await get(api, "/readyz")
        assert status == 200 and found["status"] == "ready"
        assert found["database"] == {"kind": "sqlite", "usable": True}
        assert "ready" in found["vectors"]
        assert found["providers"] == {
            "puppet": {"usable": True, "state": "ready", "circuit": "closed", "models_paused": 0},
            "down": {"usable": False, "state": "no_key", "circuit": "closed", "models_paused": 0},
        }
        assert "sk-very-secret" not in str(found) and str(made.data_dir) not in str(found)


async def test_a_failing_provider_shows(settings: MakeSettings) -> None:
    puppet = Puppet(script=(Begun(), ProviderUnavailable("Down.")))
    async with serving(settings(PARLEY_RETRIES=0, PARLEY_BREAKER_FAILURES=1), {"puppet": puppet}) as api:
        body = orjson.dumps({"model": "puppet/able", "messages": [{"role": "user", "content": "Hi"}]})
        assert (await api.call("POST", "/v1/chat/completions", body))[0] == 503
        status, found = await get(api, "/readyz")
        assert status == 200
        assert found["providers"]["puppet"] == {
            "usable": False,
            "state": "ready",
            "circuit": "open",
            "models_paused": 0,
        }


async def test_a_failing_model_shows_and_its_provider_stays_usable(settings: MakeSettings) -> None:
    puppet = Puppet(script=(Begun(), ModelUnavailable("It cannot be loaded.")))
    async with serving(settings(PARLEY_RETRIES=0, PARLEY_BREAKER_FAILURES=1), {"puppet": puppet}) as api:
        body = orjson.dumps({"model": "puppet/able", "messages": [{"role": "user", "content": "Hi"}]})
        assert (await api.call("POST", "/v1/chat/completions", body))[0] == 503
        _, found = await get(api, "/readyz")
        told = found["providers"]["puppet"]
        assert (told["usable"], told["circuit"], told["models_paused"]) == (True, "closed", 1)


async def test_a_folder_that_cannot_be_written(settings: MakeSettings) -> None:
    made = settings()
    made.data_dir.parent.mkdir(parents=True, exist_ok=True)
    made.data_dir.write_text("a file, where the folder should be")
    async with serving(made, {"puppet": Puppet()}) as api:
        status, found = await get(api, "/readyz")
        assert status == 503 and found["status"] == "unavailable"
        assert found["database"]["usable"] is False and found["database"]["problem"]
        assert str(made.data_dir) not in str(found)
        assert (await get(api, "/healthz"))[0] == 200


async def test_a_database_that_stops_working(settings: MakeSettings) -> None:
    async with serving(settings(), {}) as api:
        assert (await get(api, "/readyz"))[0] == 200
        api.services.database.close()
        assert (await get(api, "/readyz"))[0] == 200, "the finding is good for a few seconds"
        readiness = next(r for r in api.routes if r.path == "/readyz")
        readiness.app._until = 0.0
        status, found = await get(api, "/readyz")
        assert status == 503 and found["database"]["problem"]


async def test_looking_does_not_cost_a_write_each_time(settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    writes = 0
    original = Database.awrite

    async def counted(self: Database, work: Any) -> Any:
        nonlocal writes
        writes += 1
        return await original(self, work)

    async with serving(settings(), {}) as api:
        monkeypatch.setattr(Database, "awrite", counted)
        for _ in range(5):
            await get(api, "/readyz")
    assert writes == 1


async def test_postgresql(settings: MakeSettings, postgres_database: str) -> None:
    async with serving(settings(PARLEY_DATABASE_URL=postgres_database), {}) as api:
        status, found = await get(api, "/readyz")
        assert status == 200 and found["database"] == {"kind": "postgresql", "usable": True}


async def test_a_lost_vector_folder_does_not_make_it_unready(settings: MakeSettings) -> None:
    made = settings()
    async with serving(made, {}) as api:
        shutil.rmtree(made.data_dir / "chroma", ignore_errors=True)
        assert (await get(api, "/readyz"))[0] == 200
