"""The whole workbench in a thread, for tests that only call it: one for all tests of a module."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from app import create
from core.api.connections import Connection
from core.services import Services
from core.settings import Settings
from tests.api._server import Api, Puppet


@contextlib.contextmanager
def whole(folder: Path, **values: str) -> Iterator[Api]:
    """Serve it with these settings on a free port."""
    environ = {"PARLEY_DATA_DIR": str(folder / "data"), "PARLEY_PROMPTS_DIR": str(folder / "prompts"), **values}
    settings = Settings.of(environ, env_file=None)
    services = Services.open(settings, {"puppet": Puppet()})
    started = threading.Event()
    app = create(services)
    config = uvicorn.Config(
        app,
        port=0,
        log_level="error",
        timeout_graceful_shutdown=1,
        proxy_headers=False,
        root_path=settings["PARLEY_ROOT_PATH"],
        http=Connection,
    )
    server = _Server(config, started)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        assert started.wait(60), "the server did not start"
        yield Api(server.servers[0].sockets[0].getsockname()[1], services, [], server)
    finally:
        server.should_exit = True
        thread.join(20)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, begun: threading.Event) -> None:
        super().__init__(config)
        self._begun = begun

    async def startup(self, *args: object, **more: object) -> None:
        await super().startup(*args, **more)  # type: ignore[arg-type]
        self._begun.set()
