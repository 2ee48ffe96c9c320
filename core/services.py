"""Builds everything once and hands it on. Nothing in Parley is global."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from core.asking import Asking
from core.catalog import Catalog
from core.chat import Chat
from core.conversations import Conversations
from core.files.child import Child
from core.gateway import Gateway
from core.ledger import Ledger
from core.prices import Prices
from core.prompts import Registry, fewshot
from core.prompts.opening import Openings
from core.prompts.templates import Templates
from core.prompts.trials import Trials
from core.prompts.usage import PromptUsage
from core.providers import Provider, discover
from core.settings import Settings
from core.store.database import Database
from core.store.embeddings import Embedder, embedder
from core.store.vectors import Vectors
from core.threads import Threads
from core.uploads import Uploads
from core.visitors import Visitors

log = structlog.get_logger()


@dataclass(frozen=True)
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
    openings: Openings
    prompt_usage: PromptUsage
    trials: Trials
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
        visitors, threads = Visitors(settings), Threads(shared=settings.shared)
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
        templates = Templates(registry.version, examples.nearest)
        openings = Openings(registry.version, templates)
        asking = Asking(conversations, catalog, openings, settings, child)
        chat = Chat(gateway, ledger, conversations, asking, settings, threads)
        return cls(
            settings,
            database,
            prices,
            ledger,
            providers,
            child,
            catalog,
            gateway,
            embed,
            vectors,
            conversations,
            registry,
            templates,
            openings,
            PromptUsage(database),
            Trials(gateway, ledger, threads.database),
            chat,
            visitors,
            Uploads(settings),
            threads,
        )

    async def close(self) -> None:
        """End what runs, save it, and free everything, in the order of dependence."""
        await self.chat.close()
        await self.trials.close()
        await asyncio.to_thread(self.child.close)
        results = await asyncio.gather(*(p.close() for p in self.providers.values()), return_exceptions=True)
        for name, result in zip(self.providers, results, strict=True):
            if isinstance(result, BaseException):
                log.warning("provider.close", provider=name, error=type(result).__name__)
        await asyncio.to_thread(self.vectors.close)  # its thread reads what the next two hold
        await asyncio.to_thread(self.registry.close)
        await asyncio.to_thread(self.database.close)
        self.threads.close()
