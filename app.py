"""Parley: settings → services → interface → server."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import socket
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from core import cli

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from core.services import Services
    from core.settings import Settings


def create(services: Services) -> ASGIApp:
    """The whole web application: the API's routes, then the interface at "/"."""
    # Where Gradio keeps files: it takes none from elsewhere, and leaves those that lie there already where they are.
    services.uploads.start()
    os.environ["GRADIO_TEMP_DIR"] = str(services.uploads.folder)
    import gradio
    from fastapi import FastAPI

    import pages
    from core import api

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        cleaning = asyncio.create_task(services.uploads.keep_clean())
        yield
        cleaning.cancel()
        await services.close()

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    routes = api.routes(services)
    app.router.routes.extend(routes)
    app.router.routes.extend(pages.routes(services.uploads))  # before Gradio's own of the same addresses
    root_path = services.settings["PARLEY_ROOT_PATH"] or None
    if importlib.util.find_spec("matplotlib") is None:
        # Gradio tries to import it at every update of a page. A search that finds nothing is repeated each time and
        # would take a fifth of the time of an answer; this entry ends it at once.
        sys.modules["matplotlib"] = None  # type: ignore[assignment]
    options = pages.mount_options(services.settings)
    gradio.mount_gradio_app(app, pages.build(services), path="/", root_path=root_path, **options)
    reachable = [api.Reachable(*one) for one in pages.reachable(services.settings)]
    return api.perimeter(services.visitors.middleware(app), services.settings, routes, reachable)


def serve(settings: Settings) -> int:
    """Run until stopped. Returns the exit code."""
    # Read by Gradio when it is imported: nothing is reported to anybody, nothing is fetched.
    from core.files.uploads import folder_of

    temporary = str(folder_of(settings))
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1", GRADIO_TEMP_DIR=temporary)
    import gradio  # noqa: F401  (before the services' threads begin, which would slow this down)
    import uvicorn

    from core.api.connections import Connection
    from core.errors import SettingsError
    from core.services import Services
    from core.visitors import api_state

    host, port = settings["PARLEY_HOST"], settings["PORT"]
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host.strip("[]"), port))
        listener.listen(2048)  # whoever reads the address below may call at once, and is answered when all is ready
    except OSError as error:
        reason = f"Parley cannot listen on {host}, port {port}: {error.strerror}."
        raise SettingsError(reason, "Stop what uses it, or choose another with PORT or PARLEY_HOST.") from None
    services = Services.open(settings)
    config = uvicorn.Config(
        create(services),
        log_config=None,  # ours is set up already, and prints no stack traces
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=2,
        proxy_headers=False,  # the perimeter reads them, and believes trusted proxies only
        server_header=False,
        root_path=settings["PARLEY_ROOT_PATH"],
        http=Connection,
    )
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104
    lines = [f"Parley is at http://{shown}:{listener.getsockname()[1]}", api_state(settings)[1]]
    if services.database.problem:
        lines.append(str(services.database.problem))
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
    uvicorn.Server(config).run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(cli.main(sys.argv[1:], serve))
