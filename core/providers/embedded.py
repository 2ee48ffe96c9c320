"""Models that run on this machine without any other program: SmolLM2-135M, and every *.gguf in the models folder."""

from __future__ import annotations

import asyncio
import concurrent.futures
import re
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from core.errors import Interrupted, ModelNotFound, ModelUnavailable, ProviderUnavailable
from core.messages import ChatRequest, Event
from core.models.info import Abilities, ModelInfo
from core.providers import Provider, Status
from core.providers._chat_completions import ChatCompletions
from core.providers._engine import Engine, context_of, is_demo, unreadable
from core.providers._gguf import read_head
from core.settings import Settings
from core.threads import Pool

_NAME = "embedded"
_LABEL = "Embedded model"
_FETCH = "Run `python app.py models fetch`."
# What is left out of a file's name: how it was quantised, and what is true of every model that can chat.
_QUANTISED = re.compile(r"[-._](?:ud[-._])?(?:i?q\d\w*|bf16|f16|f32|mxfp4)$", re.IGNORECASE)
_TUNED = re.compile(r"[-._](?:instruct|chat|it)$", re.IGNORECASE)
_NO_MODEL = re.compile(r"^\.|^mmproj|-(?!00001)\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)  # parts of another file


@dataclass(frozen=True, slots=True)
class _Running:
    engine: Engine
    wire: ChatCompletions


class Embedded:
    """Implements Provider. Each file gets an engine at its first use, which stays until `close`."""

    name = _NAME
    label = _LABEL
    takes_key = False

    def __init__(self, models_dir: Path, context: int) -> None:
        self._models_dir = models_dir
        self._context = context
        self._lock = threading.Lock()
        self._loading: dict[Path, concurrent.futures.Future[_Running]] = {}
        self._closed = False
        self._threads = Pool("embedded", 2)

    async def models(self, keys: Mapping[str, str]) -> list[ModelInfo]:
        """One for each file, the small one first. A file that is damaged is listed with a note that says so."""
        return await self._threads.run(self._models)

    async def status(self, keys: Mapping[str, str]) -> Status:
        if await self._threads.run(files, self._models_dir):
            return Status("ready")
        return Status("missing", "The weights of the embedded model are not on this machine.", _FETCH)

    async def warm(self) -> None:
        """Load the model that would be offered first, so that the first answer need not wait. Raises core.errors."""
        await self._running(next(iter(files(self._models_dir)), ""))

    async def stream(self, request: ChatRequest, model: ModelInfo) -> AsyncIterator[Event]:
        running = await self._running(request.model_name)
        try:
            async with aclosing(running.wire.stream(request, model)) as events:
                async for event in events:
                    yield event
        except RuntimeError:  # what aiohttp raises when it is closed under a reader
            if not self._closed:
                raise
            raise Interrupted("Parley was shut down during the answer.") from None

    async def close(self) -> None:
        """End the engines at once; answers that still run break off."""
        with self._lock:
            self._closed = True
            loading = [*self._loading.values()]
        for future in loading:
            try:
                running = await asyncio.wrap_future(future)
            except ProviderUnavailable:
                continue
            await asyncio.to_thread(running.engine.close)
            await running.wire.close()

    async def _running(self, name: str) -> _Running:
        found = await self._threads.run(files, self._models_dir)
        if not found:
            raise ProviderUnavailable("The weights of the embedded model are not on this machine.", _FETCH)
        path = found.get(name)
        if path is None:
            raise ModelNotFound(f"There is no model file for embedded/{name}.")
        # Who waits may be cancelled; the others who wait for the same file must not notice.
        return await asyncio.shield(asyncio.wrap_future(self._load(path, name)))

    def _load(self, path: Path, name: str) -> concurrent.futures.Future[_Running]:
        """The engine for a file, loading it if there is none, or none that lives."""
        with self._lock:
            if self._closed:
                raise ProviderUnavailable("Parley is shutting down.")
            known = self._loading.get(path)
            if known is not None and not _lost(known):
                return known
            future: concurrent.futures.Future[_Running] = concurrent.futures.Future()
            self._loading[path] = future
        # A daemon: ending the program must not wait for a model of many gigabytes.
        threading.Thread(target=self._fulfil, args=(future, path, name), name=f"load {name}", daemon=True).start()
        return future

    def _fulfil(self, future: concurrent.futures.Future[_Running], path: Path, name: str) -> None:
        try:
            engine = Engine.load(path, context=self._context, model=name)
        except Exception as error:
            unavailable = isinstance(error, ProviderUnavailable)
            future.set_exception(error if unavailable else ModelUnavailable(f"{path.name} cannot be loaded."))
            return
        future.set_result(_Running(engine, ChatCompletions(_NAME, _LABEL, engine.url, engine.key, takes_key=False)))

    def _models(self) -> list[ModelInfo]:
        return [self._info(name, path) for name, path in files(self._models_dir).items()]

    def _info(self, name: str, path: Path) -> ModelInfo:
        model_id = f"{_NAME}/{name}"
        try:
            head = read_head(path)
        except (OSError, ValueError) as error:
            return ModelInfo(model_id, path.stem, note=unreadable(path, error).what)
        context = context_of(head, self._context)
        thinks = "<think>" in head.template
        abilities = Abilities(seed=True, json_schema=True, logprobs=True, prefill=not thinks, thinking=thinks)
        if is_demo(path):
            return ModelInfo(
                model_id, "SmolLM2 135M", context, context, abilities, note="demonstration model, expect mistakes"
            )
        return ModelInfo(model_id, head.name or path.stem, context, context, abilities)


def files(models_dir: Path) -> dict[str, Path]:
    """The model files by short name, the small one first. Blocks for a directory listing."""
    try:
        paths = [path for path in models_dir.glob("*.gguf") if path.is_file() and not _NO_MODEL.search(path.name)]
    except OSError:
        return {}
    paths.sort(key=lambda path: (not is_demo(path), path.name.lower()))
    short = [short_name(path) for path in paths]
    return {
        name if short.count(name) == 1 else path.stem.lower(): path for name, path in zip(short, paths, strict=True)
    }


def short_name(path: Path) -> str:
    """SmolLM2-135M-Instruct.Q4_1.gguf -> smollm2-135m."""
    return _TUNED.sub("", _QUANTISED.sub("", path.stem)).lower()


def _lost(future: concurrent.futures.Future[_Running]) -> bool:
    """Whether it is to be loaded anew: loading failed (the file may be another now), or the engine has ended."""
    return future.done() and (future.exception() is not None or not future.result().engine.alive)


def providers(settings: Settings) -> list[Provider]:
    return [Embedded(settings.models_dir, settings["PARLEY_EMBEDDED_CONTEXT"])] if settings["PARLEY_EMBEDDED"] else []
