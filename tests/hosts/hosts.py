"""Tiny random models as users have them, and a store in a dictionary."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.laws import assert_same_state
from tests.tolerances import SINGLE
from torch import Tensor, nn

from callosal import LateralMemory, Memories, MemoryConfig, MemoryState, attach

with warnings.catch_warnings():
    # What transformers says of itself when it is imported is not ours to mend.
    warnings.simplefilter("ignore")
    import transformers
    from transformers.models import gemma, gemma2, gpt2, llama, mistral, qwen2, qwen3

VOCABULARY, WIDTH, PAD = 40, 32, 0
CONFIG = MemoryConfig(width=WIDTH, num_slots=6)

SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "pad_token_id": PAD,
    "bos_token_id": 1,
    "eos_token_id": None,
}
_GROUPED: dict[str, Any] = {"num_key_value_heads": 1, "head_dim": 16}

MODELS: dict[str, Callable[[], Any]] = {
    "gpt2": lambda: gpt2.GPT2LMHeadModel(gpt2.GPT2Config(**SIZES)),
    "llama": lambda: llama.LlamaForCausalLM(llama.LlamaConfig(**SIZES)),
    "qwen2": lambda: qwen2.Qwen2ForCausalLM(qwen2.Qwen2Config(**SIZES, num_key_value_heads=1)),
    "qwen3": lambda: qwen3.Qwen3ForCausalLM(qwen3.Qwen3Config(**SIZES, **_GROUPED)),
    "mistral": lambda: mistral.MistralForCausalLM(mistral.MistralConfig(**SIZES, **_GROUPED, sliding_window=4)),
    "gemma": lambda: gemma.GemmaForCausalLM(gemma.GemmaConfig(**SIZES, **_GROUPED)),
    "gemma2": lambda: gemma2.Gemma2ForCausalLM(gemma2.Gemma2Config(**SIZES, **_GROUPED, sliding_window=4)),
}

ALL = pytest.mark.parametrize("name", list(MODELS))
USERS = ("ada", "bob", "cy")


def make(name: str = "llama") -> Any:
    """Return a tiny random model of a kind, in evaluation mode, the same one each time."""
    transformers.logging.set_verbosity_error()
    torch.manual_seed(0)
    return MODELS[name]().eval()


def trained(memories: Memories, scale: float = 0.3) -> Memories:
    """Give the output maps weights, as training would."""
    generator = torch.Generator().manual_seed(1)
    for name in memories:
        weight = memories[name].output.weight
        nn.init.normal_(weight, std=scale, generator=generator)
    return memories


def remembering(name: str = "llama", **settings: Any) -> tuple[Any, Memories]:
    """Return a model with memories that say something behind both layers."""
    model = make(name)
    return model, trained(attach(model, layers=[0, -1], config=CONFIG, **settings))


def prompts(rows: int = 3, time: int = 7, seed: int = 2) -> Tensor:
    """Return random token ids, none of them special."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, VOCABULARY, (rows, time), generator=generator)


def pad_left(tokens: Tensor, number: int, row: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Put padding before one row; return the tokens, their mask and their positions."""
    tokens, mask = tokens.clone(), torch.ones_like(tokens)
    tokens[row, :number], mask[row, :number] = PAD, 0
    return tokens, mask, positions(mask)


def positions(mask: Tensor) -> Tensor:
    """Count the tokens that are there."""
    return (mask.cumsum(1) - 1).clamp_min(0)


def tensors(state: Any) -> list[Tensor]:
    """Return every tensor of a state, or of states by their names, those of open segments included."""
    if state is None:
        return []
    if isinstance(state, Tensor):
        return [state]
    parts = state if isinstance(state, dict) else vars(state)
    return [tensor for part in parts.values() for tensor in tensors(part)]


def same_bits(left: Any, right: Any) -> bool:
    """Whether all tensors of two states are equal."""
    return all(torch.equal(a, b) for a, b in zip(tensors(left), tensors(right), strict=True))


def assert_same_states(actual: dict[str, Any], expected: dict[str, Any]) -> None:
    """Compare the states of all layers, within the tolerance of single precision."""
    assert list(actual) == list(expected)
    for name, state in actual.items():
        assert_same_state(state, expected[name], SINGLE)


class DictStore:
    """Keeps states in a dictionary."""

    def __init__(self) -> None:
        self.entries: dict[str, MemoryState] = {}

    def load(self, user: str, memory: LateralMemory) -> MemoryState:
        """Return what was saved, or a blank state."""
        return self.entries.get(user) or memory.blank(1)

    def save(self, user: str, state: MemoryState, memory: LateralMemory) -> None:  # noqa: ARG002
        """Keep a copy."""
        assert len(state) == 1
        self.entries[user] = state.clone()
