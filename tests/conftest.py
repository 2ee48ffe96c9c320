"""What all tests share: a clean environment, settings on a folder of their own, and the real parts.

- `settings(**overrides)` makes Settings on a fresh data folder; nothing of this machine's environment gets in.
- `weights`, `embedded_engine`, `embedded_url`: the embedded model's file, and one real engine for the whole run.
- `chromium`: the browser's path. `postgres_url`, `postgres_database`: a throw-away server, a fresh database in it.

Where a part is missing, the tests that need it are skipped with the reason; with CI=true a skip is a failure.
Folders of tests run in parallel, one process a core, each with its own engine, server and browser; a few files or names
(`-k`) run in this process, which is faster than starting others.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import hypothesis
import psycopg
import pytest

from core.providers._engine import Engine
from core.settings import SETTINGS, Settings
from tests.waiting import SteadyLoop, wait_until

ROOT = Path(__file__).resolve().parent.parent
IN_CI = os.environ.get("CI", "").lower() in ("true", "1", "yes")
MODELS_DIR = Path(os.environ.get("PARLEY_MODELS_DIR") or ROOT / "data" / "models").expanduser().absolute()
MARKERS = {
    "weights": "weights",
    "embedded_engine": "weights",
    "chromium": "chromium",
    "postgres_url": "postgres",
}
MOST_PROCESSES = 8

if not IN_CI:  # there Hypothesis has a profile of its own, which is this one and the same examples in each run
    hypothesis.settings.register_profile("home", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
    hypothesis.settings.load_profile("home")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One process a core for folders; none beside this one for what is chosen by name."""
    chosen = config.option.keyword or not all(Path(argument).is_dir() for argument in config.args)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 0 if chosen or cores == 1 else min(cores, MOST_PROCESSES)


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"steady": SteadyLoop}


def pytest_configure(config: pytest.Config) -> None:
    """Take the user's keys, addresses and settings away before anything is imported that reads them."""
    if config.option.dist != "no" and not hasattr(config, "workerinput"):
        return  # no test runs here, and the processes that run them inherit the environment to clean it themselves
    known = {setting.name for setting in SETTINGS}
    makers = ("PARLEY_", "ANTHROPIC_", "OPENAI_", "OLLAMA_", "GRADIO_", "CHROMA_")
    for name in list(os.environ):
        if name in known or name.startswith(makers) or name.endswith("_API_KEY"):
            del os.environ[name]
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_RUN_HISTORY"] = "False"


@pytest.fixture(autouse=True)
def same_umask() -> Iterator[None]:
    """The command line changes it for the whole process."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a part by the fixtures and parameters that it uses, so that `-m "not chromium"` needs no list."""
    for item in items:
        used = {marker for fixture in getattr(item, "fixturenames", ()) if (marker := MARKERS.get(fixture))}
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        if any(value == "postgresql" for value in parameters.values() if isinstance(value, str)):
            used.add("postgres")
        for marker in used:
            item.add_marker(marker)


def _skip_is_failure(report: pytest.TestReport | pytest.CollectReport) -> None:
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"With CI=true nothing may be skipped. {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
    report = yield
    _skip_is_failure(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[Any]:
    report = yield
    _skip_is_failure(report)
    return report


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Settings]:
    """`settings(PORT=0, ANTHROPIC_API_KEY="k")` -> Settings on a fresh data folder, the same one within a test."""

    def make(**overrides: object) -> Settings:
        environ = {"PARLEY_DATA_DIR": str(tmp_path / "data"), "PARLEY_PROMPTS_DIR": str(tmp_path / "prompts")}
        environ.update({name: str(value) for name, value in overrides.items()})
        return Settings.of(environ, env_file=None)

    return make


@pytest.fixture(scope="session")
def weights() -> Path:
    """The embedded model's *.gguf, in PARLEY_MODELS_DIR or data/models."""
    for path in sorted(MODELS_DIR.glob("SmolLM2-135M*.gguf")):
        return path
    pytest.skip("embedded weights are missing: python app.py models fetch")


@pytest.fixture(scope="session")
def embedded_engine(weights: Path) -> Iterator[Engine]:
    """One real engine for all tests: 4 slots of 2048 tokens. `.url` (with /v1), `.key`, `.model`."""
    engine = Engine.load(weights, context=2048)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def embedded_url(embedded_engine: Engine) -> str:
    """The base address of an OpenAI-compatible server with a real model; the key is `embedded_engine.key`."""
    return embedded_engine.url


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium or Chrome; start it with `--no-sandbox` when root."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    pytest.skip("no Chromium here: apt-get install chromium")


def _postgres_programs() -> Path | None:
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: float(p.parts[-3]))
    if versions:
        return versions[-1].parent
    found = shutil.which("initdb")
    return Path(found).parent if found else None


def _end_with_parent() -> None:
    """In the child: when the tests are killed, it is told to stop too (Linux: PR_SET_PDEATHSIG is 1)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGINT)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The address of a throw-away PostgreSQL server (`postgresql://…/postgres`), removed at the end."""
    programs = _postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL's programs are missing: apt-get install postgresql")
    as_user: dict[str, Any] = {}
    folder = Path(tempfile.mkdtemp(prefix="parley-pg-", dir="/tmp"))
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        try:
            account = pwd.getpwnam("postgres")
        except KeyError:
            folder.rmdir()
            pytest.skip("there is no user postgres to run PostgreSQL as: apt-get install postgresql")
        os.chown(folder, account.pw_uid, account.pw_gid)
        as_user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    common: dict[str, Any] = {"cwd": folder, "env": {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC"}, **as_user}
    data, log = folder / "data", folder / "log"
    server: subprocess.Popen[bytes] | None = None
    try:
        subprocess.run(
            [programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"],
            check=True,
            capture_output=True,
            **common,
        )
        for _ in range(3):  # somebody else may take the port in between
            port = _free_port()
            options = {
                "listen_addresses": "127.0.0.1",
                "port": port,
                "unix_socket_directories": folder,
                "fsync": "off",
                "synchronous_commit": "off",
                "full_page_writes": "off",
                "shared_buffers": "32MB",
            }
            flags = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
            with log.open("wb") as output:
                server = subprocess.Popen(
                    [programs / "postgres", "-D", data, *flags],
                    stdout=output,
                    stderr=output,
                    preexec_fn=_end_with_parent,
                    **common,
                )
            url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
            wait_until(lambda url=url, server=server: server.poll() is not None or _answers(url))
            if server.poll() is None:
                break
        assert server is not None and server.poll() is None, log.read_text(errors="replace")
        yield url
    finally:
        if server is not None:
            server.send_signal(signal.SIGINT)  # a fast shutdown that disconnects everybody
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _answers(url: str) -> bool:
    with contextlib.suppress(psycopg.OperationalError):
        psycopg.connect(url).close()
        return True
    return False


@pytest.fixture
def postgres_database(postgres_url: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a fresh, empty database, for one test only."""
    assert request.node.get_closest_marker("postgres"), "ask for it by name, or as the parameter postgresql"
    name = f"parley_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    yield postgres_url.removesuffix("/postgres") + f"/{name}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
