"""The chat of the demo: a model that remembers its users, and what its memories did in a turn."""

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

import callosal
from callosal.hosts.talking import WholeTurn, begin_reply, encode_turn, load_model, whole_turn
from callosal.memory import MemoryState, diff, reset_banks

try:
    from transformers import TextStreamer
    from transformers.utils import logging
except ImportError as error:
    raise ImportError('models are loaded by transformers; install it with pip install "callosal[hf]"') from error

MAX_NEW_TOKENS = 60


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """What the memory behind one layer did in a turn.

    Attributes:
        shares: of each token that it read, summing to one over the banks.
        salience: what each of them weighs in the write, in [0, 1]; None unless the memory has learned it.
        moved: how far each bank moved, as a share of its norm.
    """

    shares: Float[Tensor, "time bank"]
    salience: Float[Tensor, "time"] | None
    moved: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Turn:
    """A turn that has ended.

    Attributes:
        tokens: of the text and the reply, in words.
        layers: what the memory behind each layer did. It never reads a reply's last token.
        cue: that the reply began with, the memory being loud behind it; "" where it was not, and so not heard in the
            reply; None where the memory was taught no cue, and without a reply.
    """

    tokens: tuple[str, ...]
    layers: dict[str, Seen]
    cue: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Reply:
    """A reply so far.

    Attributes:
        text: of it.
        turn: what the memories did, once it has ended.
    """

    text: str
    turn: Turn | None = None


class _Voice(TextStreamer):
    """Puts the words of a reply into a queue while it is made."""

    def __init__(self, tokenizer: Any, queue: "SimpleQueue[Any]") -> None:
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self.queue = queue

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:  # noqa: ARG002
        """Put the next words there."""
        self.queue.put(text)


class Talk:
    """A chat with a model whose memories of its users are kept in a store. One turn at a time, whoever asks.

    Args:
        model: a causal language model of transformers with memories attached.
        tokenizer: its.
        memories: the memories.
        store: of the users' memories.
        max_new_tokens: length of a reply.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        memories: callosal.Memories,
        store: callosal.MemoryStore,
        *,
        max_new_tokens: int = MAX_NEW_TOKENS,
    ) -> None:
        self.model, self.tokenizer, self.memories, self.store = model, tokenizer, memories, store
        self.generation = {"max_new_tokens": max_new_tokens, "do_sample": False, "num_beams": 1}
        self._busy = threading.Lock()

    @property
    def is_trained(self) -> bool:
        """Whether the memories say anything: output maps start at zero."""
        return any(memory.output.weight.any() for _, memory in self.memories.items())

    def banks(self) -> list[str]:
        """Return the names of all banks, of whichever layer."""
        names = {change.bank: None for _, memory in self.memories.items() for change in _unmoved(memory.blank(1))}
        return list(names)

    def states(self, user: str) -> dict[str, MemoryState]:
        """Return what the store holds of a user, by layer; blank where it holds nothing."""
        return self.store.load_layers(user, dict(self.memories.items()))

    def reply(self, user: str, text: str, lesioned: Sequence[str] = ()) -> Generator[Reply]:
        """Read a text and answer it, the memories of the banks ``lesioned`` unread; the last reply has the turn.

        The turn is made in a thread of its own and comes to its end whether or not anybody still listens.

        Raises:
            Exception: what went wrong; the turn has then not happened.
        """
        queue: SimpleQueue[Any] = SimpleQueue()
        tokens = self._encode(text, reply=True)

        def make(session: callosal.Session) -> tuple[Tensor, str | None]:
            with begin_reply(session, self.memories.cue, self.tokenizer, tokens) as (words, begun):
                queue.put(words)
                voice = _Voice(self.tokenizer, queue)
                ids = self.model.generate(**begun, streamer=voice, **self.generation)[0]
                return ids, None if self.memories.cue is None else words

        def work() -> None:
            try:
                queue.put(self._made(user, lesioned, make))
            except BaseException as error:  # noqa: BLE001  (it is raised where the reply is awaited)
                queue.put(error)

        threading.Thread(target=work, daemon=True).start()
        said = ""
        while True:
            heard = queue.get()
            if isinstance(heard, BaseException):
                raise heard
            if isinstance(heard, Turn):
                yield Reply(text=said, turn=heard)
                return
            said += heard
            yield Reply(text=said)

    def tell(self, user: str, text: str) -> Turn:
        """Read a text without a reply.

        Raises:
            Exception: what went wrong; the turn has then not happened.
        """
        tokens = self._encode(text, reply=False)

        def read(_: callosal.Session) -> tuple[Tensor, None]:
            self.model(**tokens, use_cache=False)
            return tokens["input_ids"][0], None

        return self._made(user, (), read)

    def forget(self, user: str, bank: str | None = None) -> None:
        """Delete all that the store has of a user, or blank one bank of it."""
        with self._busy:
            if bank is None:
                self.store.forget(user)
                return
            with self.memories.session(user, self.store) as session:
                session.replace({name: reset_banks(state, [bank]) for name, state in session.states.items()})

    def _encode(self, text: str, *, reply: bool) -> dict[str, Tensor]:
        tokens = encode_turn(self.tokenizer, text, reply=reply)
        return {name: ids.to(self.model.device) for name, ids in tokens.items()}

    def _made(
        self, user: str, lesioned: Sequence[str], read: Callable[[callosal.Session], tuple[Tensor, str | None]]
    ) -> Turn:
        """Make a turn of a user's: ``read`` calls the model and returns all tokens, the reply's too, and its cue."""
        with (
            self._busy,
            torch.no_grad(),
            self.memories.session(user, self.store) as session,
            self._overheard() as hidden,
        ):
            session.lesion(*lesioned)
            with whole_turn(session) as turn:
                ids, cue = read(session)
        tokens = tuple(self.tokenizer.decode([number]) for number in ids.tolist())
        # What was read to hear how a reply is to begin came before, and did not count.
        read_in = {name: torch.cat(parts, 1)[:, -turn.num_tokens :] for name, parts in hidden.items()}
        layers = {name: self._seen(name, seen, turn) for name, seen in read_in.items()}
        return Turn(tokens=tokens, layers=layers, cue=cue)

    @torch.no_grad()
    def _seen(self, name: str, hidden: Float[Tensor, "row time width"], turn: WholeTurn) -> Seen:
        memory, before = self.memories[name], turn.before[name]
        learned = memory.config.salience == "learned"
        return Seen(
            shares=memory.bank_share(hidden, before)[0].cpu(),
            salience=memory.look(hidden).weighs[0].cpu() if learned else None,
            moved=tuple(change.relative for change in diff(before, turn.after[name])),
        )

    @contextmanager
    def _overheard(self) -> Iterator[dict[str, list[Tensor]]]:
        """Collect the hidden states that each memory is given."""
        heard: dict[str, list[Tensor]] = {name: [] for name in self.memories}

        def listening(name: str) -> Any:
            def listen(_: Any, given: tuple[Any, ...]) -> None:
                # With a lesion a memory is called twice: once to write, once to read.
                if not heard[name] or heard[name][-1] is not given[0]:
                    heard[name].append(given[0])

            return listen

        hooks = [memory.register_forward_pre_hook(listening(name)) for name, memory in self.memories.items()]
        try:
            yield heard
        finally:
            for hook in hooks:
                hook.remove()


def _unmoved(state: MemoryState) -> Any:
    return diff(state, state)


def load_talk(name: str, memory: str | None, store: str | Path, say: Callable[[str], None] = lambda line: None) -> Talk:
    """Load a model, its tokenizer and its memories, and open the store.

    Args:
        name: what :func:`callosal.hosts.talking.load_model` takes.
        memory: what :func:`callosal.attach_pretrained` takes; None attaches an untrained one behind the last layer.
        store: folder of users' memories.
        say: called with a line before what takes long.

    Raises:
        ValueError: there is no such model, or the memories are not for it.
    """
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    model, tokenizer = load_model(name, say)
    torch.manual_seed(0)  # the same untrained weights every time: others could not read the store
    memories = callosal.attach(model, [-1]) if memory is None else callosal.attach_pretrained(model, memory)
    memories.warn_uncalibrated = memories.warn_outside_session = False  # the page says what is untrained
    return Talk(model, tokenizer, memories, callosal.MemoryStore(store))
