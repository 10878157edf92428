"""Take one defence of the wire protocol away at a time; the test that guards it must fail: `make mutants`.

The list is defences.toml. Each mutant gets a copy of `transports` of its own in a temporary directory; the checkout is never touched. First
all named tests must pass without any mutant. `mutants.py TEXT ...` runs only those whose name holds one of the texts.

Every run is a child forked from this process, which has imported the libraries but nothing of `transports`: to start an interpreter and
Hypothesis for each would take longer than all the tests.
"""

from __future__ import annotations

import compileall
import importlib.util
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

import hypothesis.stateful
import hypothesis.strategies
import msgpack
import pytest
from cobs import cobs

ROOT: Final = Path(__file__).resolve().parent.parent.parent
COPIED: Final = ("pyproject.toml", "conftest.py")
PRELOADED: Final = (hypothesis.stateful, hypothesis.strategies, msgpack, cobs)
TEST_S: Final = 30
"""A mutant may make its test run for ever; that counts as noticed."""
FAILED: Final = int(pytest.ExitCode.TESTS_FAILED)
"""Other exit codes mean that the test did not run."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One defence less; the fields of defences.toml."""

    name: str
    file: str
    text: str
    replacement: str
    test: str


def read_mutants() -> list[Mutant]:
    """Those that the command line names, or all."""
    entries = tomllib.loads((Path(__file__).parent / "defences.toml").read_text())["defence"]
    mutants = [Mutant(**entry) for entry in entries]
    return [mutant for mutant in mutants if not sys.argv[1:] or any(text in mutant.name for text in sys.argv[1:])]


class Run:
    """One child with one tree and some tests."""

    def __init__(self, template: Path, tests: Sequence[str], mutant: Mutant | None) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="wirelet-mutant-")
        self._tree = Path(self._directory.name)
        shutil.copytree(template, self._tree, dirs_exist_ok=True)
        if mutant is not None:
            file = self._tree / mutant.file
            file.write_text(file.read_text().replace(mutant.text, mutant.replacement))
            Path(importlib.util.cache_from_source(str(file))).unlink()
        sys.stdout.flush()
        self.pid = os.fork()
        if not self.pid:
            self._be_the_child([f"transports/tests/{test}" for test in tests])

    def _be_the_child(self, paths: Sequence[str]) -> None:
        """Never returns. A test without an end is ended by the alarm."""
        code = int(pytest.ExitCode.INTERNAL_ERROR)
        try:
            signal.alarm(TEST_S)
            output = os.open(self._tree / "output", os.O_WRONLY | os.O_CREAT)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.chdir(self._tree)
            sys.path.insert(0, str(self._tree))
            sys.dont_write_bytecode = True
            code = int(pytest.main(["-q", "-x", "--no-header", "--tb=short", "--assert=plain", *paths]))
            if sys.modules["transports"].__file__ != str(self._tree / "transports" / "__init__.py"):
                print("the tests ran on another tree")
                code = int(pytest.ExitCode.INTERNAL_ERROR)
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def finish(self, status: int) -> tuple[int, str]:
        """pytest's exit code and output; the tree is gone after that."""
        output = (self._tree / "output").read_text(errors="replace")
        self._directory.cleanup()
        if os.WIFSIGNALED(status):
            return FAILED if os.WTERMSIG(status) == signal.SIGALRM else -os.WTERMSIG(status), output
        return os.WEXITSTATUS(status), output


def make_template(to: Path) -> None:
    """The unmutated tree with its byte code, so that a mutant compiles one file."""
    shutil.copytree(ROOT / "transports", to / "transports", ignore=shutil.ignore_patterns("__pycache__"))
    for name in COPIED:
        shutil.copy(ROOT / name, to / name)
    compileall.compile_dir(to, quiet=2)


def misplaced(mutant: Mutant) -> str | None:
    """Why this mutant cannot be made, or None."""
    count = (ROOT / mutant.file).read_text().count(mutant.text)
    return None if count == 1 else f"{mutant.file} holds its text {count} times, not once"


def why_alive(mutant: Mutant, code: int, output: str) -> str | None:
    """None when the test noticed."""
    if code == FAILED:
        return None
    return f"{mutant.test} passed" if code == 0 else f"{mutant.test} did not run ({code}): {output[-600:]}"


def run_all(template: Path, mutants: Sequence[Mutant]) -> dict[str, str | None]:
    """Name -> why it survived, or None; as many at a time as there are processors."""
    results: dict[str, str | None] = {}
    waiting = list(mutants)
    running: dict[int, tuple[Mutant, Run]] = {}
    while waiting or running:
        while waiting and len(running) < (os.cpu_count() or 1):
            mutant = waiting.pop(0)
            reason = misplaced(mutant)
            if reason is not None:
                tell(mutant, reason, results)
                continue
            run = Run(template, [mutant.test], mutant)
            running[run.pid] = mutant, run
        if running:
            pid, status = os.wait()
            mutant, run = running.pop(pid)
            tell(mutant, why_alive(mutant, *run.finish(status)), results)
    return results


def tell(mutant: Mutant, reason: str | None, results: dict[str, str | None]) -> None:
    results[mutant.name] = reason
    print(f"killed   {mutant.name}" if reason is None else f"SURVIVED {mutant.name}: {reason}", flush=True)


def main() -> int:
    started = time.monotonic()
    chosen = read_mutants()
    with tempfile.TemporaryDirectory(prefix="wirelet-mutants-") as directory:
        template = Path(directory)
        make_template(template)
        whole = Run(template, sorted({mutant.test for mutant in chosen}), None)
        code, output = whole.finish(os.waitpid(whole.pid, 0)[1])
        if code != 0:
            print(f"without a mutant ({code}):\n{output}")
            return 1
        results = run_all(template, chosen)
    survivors = [name for name, reason in results.items() if reason is not None]
    print(f"{len(results)} defences, {len(survivors)} not guarded, {time.monotonic() - started:.0f} s")
    return 1 if survivors else 0


if __name__ == "__main__":
    raise SystemExit(main())
