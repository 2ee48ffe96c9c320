"""The one way by which files get in: they are received, checked before Gradio touches them, and read here.

A handler is given paths by Gradio, and gives them to `read` or `take` for names and contents. Nothing else in pages
opens a path (a test sees to that).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr
import structlog
from gradio.route_utils import GradioMultiPartParser, GradioUploadFile
from gradio.routes import file_upload_statuses
from gradio_client.utils import strip_invalid_filename_characters  # type: ignore[import-untyped]
from python_multipart.exceptions import MultipartParseError
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Message, Receive

from core.errors import BadRequest, ParleyError
from core.files.uploads import OVERHEAD, Uploads, full, too_large
from pages.kit.handlers import as_toast, visitor_of
from pages.kit.queue import unfit

# What a browser may show as a picture; all else is offered as a download that it does not open.
PICTURES = {"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif"}
MOST_FILES = 200  # in one request
PATIENCE = 30  # seconds for the rest of a refused body, so that the browser reads why instead of a broken connection

log = structlog.get_logger()


class Workbench(gr.Blocks):
    """Blocks that take files only from the visitor who uploaded them, whatever the component or the event."""

    def __init__(self, uploads: Uploads, **options: Any) -> None:
        super().__init__(**options)
        self._uploads = uploads
        # Gradio checks paths for itself only after launch(), which a mounted application never calls. This attribute
        # is read by that check and by nothing else.
        self.has_launched = True

    async def process_api(
        self,
        block_fn: Any,
        inputs: list[Any],
        state: Any = None,
        request: Any = None,
        iterator: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Every call of an event comes through here, before Gradio reads or copies a file of its inputs."""
        if iterator is None and not isinstance(block_fn, int) and (problem := unfit(block_fn, inputs)):
            raise as_toast(BadRequest(problem, ""))
        if iterator is None and (found := _files(inputs)):  # a generator's later steps have no inputs
            visitor = visitor_of(request) if isinstance(request, gr.Request) else ""
            try:
                await asyncio.to_thread(self._uploads.check, visitor, [file.get("path") for file in found])
            except ParleyError as error:
                raise as_toast(error) from None
            for file in found:
                file.update(url=None, is_stream=False)
        return await super().process_api(block_fn, inputs, state, request, iterator, *args, **kwargs)


async def read(uploads: Uploads, request: gr.Request, paths: Sequence[str]) -> list[tuple[str, bytes]]:
    """Name and content of each file. NotFound for any that is not this visitor's."""
    visitor = visitor_of(request)
    return await asyncio.to_thread(lambda: [uploads.read(visitor, str(path)) for path in paths])


async def drop(uploads: Uploads, request: gr.Request, paths: Sequence[str]) -> None:
    """These files have been used and are not needed any more."""
    await asyncio.to_thread(uploads.drop, visitor_of(request), [str(path) for path in paths])


async def take(uploads: Uploads, request: gr.Request, paths: Sequence[str]) -> list[tuple[str, bytes]]:
    """Read files that are not needed any more."""
    contents = await read(uploads, request, paths)
    await drop(uploads, request, paths)
    return contents


def routes(uploads: Uploads) -> list[BaseRoute]:
    """What stands in for Gradio's own routes that write and serve files."""

    async def receive(request: Request) -> Response:
        body = _Body(request.receive)
        try:
            return JSONResponse(await _receive(uploads, request, body))
        except (ParleyError, OSError) as error:
            told = error if isinstance(error, ParleyError) else full(error)
            await body.drain(uploads.largest)
            retry = getattr(told, "retry_after", None)
            return PlainTextResponse(str(told), told.status, {"retry-after": f"{retry:.0f}"} if retry else None)

    async def serve(request: Request) -> Response:
        path = request.path_params["path"]
        try:
            name, content = await asyncio.to_thread(uploads.read, visitor_of(request), path)
        except ParleyError as error:
            return PlainTextResponse(str(error), 403)
        headers = {"content-disposition": f"attachment; filename*=utf-8''{quote(name)}"}
        ending = name.rpartition(".")[2].lower()
        return Response(content, media_type=PICTURES.get(ending, "application/octet-stream"), headers=headers)

    return [
        Route("/gradio_api/upload", receive, methods=["POST"]),
        Route("/gradio_api/file={path:path}", serve),
    ]


async def _receive(uploads: Uploads, request: Request, body: _Body) -> list[str]:
    """The paths of the files of a multipart body. Nothing is left behind when it does not end well."""
    announced = request.headers.get("content-length", "0")
    upload_id = request.query_params.get("upload_id")
    try:
        size = int(announced) if announced.isdigit() else 0
        address = request.client.host if request.client else ""
        with uploads.receiving(visitor_of(request), size, address) as batch:
            body.count = functools.partial(uploads.count, batch)
            parser = GradioMultiPartParser(
                request.headers,
                Request(request.scope, body).stream(),
                max_files=MOST_FILES,
                max_fields=MOST_FILES,
                upload_dir=str(batch.folder),
                max_file_size=uploads.largest,
                upload_id=upload_id,
                upload_progress=file_upload_statuses if upload_id else None,
            )
            if upload_id:
                file_upload_statuses.track(upload_id)
            form = await parser.parse()
            files = [file for file in form.getlist("files") if isinstance(file, GradioUploadFile)]
            uploads.count(batch, OVERHEAD * max(0, len(files) - 1))
            return await asyncio.to_thread(_placed, batch.folder, files)
    except MultiPartException as error:
        if "maximum allowed size of" in error.message and "File" in error.message:
            raise too_large(uploads.largest) from None
        if "Too many files" in error.message:
            raise BadRequest(f"These are more than {MOST_FILES} files.", "Choose fewer at a time.") from None
        raise BadRequest("This upload cannot be read.", "Choose the files again.") from None
    except (MultipartParseError, AttributeError, KeyError, TypeError, ValueError, ClientDisconnect) as error:
        log.info("uploads.unreadable", error=type(error).__name__)
        raise BadRequest("This upload cannot be read.", "Choose the files again.") from None
    finally:
        if upload_id:
            file_upload_statuses.set_done(upload_id)


def _placed(folder: Path, files: Sequence[GradioUploadFile]) -> list[str]:
    """Each file below its digest, under its own name as far as that can be one."""
    paths: list[str] = []
    for file in files:
        name = strip_invalid_filename_characters(Path((file.filename or "").replace("\\", "/")).name)
        target = folder / file.sha.hexdigest() / (name if name not in ("", ".", "..") else "file")
        target.parent.mkdir(exist_ok=True)
        file.file.close()
        Path(file.file.name).rename(target)
        paths.append(str(target))
    return paths


class _Body:
    """A request's body as it comes in, with each piece counted."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._ended = False
        self.count: Callable[[int], None] = lambda octets: None

    async def __call__(self) -> Message:
        message = await self._receive()
        self._ended = message["type"] != "http.request" or not message.get("more_body", False)
        if message["type"] == "http.request":
            self.count(len(message.get("body", b"")))
        return message

    async def drain(self, most: int) -> None:
        """Read and forget what still comes after a refusal, within bounds."""
        self.count = lambda octets: None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while most > 0 and not self._ended:
                    most -= len((await self()).get("body", b""))


def _files(inputs: Any) -> list[dict[str, Any]]:
    """Everything in an event's inputs, at any depth, that Gradio could take for a file."""
    found: list[dict[str, Any]] = []
    waiting = [inputs]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            meta = value.get("meta")
            if "path" in value or (isinstance(meta, dict) and meta.get("_type") == "gradio.FileData"):
                found.append(value)
            waiting.extend(value.values())
        elif isinstance(value, list | tuple):
            waiting.extend(value)
    return found
