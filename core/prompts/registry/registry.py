"""All prompts, their versions and their labels. The files are the truth; everything else can be made anew from them."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import BadRequest, NotFound, StorageError
from core.names import LATEST, Ref, check_label, check_name
from core.prompts.content import Content
from core.prompts.registry import audit, bootstrap, changes
from core.prompts.registry.audit import Audit
from core.prompts.registry.cache import Cache
from core.prompts.registry.files import Lock
from core.prompts.registry.index import Index
from core.prompts.registry.listing import Root
from core.prompts.registry.prompt_folder import PromptFolder
from core.prompts.registry.records import ANY, Anything, Finding, Gate, Move, Problem, PromptEntry, PromptHit, Saved
from core.prompts.registry.search import Search
from core.prompts.registry.watch import Watch
from core.prompts.version import Version
from core.settings import Settings

if TYPE_CHECKING:
    from core.store.vectors import Vectors  # takes a moment to load, and the command line does not need it

FIRST = 1.0  # seconds that a list waits for the first look at everything; then it shows what is known by then
NEAR = 1000  # names that are compared with one that does not exist
Entries = list[PromptEntry]  # inside the class, `list` is a method
Versions = list[Version]
Contents = list[Content]
Moves = list[Move]
Problems = list[Problem]
Findings = list[Finding]
Finds = list[PromptHit]


class Registry:
    """Every method may be called from any thread, and several processes may use one folder.

    One prompt is always read from the disk as it is at this moment. The list, the problems and the search come from
    memory once `start` was called, and follow changes on the disk within a second; without it they look at the disk.

    NotFound: there is no such prompt, version or label. BadRequest: it makes no sense, or a file was changed by hand.
    StorageError: it was not saved, and nothing has changed.
    """

    def __init__(self, root: Path, data: Path, protected: Sequence[str]) -> None:
        own = hashlib.sha256(str(root.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:12]
        self.root = root
        self.protected = frozenset(protected)
        self.gates: list[Gate] = []  # asked before a protected label moves
        self._problem = bootstrap.prepare(root)
        self._cache = Cache(data / f"prompt-index-{own}.db")
        self._audit = Audit(data / "prompt-audit" / own)
        self._index = Index(root, self._cache, self._audit)
        self._watch = Watch(self._index)
        self._search = Search(self._index, self._cache)
        self._lock = Lock(root)

    @classmethod
    def open(cls, settings: Settings) -> Registry:
        """Nothing slow: a missing folder is made and filled with the prompts that ship."""
        return cls(settings.prompts_dir, settings.data_dir, settings["PARLEY_PROTECTED_LABELS"])

    @property
    def problem(self) -> StorageError | None:
        """Why nothing can be saved; reading works all the same."""
        if self._problem is not None:
            self._problem = bootstrap.probe(self.root)
        return self._problem

    @property
    def writable(self) -> bool:
        return self.problem is None

    @property
    def scanned(self) -> bool:
        """Whether everything was looked at since the start, so that the list is whole."""
        return self._index.scanned.is_set()

    def start(self) -> None:
        """Begin to read and to watch the folder, in the backbootstrap."""
        self._watch.start()

    def close(self) -> None:
        """End what runs in the backbootstrap."""
        self._watch.close()
        self._cache.close()

    def list(self, query: str = "", *, tag: str = "", label: str = "") -> Entries:
        """The prompts, by name. Every word of `query` must stand in the name, the tags or the description."""
        self._look()
        return self._index.found(query, tag, label)

    def newest(self, names: Collection[str] | None = None) -> Contents:
        """What the newest versions say: of these prompts, or of all."""
        wanted = (entry for entry in self.list() if names is None or entry.name in names)
        return [entry.latest.content for entry in wanted if entry.latest is not None]

    def entry(self, name: str) -> PromptEntry:
        """One prompt as it is on the disk now."""
        self._known(name)
        self._index.refresh([name])
        return self._known(name).entry()

    def labels(self, name: str) -> Mapping[str, int]:
        """Where each label points to, without `latest`."""
        return self._known(name).labels().history.positions()

    def version(self, ref: str | Ref) -> Version:
        """What `name`, `name@3` or `name@production` means on the disk now.

        BadRequest also when the file was changed by hand and what was saved is not known.
        """
        ref = Ref.parse(ref) if isinstance(ref, str) else ref
        prompt = self._known(ref.name)
        if ref.number is not None:
            return self._numbered(prompt, ref.number)
        if ref.label == LATEST:
            return self._latest(prompt)
        history = prompt.labels().history
        move = history.last(ref.label)
        if move is None or move.to is None:
            known = ", ".join([LATEST, *history.positions()])
            raise NotFound(f"{ref.name} has no label {ref.label}.", f"It has {known}.")
        version = self._numbered(prompt, move.to)
        file = prompt.file(move.to)
        if file is None or file.facts is None or file.facts.hash != move.content:
            raise BadRequest(
                f"{version.ref} is another one than when {ref.label} was set to it: its file was replaced.",
                f"Bring {ref.name}/v{move.to}.yaml back with git, or read it and move {ref.label} to it again.",
            )
        return version

    def versions(self, name: str) -> Versions:
        """All versions that can be used, newest first."""
        prompt = self._known(name)
        found = [prompt.version(number) for number in reversed(prompt.entry().numbers)]
        return [version for version in found if version]

    def save(
        self,
        name: str,
        content: Content,
        *,
        description: str = "",
        tags: Sequence[str] = (),
        change: str = "",
        author: str = "",
        parent: int | None = None,
    ) -> Saved:
        """Write the next version, unless there is one with the same content, description and tags: then that one is
        given back and nothing changes, also when it is an old one."""
        prompt = self._index.folder(check_name(name))
        saved = changes.save(self.root, self._lock, prompt, content, description, tags, change, author, parent)
        self._index.refresh([name])
        return saved

    def move(
        self, name: str, label: str, to: int | None, *, by: str, why: str = "", expect: int | Anything | None = ANY
    ) -> Move:
        """Set a label to a version, or take it away (None).

        `expect` is where the mover saw it; if it is elsewhere by now, BadRequest says who moved it. Where it is already
        it stays, and the move that brought it there is given back. A protected label needs a reason, and its gates
        may refuse.
        """
        prompt = self._known(name)
        target = None if to is None else self._numbered(prompt, to)
        by = changes.line(by, "name of who moves the label", changes.LONGEST_WHO) or "unknown"
        why = changes.line(why, "reason")
        allowed = check_label(label) not in self.protected
        if not allowed and not changes.stays(prompt.labels().history, label, target):
            if not why:
                raise BadRequest(f"{label} is protected: it moves only with a reason.", "Say why it moves.")
            if target is not None:
                for gate in self.gates:
                    gate(target, label)
            allowed = True
        made = changes.move(self._lock, prompt, label, target, by, why, expect, allowed)
        self._index.refresh([name])
        return made

    def rollback(self, name: str, label: str, *, by: str, why: str = "") -> Move:
        """Move a label back to where it was before; once more, and it goes back further."""
        history = self._known(name).labels().history
        back = changes.earlier(name, check_label(label), history)
        return self.move(name, label, back, by=by, why=why, expect=history.positions().get(label))

    def earlier(self, name: str, label: str) -> int | None:
        """The version that a rollback would go to, if there is one."""
        return self._known(name).labels().history.earlier(label)

    def history(self, name: str) -> Moves:
        """The moves of all labels of a prompt, newest first."""
        return [*reversed(self._known(name).labels().history.moves)]

    def problems(self) -> Problems:
        """What lies in the folder and is not used as it stands."""
        self._look()
        return self._index.problems()

    def restore(self, name: str, number: int) -> None:
        """Write a version's file as it was saved. BadRequest when that is not known."""
        changes.restore(self._lock, self._known(name), number)
        self._index.refresh([name])

    def verify(self) -> Findings:
        """Read everything again and say what is not as it was saved. Nothing found is an empty list."""
        found: Findings = []
        names: set[str] = set()
        waiting = [""]
        unkept, root = Cache(None), Root.of(self.root)
        while waiting:
            folder = PromptFolder(root, waiting.pop(), unkept, None)
            found += audit.check(folder, self._audit)
            waiting += folder.listing().folders
            names |= {folder.name} if folder.exists() else set()
        found += audit.gone(names, self._audit)
        return sorted(found, key=lambda finding: (finding.name, finding.what))

    def search(self, text: str, limit: int = 30) -> Finds:
        """Prompts by words in any of their versions, and by the meaning of the newest one, best first."""
        self._look()
        return self._search.search(text, limit)

    def attach(self, vectors: Vectors) -> None:
        """Search by meaning too, from now on."""
        self._search.attach(vectors)

    def watch(self, callback: Callable[[set[str]], None]) -> None:
        """Call `callback` with the names of prompts that changed, by whomever, from the thread that notices it."""
        self._index.callbacks.append(callback)

    def _look(self) -> None:
        if self._watch.running:
            self._index.scanned.wait(FIRST)
        else:
            self._index.scan()

    def _known(self, name: str) -> PromptFolder:
        prompt = self._index.folder(check_name(name))
        if not prompt.exists():
            names = [entry.name for entry in self.list() if entry.name[0] == name[0]]
            near = difflib.get_close_matches(name, names[:NEAR], 3)
            hint = f"Did you mean {', '.join(near)}?" if near else "Look at the list of prompts."
            raise NotFound(f"There is no prompt called {name}.", hint)
        self._index.keep(prompt)
        return prompt

    def _numbered(self, prompt: PromptFolder, number: int) -> Version:
        version = prompt.version(number)
        if version is None:
            known = prompt.listing().numbers
            hint = f"The newest is v{known[-1]}." if known else "Save one."
            raise NotFound(f"{prompt.name} has no version {number}.", hint)
        return version

    def _latest(self, prompt: PromptFolder) -> Version:
        if version := prompt.latest():
            return version
        files = [prompt.file(number) for number in reversed(prompt.listing().numbers)]
        problem = next((file.problem for file in files if file and file.problem), None)
        if problem is None:
            raise NotFound(f"{prompt.name} has no version.", "Save one.")
        raise BadRequest(problem.what, problem.fix)
