"""What a model with attached memories answers about its users, under every condition that could explain it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from random import Random

import numpy as np
import torch
from torch import Tensor

from callosal.measures.recording import record_shares
from callosal.measures.retention import Retention
from callosal.measures.specialization import Specialization, domain_shares, specialization
from callosal.memory import LateralMemory, MemoryState
from callosal.models import Memories
from callosal.tasks.persona import DOMAINS, Conversation, PersonaConfig, Turn, tokenized
from callosal.tasks.persona import sample_conversation as draw
from callosal.training.conversations import NOT_SCORED, Batch, collate_conversations

Encode = Callable[[str], list[int]]
BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Accuracy of answers in [0, 1], over held-out conversations.

    An answer is one word; it is right if it is the most probable one where it is due. "Memory" means
    that the facts were told in an earlier session, by other calls, and nothing else of it is in context.

    Attributes:
        num_conversations: how many were drawn.
        no_memory: about the facts, by the model alone.
        memory: with the user's own memory.
        reset: with that memory reset between the sessions.
        others: with the memory of another user, who was told other things.
        as_others: with it, how often the answer is what the other user would have been given, where both
            stated something of the kind and not the same.
        in_context: by the model alone, with everything that was said in its context.
        rule_before: of the rule domain, by the model alone.
        rule: of the rule domain, with the memory.
        lesioned: (about the facts, of the rules) with what a bank holds taken away between the
            sessions, one pair for each bank.
        specialization: the banks' measures over the domains, for each memory; D_sep of the facts first.
        shares: mean share of the left bank in turns that tell, turns that ask, and rules, for each memory.
    """

    num_conversations: int
    no_memory: float
    memory: float
    reset: float
    others: float
    as_others: float
    in_context: float
    rule_before: float
    rule: float
    lesioned: list[list[float]]
    specialization: list[Specialization]
    shares: list[list[float]]


class Shelf:
    """A store of memories in a dictionary, by the name of the entry."""

    def __init__(self, states: dict[str, MemoryState] | None = None) -> None:
        self.states = dict(states or {})

    def load(self, user: str, memory: LateralMemory) -> MemoryState:
        """Return what was saved, or a blank memory."""
        state = self.states.get(user)
        return memory.blank(1) if state is None else state

    def save(self, user: str, state: MemoryState, memory: LateralMemory) -> None:  # noqa: ARG002
        """Keep a memory."""
        self.states[user] = state

    def without(self, bank: int) -> "Shelf":
        """Return a copy in which a bank is blank."""
        kept = {}
        for name, state in self.states.items():
            trace = state.trace.clone()
            trace[:, bank] = 0.0
            kept[name] = replace(state, trace=trace)
        return Shelf(kept)
