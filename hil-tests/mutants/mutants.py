"""Take one defence away at a time; the test that guards it must fail: `make mutants`.

The lists are in defences/. Each mutant gets a tree of its own in a temporary directory; the checkout is never touched. First all named
tests must pass without any mutant. `mutants.py TEXT ...` runs only those whose name or file holds one of the texts. `mutants.py hil ...`
takes those of hil.toml, which only killed processes and a real API server can show: one after another, in minutes instead of seconds.

Every run is a child forked from this process, which has imported the libraries but nothing of ours: to start an interpreter and what the
tests import for each would take longer than all the tests.
"""

from __future__ import annotations

import compileall
import gc
import importlib
import importlib.metadata
import os
import shutil
import signal
import sys
import tempfile
import time
import tomllib
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import hypothesis
import pytest

ROOT: Final = Path(__file__).resolve().parent.parent.parent
PACKAGES: Final = ("gateway", "transports")
COPIED: Final = ("pyproject.toml", "conftest.py")
LINKED: Final = ("hil-tests", "firmware-protocol")
HERE: Final = Path(__file__).parent
PRELOADED: Final = (
    "aiohttp",
    "anyio._backends._asyncio",
    "cobs.cobs",
    "cryptography.x509",
    "h11",
    "hypothesis.stateful",
    "hypothesis.strategies",
    "kubernetes.aio.client",
    "kubernetes.aio.config",
    "msgpack",
    "pydantic",
    "serial_asyncio",
    "sqlite3",
    "yaml",
)
OPTIONS: Final = ("-q", "-x", "--no-header", "--tb=short", "--assert=plain", "--timeout=0", "-p", "no:unraisableexception")
"""pytest-timeout would take the alarm for itself. What a mutant leaves behind is no news, and to look for it takes as long as a test."""
FAILED: Final = int(pytest.ExitCode.TESTS_FAILED)
"""Other exit codes mean that the test did not run."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One defence less; the fields of the lists. It should fail its test at once, and not by waiting for ever."""

    name: str
    file: str
    text: str
    """It stands exactly once in the file, so a defence that moves or is reworded has to be found again."""
    replacement: str
    test: str
    """Relative to the tests of the file's package, unless it is a hil test."""

    @property
    def test_path(self) -> str:
        return self.test if self.test.startswith("hil-tests/") else f"{self.file.partition('/')[0]}/tests/{self.test}"


@dataclass(frozen=True, slots=True)
class Course:
    """Some lists, and how their tests are run."""

    lists: Sequence[Path]
    at_once: int
    test_s: int
    """A mutant may make its test run for ever; that counts as noticed."""
    all_tests_s: int

    def mutants(self, texts: Sequence[str]) -> list[Mutant]:
        """Those that hold one of the texts, or all."""
        found = [Mutant(**entry) for path in self.lists for entry in tomllib.loads(path.read_text())["defence"]]
        return [mutant for mutant in found if not texts or any(text in mutant.name or text in mutant.file for text in texts)]


# Many a unit test waits for a thread, a disk or a clock; a hil test has a control plane, and its own time-out.
UNIT: Final = Course(sorted((HERE / "defences").glob("*.toml")), at_once=2 * (os.cpu_count() or 1), test_s=60, all_tests_s=900)
HIL: Final = Course([HERE / "hil.toml"], at_once=1, test_s=900, all_tests_s=3600)


def preload() -> None:
    """Import what a child would import again: libraries, and pytest's plugins."""
    plugins = [plugin.module for plugin in importlib.metadata.entry_points(group="pytest11")]
    for name in (*PRELOADED, *plugins):
        importlib.import_module(name)
    # Nobody reads the smallest example of a mutant.
    hypothesis.settings.register_profile("mutants", phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate], database=None)
    hypothesis.settings.load_profile("mutants")
    gc.freeze()  # pytest collects garbage at its end, and a child need not look at all this


class Run:
    """One child with one tree and some tests."""

    def __init__(self, template: Path, tests: Sequence[str], mutant: Mutant | None, limit_s: int) -> None:
        self._started = time.monotonic()
        self._directory = tempfile.TemporaryDirectory(prefix="wirelet-mutant-")
        self._tree = Path(self._directory.name)
        if mutant is None:
            link_around(template, self._tree, Path())
        else:
            link_around(template, self._tree, Path(mutant.file))
            file = self._tree / mutant.file
            file.write_text((template / mutant.file).read_text().replace(mutant.text, mutant.replacement))
            os.utime(file, (0, 0))  # so that no byte code is taken for that of this file
        sys.stdout.flush()
        self.pid = os.fork()
        if not self.pid:
            self._be_the_child(tests, limit_s)

    def _be_the_child(self, tests: Sequence[str], limit_s: int) -> None:
        """Never returns. A test without an end is ended by the alarm."""
        code = int(pytest.ExitCode.INTERNAL_ERROR)
        try:
            signal.alarm(limit_s)
            output = os.open(self._tree / "output", os.O_WRONLY | os.O_CREAT)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.chdir(self._tree)
            sys.path.insert(0, str(self._tree))
            os.environ |= {"PYTHONPATH": str(self._tree), "PYTHONDONTWRITEBYTECODE": "1"}  # for the processes that a test starts
            sys.dont_write_bytecode = True
            code = int(pytest.main([*OPTIONS, f"--basetemp={self._tree / 'tmp'}", *tests]))
            for package in PACKAGES:
                if package in sys.modules and sys.modules[package].__file__ != str(self._tree / package / "__init__.py"):
                    print("the tests ran on another tree")
                    code = int(pytest.ExitCode.INTERNAL_ERROR)
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    @property
    def age_s(self) -> float:
        return time.monotonic() - self._started

    def finish(self, status: int) -> tuple[int, str]:
        """pytest's exit code and output; the tree is gone after that."""
        output = (self._tree / "output").read_text(errors="replace")
        self._directory.cleanup()
        if os.WIFSIGNALED(status):
            return FAILED if os.WTERMSIG(status) == signal.SIGALRM else -os.WTERMSIG(status), output
        return os.WEXITSTATUS(status), output


def make_template(to: Path) -> None:
    """The unmutated tree with its byte code, so that a mutant compiles one file."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, to / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in COPIED:
        shutil.copy(ROOT / name, to / name)
    for name in LINKED:
        (to / name).symlink_to(ROOT / name)
    compileall.compile_dir(to, quiet=2)


def link_around(template: Path, tree: Path, file: Path) -> None:
    """Make tree a template of links, with real folders on the way to file, which is left out."""
    for entry in template.iterdir():
        if entry.name not in file.parts[:1]:
            (tree / entry.name).symlink_to(entry)
        elif len(file.parts) > 1:
            (tree / entry.name).mkdir()
            link_around(entry, tree / entry.name, Path(*file.parts[1:]))


def misplaced(mutant: Mutant) -> str | None:
    """Why this mutant cannot be made, or None."""
    count = (ROOT / mutant.file).read_text().count(mutant.text)
    return None if count == 1 else f"{mutant.file} holds its text {count} times, not once"


def why_alive(mutant: Mutant, code: int, output: str) -> str | None:
    """None when the test noticed."""
    if code == FAILED:
        return None
    return f"{mutant.test} passed" if code == 0 else f"{mutant.test} did not run ({code}): {output[-600:]}"


def run_all(course: Course, template: Path, mutants: Sequence[Mutant]) -> dict[str, str | None]:
    """Name -> why it survived, or None."""
    results: dict[str, str | None] = {}
    waiting = list(mutants)
    running: dict[int, tuple[Mutant, Run]] = {}
    while waiting or running:
        while waiting and len(running) < course.at_once:
            mutant = waiting.pop(0)
            reason = misplaced(mutant)
            if reason is not None:
                results[mutant.name] = tell(mutant, reason)
                continue
            run = Run(template, [mutant.test_path], mutant, course.test_s)
            running[run.pid] = mutant, run
        if running:
            pid, status = os.wait()
            mutant, run = running.pop(pid)
            results[mutant.name] = tell(mutant, why_alive(mutant, *run.finish(status)), run.age_s)
    return results


def tell(mutant: Mutant, reason: str | None, took_s: float = 0.0) -> str | None:
    print(f"{took_s:4.1f} s  " + (f"killed    {mutant.name}" if reason is None else f"SURVIVED  {mutant.name}: {reason}"), flush=True)
    return reason


def run_without_mutants(course: Course, template: Path, tests: Sequence[str]) -> str | None:
    """None when all pass; else what the first failure says."""
    hands = [tests[start :: course.at_once] for start in range(course.at_once)]
    runs = [Run(template, hand, None, course.all_tests_s) for hand in hands if hand]
    outcomes = [run.finish(os.waitpid(run.pid, 0)[1]) for run in runs]
    return next((f"({code}):\n{output}" for code, output in outcomes if code != 0), None)


def main() -> int:
    started = time.monotonic()
    is_hil = sys.argv[1:2] == ["hil"]
    course = HIL if is_hil else UNIT
    if is_hil:
        os.environ.setdefault("WIRELET_REQUIRE", "cluster")  # a test that is skipped guards nothing
    chosen = course.mutants(sys.argv[1 + is_hil :])
    preload()
    with tempfile.TemporaryDirectory(prefix="wirelet-mutants-") as directory:
        template = Path(directory)
        make_template(template)
        failure = run_without_mutants(course, template, sorted({mutant.test_path for mutant in chosen}))
        if failure is not None:
            print(f"without a mutant {failure}")
            return 1
        results = run_all(course, template, chosen)
    survivors = [name for name, reason in results.items() if reason is not None]
    print(f"{len(results)} defences, {len(survivors)} not guarded, {time.monotonic() - started:.0f} s")
    return 1 if survivors else 0


if __name__ == "__main__":
    raise SystemExit(main())
