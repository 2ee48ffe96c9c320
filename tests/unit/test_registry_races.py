"""Several people and programs at the same folder at once, and programs that die in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import BadRequest
from core.prompts import Registry
from core.prompts.registry.labels import parse
from tests.prompt_files import again, registry, says

__all__ = ["again", "registry"]

ROOT = Path(__file__).resolve().parents[2]
BEGIN = """
import os, signal, sys
from core.errors import BadRequest
from core.prompts import Registry
from core.prompts.registry import labels
from core.settings import Settings
from tests.prompt_files import says
registry = Registry.open(Settings.of({"PARLEY_DATA_DIR": sys.argv[1], "PARLEY_PROMPTS_DIR": sys.argv[2]}, None))
me = sys.argv[3]
print("ready", flush=True)
sys.stdin.readline()
"""


def together(tmp_path: Path, program: str, processes: int = 4) -> list[list[str]]:
    """Run it in several processes that begin at the same moment; the lines that each printed."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", BEGIN + program, str(tmp_path / "data"), str(tmp_path / "prompts"), str(number)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(processes)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    found = []
    for process in started:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        found.append(out.split())
    return found


def test_processes_that_save_at_once_get_a_number_each(registry: Registry, tmp_path: Path) -> None:
    program = """
for turn in range(15):
    print(registry.save("a/b", says(f"{me} {turn}")).version.number)
"""
    told = together(tmp_path, program)
    numbers = [int(number) for lines in told for number in lines]
    assert sorted(numbers) == list(range(1, 61))
    for me, lines in enumerate(told):
        for turn, number in enumerate(lines):
            assert registry.version(f"a/b@{number}").content == says(f"{me} {turn}")
    assert registry.verify() == []


def test_processes_that_save_the_same_at_once_get_the_same_version(registry: Registry, tmp_path: Path) -> None:
    program = """
for turn in range(15):
    saved = registry.save("a", says(f"Text {turn}"))
    print(saved.version.number, saved.created)
"""
    told = together(tmp_path, program)
    assert all(lines[0::2] == told[0][0::2] for lines in told)
    assert registry.entry("a").numbers == tuple(range(1, 16))
    assert sum(lines[1::2].count("True") for lines in told) == 15


def test_threads_that_save_at_once_get_a_number_each(registry: Registry) -> None:
    numbers: list[int] = []

    def work(me: int) -> None:
        numbers.extend(registry.save("a", says(f"{me} {turn}")).version.number for turn in range(10))

    threads = [threading.Thread(target=work, args=(me,)) for me in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1, 61))
    assert registry.entry("a").numbers == tuple(range(1, 61))


def test_processes_that_move_a_label_at_once_make_one_chain(registry: Registry, tmp_path: Path) -> None:
    for number in range(4):
        registry.save("a", says(f"Text {number}"))
    program = """
for turn in range(20):
    registry.move("a", f"label-{me}" if turn % 2 else "staging", (turn + int(me)) % 4 + 1, by=me)
"""
    together(tmp_path, program)
    history = parse((registry.root / "a/labels.jsonl").read_bytes())
    assert not history.damaged
    where: dict[str, int | None] = {}
    for move in history.moves:
        assert where.get(move.label) == move.before != move.to
        where[move.label] = move.to
    assert registry.verify() == []
    for me in range(4):
        assert registry.labels("a")[f"label-{me}"] == (19 + me) % 4 + 1


def test_of_people_who_move_the_same_label_at_once_one_wins(registry: Registry, tmp_path: Path) -> None:
    for number in range(5):
        registry.save("a", says(f"Text {number}"))
    registry.move("a", "staging", 5, by="Ada")
    program = """
try:
    registry.move("a", "staging", int(me) + 1, by=me, expect=5)
    print("moved")
except BadRequest as error:
    print("told" if "a moment ago" in error.what else error)
"""
    told = together(tmp_path, program)
    assert sorted(line for lines in told for line in lines) == ["moved", "told", "told", "told"]

    outcomes: list[str] = []
    now = registry.labels("a")["staging"]

    def work(to: int) -> None:
        try:
            registry.move("a", "staging", to, by=f"Person {to}", expect=now)
            outcomes.append("moved")
        except BadRequest as error:
            assert "a moment ago" in error.what
            outcomes.append("told")

    threads = [threading.Thread(target=work, args=(to,)) for to in range(1, 6) if to != now]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["moved", "told", "told", "told"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
@pytest.mark.parametrize("when", ["link", "fsync", "unlink"])
def test_who_is_killed_while_saving_leaves_nothing_half(registry: Registry, tmp_path: Path, when: str) -> None:
    registry.save("a", says("One"))
    program = f"""
os.{when} = lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGKILL)
registry.save("a", says("Two"))
"""
    with pytest.raises(AssertionError):
        together(tmp_path, program, processes=1)
    files = sorted(path.name for path in (registry.root / "a").iterdir())
    assert len([name for name in files if name.startswith(".tmp-")]) == 1
    assert registry.problems() == registry.verify() == []
    whole = when == "unlink"  # by then it was saved, although nobody was told
    assert registry.entry("a").numbers == ((1, 2) if whole else (1,))
    assert registry.save("a", says("Two")).version.number == 2
    assert registry.version("a").content == says("Two")


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_who_is_killed_while_moving_a_label_blocks_nobody(registry: Registry, tmp_path: Path) -> None:
    registry.save("a", says("One"))
    program = """
os.fsync = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
registry.move("a", "staging", 1, by=me)
"""
    with pytest.raises(AssertionError):
        together(tmp_path, program, processes=1)
    assert registry.move("a", "other", 1, by="Ada").to == 1
    assert registry.verify() == []


def test_what_another_process_saves_is_read_at_once(registry: Registry, again: Callable[..., Registry]) -> None:
    """Within the coarse clock of a file system, again and again."""
    other = again()
    for number in range(1, 30):
        writer, reader = (registry, other) if number % 2 else (other, registry)
        writer.save("a", says(f"Text {number}"))
        assert reader.version("a").content == says(f"Text {number}")
        writer.move("a", "staging", number, by="Ada")
        assert reader.version("a@staging").number == number
        assert reader.list()[0].labels == {"staging": number}


def test_many_threads_read_while_one_writes(registry: Registry) -> None:
    registry.save("a", says("Text 1"))
    registry.move("a", "staging", 1, by="Ada")
    wrong: list[object] = []
    stop = threading.Event()

    def read() -> None:
        last = 0
        while not stop.is_set():
            version = registry.version("a@staging")
            if version.number < last or version.content != says(f"Text {version.number}"):
                wrong.append(version)
            last = version.number

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(2, 25):
        registry.save("a", says(f"Text {number}"))
        registry.move("a", "staging", number, by="Ada")
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert os.listdir(registry.root / "a").count("labels.jsonl") == 1


def test_a_history_that_is_being_replaced_is_not_read_as_if_it_were_gone(registry: Registry) -> None:
    """Git takes a changed file away before it writes the new one."""
    for number in (1, 2):
        registry.save("a", says(f"Text {number}"))
        registry.move("a", "staging", number, by="Ada")
    path = registry.root / "a/labels.jsonl"
    data = path.read_bytes()
    stop = threading.Event()

    def replace() -> None:
        while not stop.is_set():
            path.unlink()
            stop.wait(0.005)
            with path.open("wb") as file:
                file.write(data[: len(data) // 2 + 20])
                file.flush()
                stop.wait(0.005)
                file.write(data[len(data) // 2 + 20 :])
            stop.wait(0.02)

    registry.version("a@staging")
    thread = threading.Thread(target=replace)
    thread.start()
    try:
        assert {registry.version("a@staging").number for _ in range(60)} == {2}
    finally:
        stop.set()
        thread.join()


def test_the_list_while_prompts_are_added(registry: Registry) -> None:
    for number in range(50):
        registry.save(f"old/p{number}", says("x"), tags=["t"])
    registry.list()
    errors: list[Exception] = []
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            try:
                assert len(registry._index.found("p", "t", "")) >= 50
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(40):
        registry.save(f"new/p{number}", says("x"), tags=["t"])
    over.set()
    for thread in threads:
        thread.join()
    assert errors == []
