"""The dependency rule and the other rules of the house, checked on the source itself.

Each check is a function from a folder to a list of complaints, so that the tests below can show that it complains.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# From the ground up. A module belongs to the longest name that fits (core.* is what no other name fits), and may
# import its own layer and those below.
LAYERS: tuple[tuple[str, ...], ...] = (
    (
        "core",
        "core.errors",
        "core.hosts",
        "core.json_place",
        "core.slots",
        "core.threads",
        "core.logs",
        "core.messages",
        "core.models.facts",
        "core.models.info",
        "core.names",
        "core.permissions",
        "core.settings",
        "core.text",
        "core.tokens",
        "core.visitors",
    ),
    ("core.store", "core.providers"),
    ("core.models",),
    ("core.ledger",),
    ("core.gateway",),
    ("core.files",),
    ("core.*",),  # the features: none of them knows another
    ("core.chat",),  # leads conversations with prompts
    ("core.services",),
    ("core.api", "core.cli"),
    ("pages",),
    ("app",),
)
FEATURES = "core.*"

# Not even where the layers would allow it.
SEPARATE: tuple[tuple[str, str], ...] = (
    ("core.messages", "core"),  # the vocabulary imports nothing
    ("core.errors", "core"),
    ("core.providers", "core.store"),
    ("core.store", "core.providers"),
    ("core.api", "core.cli"),
    ("core.cli", "core.api"),
    ("pages", "core.store"),
    ("pages", "core.api"),
    ("pages", "core.cli"),
    ("pages.kit", "core.services"),  # it draws, and asks for nothing
)

SDKS = ("anthropic", "openai", "ollama", "xllamacpp", "httpx", "httpx2", "aiohttp", "requests")
DATABASES = ("sqlalchemy", "alembic", "psycopg", "sqlite3", "chromadb")
FOREIGN: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("core", ("gradio", "gradio_client")),
    ("pages", SDKS + DATABASES),
    ("app", SDKS + DATABASES),
)

SHARED_PAGES = ("pages", "pages.kit")
MAX_LINES = 300
BY_DESIGN_AT_IMPORT = ("core.store.migrations",)  # Alembic runs these files
MARKS = re.compile(rf"\b({'todo|fixme|xxx|hack'.upper()})\b")
OWN_FILES = "pages.kit.theme"  # reads style sheets and scripts of the pages
OPENS = {"open", "read_text", "read_bytes", "fdopen", "copyfile", "FileResponse"}
READS_AT_IMPORT = {"open", "getenv", "read_text", "read_bytes", "mkdir", "connect", "create_engine", "basicConfig"}


def sources(root: Path, *names: str) -> Iterator[tuple[str, Path]]:
    """(dotted module name, path) of every Python file under the named packages or modules."""
    for name in names:
        single = root / f"{name}.py"
        files = [single] if single.is_file() else sorted((root / name).rglob("*.py"))
        for path in files:
            parts = path.relative_to(root).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def imports(module: str, path: Path) -> Iterator[str]:
    """Everything that a file imports, also inside functions; `from a import b` gives a.b."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                stem = parts[: len(parts) - node.level + 1]
                base = ".".join([*stem, base] if base else stem)
            yield from (f"{base}.{alias.name}" for alias in node.names)


def within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


def second(name: str) -> str:
    """The package below core or pages that a module belongs to: core.prompts, pages.chat."""
    return ".".join(name.split(".")[:2])


def layer(name: str) -> int:
    """How high a module of ours stands."""
    heights = {prefix: height for height, prefixes in enumerate(LAYERS) for prefix in prefixes}
    while name not in heights and "." in name:
        parent = name.rpartition(".")[0]
        name = "core.*" if parent == "core" else parent
    return heights[name]


def wrong_imports(root: Path) -> list[str]:
    found = list(sources(root, "core", "pages", "app"))
    names = {name for name, _ in found}
    complaints = set()
    for module, path in found:
        for target in imports(module, path):
            top = target.partition(".")[0]
            for prefix, forbidden in FOREIGN:
                if within(module, prefix) and top in forbidden:
                    complaints.add(f"{module} imports {top}")
            if top not in ("core", "pages", "app"):
                continue
            while target not in names and "." in target:  # core.errors.ParleyError is a thing in core.errors
                target = target.rpartition(".")[0]
            if layer(target) > layer(module):
                complaints.add(f"{module} imports {target}, which stands above it")
            if any(within(module, who) and within(target, whom) for who, whom in SEPARATE):
                complaints.add(f"{module} imports {target}, which it must not know")
            apart = second(module) != second(target)
            if within(module, "pages") and within(target, "pages") and apart and second(target) not in SHARED_PAGES:
                complaints.add(f"{module} imports {target}: a page imports no other page")
            if apart and layer(module) == layer(target) == layer(FEATURES):
                complaints.add(f"{module} imports {target}: a feature knows no other feature")
    return sorted(complaints)


def long_files(root: Path) -> list[str]:
    lengths = {module: len(path.read_text("utf-8").splitlines()) for module, path in sources(root, "core", "pages")}
    return [f"{module} has {lines} lines" for module, lines in lengths.items() if lines > MAX_LINES]


def _at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when a module is imported, also those inside classes and conditions."""
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Import() | ast.ImportFrom():
                continue
            case ast.If() if ast.unparse(node.test) in ("TYPE_CHECKING", "__name__ == '__main__'"):
                continue
            case ast.ClassDef():
                yield from _at_import(node.body)
            case ast.If():
                yield from _at_import(node.body + node.orelse)
            case ast.Try():
                handlers = [part for handler in node.handlers for part in handler.body]
                yield from _at_import(node.body + handlers + node.orelse + node.finalbody)
            case _:
                yield node


def side_effects(root: Path) -> list[str]:
    complaints = []
    for module, path in sources(root, "core", "pages", "app"):
        if any(within(module, prefix) for prefix in BY_DESIGN_AT_IMPORT):
            continue
        for node in _at_import(parse(path).body):
            where = f"{module}:{node.lineno}"
            if isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant):
                complaints.append(f"{where} calls something when it is imported: {ast.unparse(node)[:60]}")
            elif isinstance(node, ast.For | ast.While | ast.With | ast.Delete):
                complaints.append(f"{where} runs {type(node).__name__.lower()} when it is imported")
            elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                if not all(isinstance(target, ast.Name | ast.Tuple) for target in targets):
                    complaints.append(f"{where} changes {ast.unparse(targets[0])} when it is imported")
            for part in ast.walk(node):
                if isinstance(part, ast.Attribute) and ast.unparse(part) == "os.environ":
                    complaints.append(f"{where} reads or writes os.environ when it is imported")
                if isinstance(part, ast.Call):
                    called = part.func.attr if isinstance(part.func, ast.Attribute) else getattr(part.func, "id", "")
                    if called in READS_AT_IMPORT:
                        complaints.append(f"{where} calls {called} when it is imported")
    return complaints


def prints(root: Path) -> list[str]:
    return [
        f"{module}:{node.lineno} prints"
        for module, path in sources(root, "core", "pages")
        if not within(module, "core.cli")
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]


def opened_paths(root: Path) -> list[str]:
    """A path that a handler is given comes from a stranger: only core.files.uploads may open it."""
    complaints = []
    for module, path in sources(root, "pages"):
        if module == OWN_FILES:
            continue
        for node in ast.walk(parse(path)):
            if not isinstance(node, ast.Call):
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            in_memory = bool(node.args) and ast.unparse(node.args[0]).startswith("io.BytesIO(")
            if called in OPENS and not in_memory:
                complaints.append(f"{module}:{node.lineno} calls {called}: files come through pages.kit.uploads")
    return complaints


def unfinished(root: Path) -> list[str]:
    return [
        f"{module}:{number} says {match.group()}"
        for module, path in sources(root, "core", "pages", "bench", "tests", "app")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if (match := MARKS.search(line))
    ]


CHECKS: tuple[Callable[[Path], list[str]], ...] = (
    wrong_imports,
    long_files,
    side_effects,
    prints,
    opened_paths,
    unfinished,
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_rules_hold(check: Callable[[Path], list[str]]) -> None:
    assert check(ROOT) == []


def test_there_is_something_to_check() -> None:
    names = {name for name, _ in sources(ROOT, "core", "pages", "app")}
    assert {"core", "core.errors", "core.providers", "core.cli"} <= names


# Made-up trees: one that is in order, and one for each way to break a rule.

GOOD = {
    "app.py": "from core.cli import main\nfrom pages import build\n\nif __name__ == '__main__':\n    main()\n",
    "core/__init__.py": '"""Core."""\n',
    "core/errors.py": "class ParleyError(Exception): ...\n",
    "core/messages.py": "from dataclasses import dataclass\n\nROLES: tuple[str, ...] = ('user',)\n",
    "core/settings.py": "import os\nfrom core.errors import ParleyError\n\ndef read():\n    return dict(os.environ)\n",
    "core/store/__init__.py": "",
    "core/store/database.py": "import sqlalchemy\nfrom core import errors\n",
    "core/store/migrations/env.py": "run()\n",
    "core/providers/__init__.py": "from core.messages import ROLES\n",
    "core/providers/openai.py": "import openai\nfrom . import _wire\n",
    "core/providers/_wire.py": "from ..errors import ParleyError\n",
    "core/ledger/store.py": "from core.store.database import Database\n",
    "core/gateway/__init__.py": "from core.ledger import Ledger\nfrom core.providers import Provider\n",
    "core/chat/__init__.py": "",
    "core/chat/chat.py": "from core.gateway import Gateway\nfrom core.conversations import Turn\n",
    "core/conversations/__init__.py": "from core.store.database import Database\nfrom core.names import Ref\n",
    "core/names.py": "import re\n",
    "core/prompts/registry.py": "from core.names import Ref\nfrom core.prompts import content\n",
    "core/prompts/content.py": "",
    "core/ledger/__init__.py": "",
    "core/services.py": "from core.chat import Chat\n",
    "core/api/__init__.py": "from core.services import Services\n",
    "core/cli/__init__.py": "from core.settings import read\n\ndef main():\n    print('hello')\n",
    "pages/__init__.py": "import importlib\nfrom core.services import Services\n",
    "pages/kit/handlers.py": "import gradio as gr\n",
    "pages/chat/__init__.py": "from pages import Page\nfrom pages.kit.handlers import x\nfrom core.chat import Chat\n",
    "pages/costs/__init__.py": "from core.ledger import Ledger\n",
}


def tree(root: Path, **changes: str) -> Path:
    for name, text in {**GOOD, **{name.replace("__", "/") + ".py": text for name, text in changes.items()}}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_tree_in_order_is_not_complained_of(tmp_path: Path) -> None:
    tree(tmp_path)
    assert [complaint for check in CHECKS for complaint in check(tmp_path)] == []


@pytest.mark.parametrize(
    ("where", "text", "complaint"),
    [
        ("core__errors", "import core.settings", "core.errors imports core.settings, which it must not know"),
        ("core__messages", "from core import errors", "core.messages imports core.errors, which it must not know"),
        (
            "core__settings",
            "from core.providers import x",
            "core.settings imports core.providers, which stands above it",
        ),
        ("core__providers__openai", "from core.gateway import x", "core.providers.openai imports core.gateway, which"),
        ("core__providers__openai", "from ..ledger import Ledger", "core.providers.openai imports core.ledger, which"),
        (
            "core__providers__openai",
            "import core.store.database",
            "imports core.store.database, which it must not know",
        ),
        ("core__gateway__retry", "from core.chat import Chat", "core.gateway.retry imports core.chat, which"),
        ("core__gateway__retry", "from core import chat", "core.gateway.retry imports core.chat, which"),
        (
            "core__ledger__store",
            "from core import gateway",
            "core.ledger.store imports core.gateway, which stands above it",
        ),
        ("core__chat__chat", "from core.services import Services", "core.chat.chat imports core.services, which"),
        (
            "core__chat__chat",
            "def f():\n    from pages import build",
            "core.chat.chat imports pages, which stands above it",
        ),
        (
            "core__prompts__registry",
            "from core.conversations import Turn",
            "core.prompts.registry imports core.conversations: a feature knows no other feature",
        ),
        ("core__conversations__index", "from core.prompts import content", "a feature knows no other feature"),
        (
            "core__prompts__registry",
            "from core.chat import chat",
            "core.prompts.registry imports core.chat.chat, which",
        ),
        ("pages__kit__handlers", "from core.services import Services", "imports core.services, which it must not know"),
        ("core__services", "from core.api import router", "core.services imports core.api, which stands above it"),
        ("core__cli__serve", "import pages.chat", "core.cli.serve imports pages.chat, which stands above it"),
        ("core__cli__serve", "import app", "core.cli.serve imports app, which stands above it"),
        ("core__chat__chat", "import gradio as gr", "core.chat.chat imports gradio"),
        ("core__chat__chat", "def f():\n    from gradio.themes import Base", "core.chat.chat imports gradio"),
        (
            "pages__chat__view",
            "from pages.costs import table",
            "pages.chat.view imports pages.costs: a page imports no other page",
        ),
        (
            "pages__chat__view",
            "from .. import costs",
            "pages.chat.view imports pages.costs: a page imports no other page",
        ),
        (
            "pages__kit__handlers",
            "import pages.costs",
            "pages.kit.handlers imports pages.costs: a page imports no other page",
        ),
        (
            "pages__chat__view",
            "from core.store.database import Database",
            "imports core.store.database, which it must not",
        ),
        ("pages__chat__view", "import app", "pages.chat.view imports app, which stands above it"),
        ("pages__chat__view", "from anthropic import Anthropic", "pages.chat.view imports anthropic"),
        ("pages__chat__view", "import sqlalchemy.orm", "pages.chat.view imports sqlalchemy"),
        ("pages__chat__view", "def f():\n    import chromadb", "pages.chat.view imports chromadb"),
        ("app", "import openai", "app imports openai"),
        ("core__chat__chat", "\n" * 301, "core.chat.chat has 301 lines"),
        ("pages__chat__view", "\n" * 301, "pages.chat.view has 301 lines"),
        (
            "core__chat__chat",
            "import os\nos.environ['A'] = 'b'",
            "core.chat.chat:2 changes os.environ['A'] when it is imported",
        ),
        ("core__chat__chat", "import os\nA = os.environ.get('A')", "core.chat.chat:2 reads or writes os.environ"),
        (
            "core__chat__chat",
            "import os\nif os.name:\n    os.umask(0)",
            "core.chat.chat:3 calls something when it is imported",
        ),
        (
            "core__chat__chat",
            "try:\n    x = 1\nfinally:\n    x.y = 2",
            "core.chat.chat:4 changes x.y when it is imported",
        ),
        ("core__chat__chat", "class A:\n    print('x')", "core.chat.chat:2 calls something when it is imported"),
        ("core__chat__chat", "TEXT = open('x').read()", "core.chat.chat:1 calls open when it is imported"),
        ("core__chat__chat", "for x in (1, 2): y = x", "core.chat.chat:1 runs for when it is imported"),
        ("core__chat__chat", "def f():\n    print(1)", "core.chat.chat:2 prints"),
        ("core__chat__chat", f"# {'todo'.upper()}: later", "core.chat.chat:1 says"),
        (
            "pages__chat__view",
            "def f(path):\n    return Path(path).read_bytes()",
            "pages.chat.view:2 calls read_bytes: files come",
        ),
        ("pages__chat__view", "def f(path):\n    return open(path)", "pages.chat.view:2 calls open: files come"),
        ("bench__start", f"# {'fixme'.upper()}", "bench.start:1 says"),
    ],
)
def test_a_broken_rule_is_complained_of(tmp_path: Path, where: str, text: str, complaint: str) -> None:
    name = where.replace("__", "/")
    tree(tmp_path)
    path = tmp_path / f"{name}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    complaints = [found for check in CHECKS for found in check(tmp_path)]
    assert any(complaint in found for found in complaints), complaints
