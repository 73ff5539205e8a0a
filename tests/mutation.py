"""How a named defect is put into a copy of the last commit, and whether a test sees it.

`mutants.py` has those of the supervisor, `fault_mutants.py` those of the fault matrix.
"""

import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

# A test that takes longer hangs, and a defect that makes a test hang is seen. A row of the fault
# matrix has a limit of its own, which is less.
LIMIT_SECONDS = 200
PANIC = re.compile(r"panicked at (tests|examples|session)/\S*\.rs:\d")


class Mutant(NamedTuple):
    name: str
    what: str
    file: str
    # What stands in the file exactly once, and what comes in its place.
    before: str
    after: str
    # The arguments of `cargo test` that name one test binary, and those of that binary.
    target: tuple
    tests: tuple


class Copy:
    """The last commit in a folder of its own, where everything that tests start works too."""

    def __enter__(self):
        self.root = pathlib.Path(__file__).resolve().parents[1]
        self.folder = tempfile.TemporaryDirectory(prefix="session-mutants-")
        folder = pathlib.Path(self.folder.name).resolve()
        self.path = folder / "copy"
        scratch = folder / "tmp"
        scratch.mkdir()
        self.skips = folder / "skips"
        git(self.root, "worktree", "add", "--detach", str(self.path), "HEAD")
        self.environment = {
            "CARGO_TARGET_DIR": str(folder / "target"),
            # Each mutant is one small change, built once: what makes that quick.
            "CARGO_INCREMENTAL": "1",
            "CARGO_PROFILE_DEV_DEBUG": "0",
            **os.environ,
            "TMPDIR": str(scratch),
            "SESSION_FAULT_SKIPS": str(self.skips),
        }
        return self

    def __exit__(self, *_):
        git(self.root, "worktree", "remove", "--force", str(self.path))
        self.folder.cleanup()

    def build(self, target):
        """What went wrong, or nothing."""
        built = subprocess.run(
            ["cargo", "test", "-q", "--no-run", *target],
            cwd=self.path, env=self.environment, text=True, capture_output=True,
        )
        return built.stderr[-3000:] if built.returncode else None

    def test(self, target, tests):
        """One word for what came of it, and what was said of it."""
        self.skips.unlink(missing_ok=True)
        process = subprocess.Popen(
            ["cargo", "test", "-q", *target, "--", *tests],
            cwd=self.path, env=self.environment, text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        try:
            told, _ = process.communicate(timeout=LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return "hung", f"ended after {LIMIT_SECONDS} s"
        finally:
            self.end_leftovers()
        if process.returncode:
            return "failed", told
        if self.skips.exists():
            return "skipped", self.skips.read_text().strip()
        # A filter that fits nothing is no proof of anything.
        found = any(
            line.startswith("test result: ok. ") and not line.startswith("test result: ok. 0 passed")
            for line in told.splitlines()
        )
        return ("passed", told) if found else ("stale", "no test has that name")

    def end_leftovers(self):
        """A broken library leaves processes behind; they work below our folder, as no other does."""
        below = str(pathlib.Path(self.folder.name).resolve()) + "/"
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(entry / "cwd").startswith(below):
                    os.kill(int(entry.name), signal.SIGKILL)
            except OSError:
                pass


def git(root, *command):
    subprocess.run(["git", *command], cwd=root, check=True, capture_output=True)


def first_words(told):
    """Of the test that failed. What ran inside of another test comes last, and is the reason."""
    lines = told.splitlines()
    panics = [at for at, line in enumerate(lines[:-1]) if PANIC.search(line)]
    return lines[panics[-1] + 1].strip()[:160] if panics else ""


def expect_passing(copy, mutants):
    """A test that fails without any mutant would see them all."""
    targets = {}
    for mutant in mutants:
        targets.setdefault(mutant.target, []).extend(
            test for test in mutant.tests if test not in targets.get(mutant.target, ())
        )
    for target, tests in targets.items():
        error = copy.build(target)
        if error:
            sys.exit(f"the copy does not compile:\n{error}")
        outcome, told = copy.test(target, tests)
        if outcome not in ("passed", "skipped"):
            sys.exit(f"without a mutant, {' '.join(target)}: {outcome}\n{told[-3000:]}")


def verdict(copy, mutant):
    """One word, and what was said of it."""
    path = copy.path / mutant.file
    source = path.read_text()
    if source.count(mutant.before) != 1:
        return "stale", f"`{mutant.before.strip()}` stands {source.count(mutant.before)} times"
    path.write_text(source.replace(mutant.before, mutant.after))
    try:
        error = copy.build(mutant.target)
        if error:
            return "BROKEN", f"it does not compile:\n{error}"
        outcome, told = copy.test(mutant.target, mutant.tests)
    finally:
        path.write_text(source)
    if outcome == "failed":
        return "seen", first_words(told)
    if outcome == "hung":
        return "seen", "the test hangs: " + told
    if outcome == "passed":
        return "SURVIVED", ""
    return outcome, told


def main(mutants, names):
    known = list(dict.fromkeys(mutant.name for mutant in mutants))
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"expected names of mutants ({', '.join(known)}), found {', '.join(unknown)}")
    chosen = [mutant for mutant in mutants if not names or mutant.name in names]
    counts = {}
    with Copy() as copy:
        expect_passing(copy, chosen)
        for mutant in chosen:
            begun = time.monotonic()
            outcome, why = verdict(copy, mutant)
            counts[outcome] = counts.get(outcome, 0) + 1
            took = round(time.monotonic() - begun)
            print(f"{mutant.name:4} {outcome:8} {took:4} s  {mutant.what}", flush=True)
            if why:
                print("       " + why, flush=True)
    told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    print(f"{len(chosen)} mutants: {told}")
    # What this machine cannot run is told, as a row of the matrix is that is skipped.
    sys.exit(0 if set(counts) <= {"seen", "skipped"} else 1)
