"""Builds everything once and hands it on. Nothing in Parley is global."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from core.chat.chat import Chat
from core.chat.prompt_context import PromptContext
from core.chat.prompt_runs import PromptRuns
from core.chat.request import RequestBuilder
from core.conversations import Conversations
from core.files.child import Child
from core.files.uploads import Uploads
from core.gateway import Gateway
from core.ledger.store import Ledger
from core.models.catalog import Catalog
from core.models.prices import Prices
from core.prompts import Registry
from core.prompts.templates import fewshot
from core.prompts.templates.templates import Templates
from core.prompts.usage import PromptUsage
from core.providers import Provider, discover
from core.settings import Settings
from core.store.database import Database
from core.store.embeddings import Embedder, embedder
from core.store.vectors import Vectors
from core.threads import Threads
from core.visitors import Visitors

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Services:
    """All that the pages, the API and the command line are built on."""

    settings: Settings
    database: Database
    prices: Prices
    ledger: Ledger
    providers: Mapping[str, Provider]
    child: Child
    catalog: Catalog
    gateway: Gateway
    embedder: Embedder
    vectors: Vectors
    conversations: Conversations
    registry: Registry
    templates: Templates
    prompt_context: PromptContext
    prompt_usage: PromptUsage
    prompt_runs: PromptRuns
    chat: Chat
    visitors: Visitors
    uploads: Uploads
    threads: Threads

    @classmethod
    def open(cls, settings: Settings, providers: Mapping[str, Provider] | None = None) -> Services:
        """Open the database and build the rest. Raises StorageError or SettingsError; nothing slow is loaded yet.

        `providers` by name stand in for the ones that are found in core/providers.
        """
        prices = Prices(settings)
        providers = discover(settings) if providers is None else providers
        database = Database.open(settings)
        ledger = Ledger(database, prices)
        child = Child()
        catalog = Catalog(providers, settings)
        visitors = Visitors(settings)
        threads = Threads(shared=settings.shared, network_of=visitors.network_of)
        gateway = Gateway(
            providers, catalog, ledger, settings, network_of=visitors.network_of, read=threads.database.run
        )
        embed = embedder(settings)
        vectors = Vectors(settings, embed)
        conversations = Conversations(database, vectors, settings)
        conversations.close_open_turns()
        registry = Registry.open(settings)
        registry.attach(vectors)
        registry.start()
        examples = fewshot.Examples(registry.newest, embed, vectors, lambda: registry.scanned)
        vectors.attach(fewshot.COLLECTION, examples)
        registry.watch(lambda names: examples.changed(registry.newest(names)))
        # Processes of its own: a prompt does not wait until a file is read.
        templates = Templates(registry.version, examples.nearest, Child())
        prompt_context = PromptContext(registry.version, templates)
        requests = RequestBuilder(conversations, catalog, prompt_context, settings, child)
        return cls(
            settings=settings,
            database=database,
            prices=prices,
            ledger=ledger,
            providers=providers,
            child=child,
            catalog=catalog,
            gateway=gateway,
            embedder=embed,
            vectors=vectors,
            conversations=conversations,
            registry=registry,
            templates=templates,
            prompt_context=prompt_context,
            prompt_usage=PromptUsage(database),
            prompt_runs=PromptRuns(gateway, ledger, threads.database),
            chat=Chat(gateway, ledger, conversations, requests, settings, threads),
            visitors=visitors,
            uploads=Uploads(settings),
            threads=threads,
        )

    async def close(self) -> None:
        """End what runs, save it, and free everything, in the order of dependence."""
        await self.chat.close()
        await self.prompt_runs.close()
        await asyncio.to_thread(self.child.close)
        results = await asyncio.gather(*(p.close() for p in self.providers.values()), return_exceptions=True)
        for name, result in zip(self.providers, results, strict=True):
            if isinstance(result, BaseException):
                log.warning("provider.close", provider=name, error=type(result).__name__)
        await asyncio.to_thread(self.templates.close)
        await asyncio.to_thread(self.vectors.close)  # its thread reads what the next two hold
        await asyncio.to_thread(self.registry.close)
        await asyncio.to_thread(self.database.close)
        self.threads.close()
