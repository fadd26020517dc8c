"""Runs for `test_processes.py` in which each process reads a piece of every turn: alone, or as one of two processes."""

import warnings
from contextlib import nullcontext
from typing import Any, NamedTuple
from unittest import mock

import torch
from torch import Tensor, distributed, nn
from torch.nn.functional import cross_entropy

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from accelerate import Accelerator
    from accelerate.data_loader import SeedableRandomSampler
    from accelerate.utils import gather_object
from tests.hosts.hosts import VOCABULARY, prompts, trained
from tests.training.conversations import EVERY_BUFFER, Stream, conversations, frozen, loader
from tests.training.sharding import sharding
from torch.utils.data import RandomSampler

from callosal import MemoryConfig, StatefulConfig, attach, train_stateful
from callosal.hosts import reading
from callosal.hosts.memories import Memories
from callosal.memory.processes import all_apart, from_each
from callosal.training import UNSCORED
from callosal.training import conversations as module

WIDTH = 32
OPTIONS = MemoryConfig(
    width=WIDTH,
    num_slots=4,
    num_heads=3,
    salience="learned",
    writers="lagged",
    observe=True,
    output_gate=True,
    inner_width=8,
    crosstalk="received",
    detach_context=True,
    recollection=0.3,
)
# Of each run: turns that a gradient goes through, whether the base is frozen, and the memories.
RUNS: dict[str, tuple[int | None, bool, MemoryConfig]] = {
    "whole": (None, False, EVERY_BUFFER),
    "pairs": (2, True, EVERY_BUFFER),
    "options": (None, False, OPTIONS),
    # The base in shards, the memories whole.
    "sharded": (None, True, EVERY_BUFFER),
    # A fault: pieces that know nothing of each other.
    "apart": (None, False, EVERY_BUFFER),
}


class Answer(NamedTuple):
    """What a causal language model of transformers gives, as far as it is asked for."""

    logits: Tensor


class Block(nn.Sequential):
    """A layer that treats tokens one by one."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(WIDTH, WIDTH), nn.Tanh())


class PerToken(nn.Module):
    """A language model that treats tokens one by one: nothing but its memories joins them.

    With ``positions`` it knows where in a call each stands.
    """

    def __init__(self, *, positions: bool = False) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.places = nn.Embedding(64, WIDTH) if positions else None
        self.layers = nn.ModuleList(Block() for _ in range(2))
        self.head = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, use_cache: bool = False) -> Answer:
        """Return logits."""
        del attention_mask, use_cache
        hidden = self.embedding(input_ids)
        if self.places is not None:
            hidden = hidden + self.places(torch.arange(input_ids.shape[1]))
        for layer in self.layers:
            hidden = hidden + layer(hidden)
        return Answer(self.head(hidden))


class Mixing(nn.Module):
    """Causal attention of one head over the pieces of all processes: what the user of a model has to see to."""

    def __init__(self, group: Any) -> None:
        super().__init__()
        self.maps, self.group = nn.Linear(WIDTH, 3 * WIDTH), group

    def forward(self, hidden: Tensor) -> Tensor:
        """Return what each token finds at or before it."""
        query, *others = self.maps(hidden).chunk(3, dim=-1)
        key, value = (from_each(each, self.group).movedim(0, 1).flatten(1, 2) for each in others)
        before = key.shape[1] - query.shape[1] if self.group is not None and self.group.rank() else 0
        hides = torch.ones(query.shape[1], key.shape[1], dtype=torch.bool).triu(1 + before)
        return (query @ key.mT).masked_fill(hides, -torch.inf).softmax(-1) @ value


def per_token(config: MemoryConfig = EVERY_BUFFER, *, freeze: bool = True, positions: bool = False) -> Memories:
    """Return memories that say something, behind both layers of such a model in double precision."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = PerToken(positions=positions).double().requires_grad_(not freeze)
        return trained(attach(model, ["layers.0", "layers.1"], config, warn_outside_session=False))


def _run(name: str) -> dict[str, Any]:
    """Train, and return the curve, the weights, and the loss of every token of every turn that was read."""
    accelerator, (truncate, freeze, options) = Accelerator(cpu=True), RUNS[name]
    memories = per_token(options, freeze=freeze)
    settings: dict[str, Any] = {"learning_rate": 1e-2, "warmup_steps": 1, "weight_decay": 0.1, "log_every": 1}
    config = StatefulConfig(num_steps=4, truncate=truncate, sequence_parallel=True, **settings)
    data, losses = conversations(16), list[Tensor]()
    batches = loader(Stream(data) if name == "pairs" else data, sampler=None)
    if name == "options":
        batches = loader(data, sampler=SeedableRandomSampler(data, data_seed=0))
    summed = module._cross_entropy

    def noted(logits: Tensor, labels: Tensor) -> Tensor:
        following = labels[:, 1:]
        each = cross_entropy(
            logits[:, : following.shape[1]].mT.detach(), following, reduction="none", ignore_index=UNSCORED
        )
        losses.append(each)
        return summed(logits, labels)

    def by_itself(memory: Any, *given: Any, group: Any, **more: Any) -> Any:
        del group
        return memory(*given, **more)

    special: Any = nullcontext()
    if name == "apart":
        special = mock.patch.object(reading, "sequence_parallel", by_itself)
    if name == "sharded" and accelerator.num_processes == 2:
        special = sharding("Block")
    with special, mock.patch.object(module, "_cross_entropy", noted):
        curve = train_stateful(memories, batches, config, accelerator=accelerator)
    pieces = gather_object([losses])
    return {
        "curve": curve,
        "losses": [torch.cat(turn, dim=1) for turn in zip(*pieces, strict=True)],
        "weights": (memories if freeze else memories.model).state_dict(),
        "processes": accelerator.num_processes,
    }


def _in_a_loop_of_its_own(accelerator: Accelerator) -> dict[str, Tensor]:
    """Read two turns in a session, by a model whose attention goes across processes; return all that came of it."""
    world, rank = accelerator.num_processes, accelerator.process_index
    group = all_apart()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = PerToken()
        model.layers.insert(1, Mixing(group))
        memories = trained(attach(model.double(), ["layers.0", "layers.2"], EVERY_BUFFER, warn_outside_session=False))
    part = slice(rank * 4, (rank + 1) * 4) if world > 1 else slice(None)
    loss, logits = torch.zeros((), dtype=torch.float64), list[Tensor]()
    with memories.session(sequence_group=group) as session:
        for seed in (1, 2):
            logits.append(model(prompts(time=8, seed=seed)[:, part]).logits)
            loss = loss + logits[-1].log_softmax(-1)[..., 3].sum()
    (loss + sum(state.trace[:0].sum() for state in session.states.values())).backward()
    answers = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    if world > 1:
        for gradient in answers.values():
            distributed.all_reduce(gradient)
    parts = zip(*gather_object([[each.detach() for each in logits]]), strict=True)
    answers |= {f"logits {n}": torch.cat(each, dim=1) for n, each in enumerate(parts)}
    return answers | {name: state.trace.detach() for name, state in session.states.items()}


def _refusals(accelerator: Accelerator) -> dict[str, str]:
    """Return what is said of models and loaders that would be read wrongly without a word; nothing on one process."""
    data, said = conversations(8), dict[str, str]()
    order = torch.Generator().manual_seed(accelerator.process_index)
    tried = {
        "attention": (frozen(), loader(data)),
        "positions": (per_token(positions=True), loader(data)),
        "loaders": (per_token(), loader(data, sampler=RandomSampler(data, generator=order))),
    }
    for name, (memories, batches) in tried.items():
        config = StatefulConfig(num_steps=1, sequence_parallel=True)
        try:
            train_stateful(memories, batches, config, accelerator=accelerator)
        except ValueError as error:
            said[name] = str(error)
        assert memories.active is None
    return said


def pieces() -> dict[str, Any]:
    """Return the outcome of every run, and what was refused."""
    accelerator = Accelerator(cpu=True)
    return {name: _run(name) for name in RUNS} | {
        "refused": _refusals(accelerator),
        "loop": _in_a_loop_of_its_own(accelerator),
    }
