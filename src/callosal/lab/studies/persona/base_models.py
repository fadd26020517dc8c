"""Small language models to attach memories to: built from a configuration, taught the task's own text."""

from dataclasses import dataclass, replace
from random import Random
from typing import Any

import torch
from torch import Tensor, nn

from callosal.checks import require
from callosal.lab.studies.persona.cells import HOSTS, Host
from callosal.lab.tasks.persona import Encode, PersonaConfig, Turn, sample_conversation, texts, tokenized
from callosal.lab.tasks.words import ATTRIBUTES
from callosal.training import UNSCORED
from callosal.training.conversations import collate_conversations
from callosal.training.loop import Step, TrainingConfig
from callosal.training.seeding import derive_seed, seeded

try:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
except ImportError as error:
    raise ImportError(
        'the persona study builds models of transformers; install them with pip install "callosal[hf]"'
    ) from error

PAD, END = "<pad>", "<end>"
# The tokenizer is a part of the task: the same for all seeds.
TOKENIZER_SEED = 0
TOKENIZER_TEXTS = 3000
# What the steps of pretraining read in turn: so many facts stated and asked at once, conversations, turns.
READINGS = (1, 4, 4, 4, "conversations", 4, "conversations", "turns")


@dataclass(frozen=True, kw_only=True)
class HostConfig:
    """A small causal language model of transformers.

    Attributes:
        kind: "GPT-2" (learned positions) or "Llama" (rotary ones).
        width: of the hidden states.
        num_layers: decoder layers.
        num_heads: attention heads; they divide the width.
        max_time: longest text.
        init_std: standard deviation of the weights at the start; learned positions have a quarter of it. At these
            widths transformers' own 0.02 takes several times as many steps to learn to look anything up, and positions
            as strong as words do too (LOG.md).
    """

    kind: Host
    width: int = 64
    num_layers: int = 4
    num_heads: int = 4
    max_time: int = 320
    init_std: float = 0.08

    def __post_init__(self) -> None:
        require(self, "kind", self.kind in HOSTS, f"it must be one of {HOSTS}")
        divides = self.width % self.num_heads == 0
        require(self, "num_heads", divides, f"it must divide the width ({self.width})")


def persona_tokenizer() -> Tokenizer:
    """Train a byte-pair tokenizer on the task's own text, in which every answer becomes one token.

    Raises:
        ValueError: an answer did not, for which the task's words must have been changed.
    """
    tokenizer = Tokenizer(models.BPE(unk_token=END))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    source = texts(PersonaConfig(), Random(TOKENIZER_SEED), "training")
    trainer = trainers.BpeTrainer(special_tokens=[PAD, END], show_progress=False, vocab_size=2000)
    tokenizer.train_from_iterator((next(source) for _ in range(TOKENIZER_TEXTS)), trainer)
    values = {value for attribute in ATTRIBUTES.values() for value in attribute.values}
    split = sorted(value for value in values if len(tokenizer.encode(value).ids) != 1)
    if split:
        raise ValueError(f"the tokenizer cuts answers in pieces: {', '.join(split)}")
    return tokenizer


def build_host(config: HostConfig, tokenizer: Tokenizer, seed: int) -> Any:
    """Initialise a host."""
    shared: dict[str, Any] = {
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": config.width,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "max_position_embeddings": config.max_time,
        "initializer_range": config.init_std,
        "pad_token_id": tokenizer.token_to_id(PAD),
        "bos_token_id": tokenizer.token_to_id(END),
        "eos_token_id": tokenizer.token_to_id(END),
    }
    with seeded(seed, "host"):
        if config.kind == "Llama":
            return LlamaForCausalLM(LlamaConfig(**shared, intermediate_size=3 * config.width))
        still: dict[str, Any] = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        model = GPT2LMHeadModel(GPT2Config(**shared, **still))
    with torch.no_grad():
        model.transformer.wpe.weight.mul_(0.25)
    return model


def text_step(
    model: nn.Module, config: PersonaConfig, training: TrainingConfig, encode: Encode, seed: int, step: int
) -> Step:
    """Draw a step's texts and return a language model's loss on them; there is no memory here.

    What is asked stands in the context, but for every eighth step, which reads turns alone. The loss is the mean over
    all tokens plus the mean over those that answer something.
    """
    random = Random(derive_seed(seed, "pretraining", step))
    reading = READINGS[step % len(READINGS)]
    rows: list[tuple[Turn, ...]]
    if isinstance(reading, int):
        short = replace(config, num_facts=reading, facts_per_turn=min(reading, 2))
        drawn = [sample_conversation(short, random, "training") for _ in range(training.batch_size)]
        rows = [tuple(t for t in user.turns if t.domain == "episodic") for user in drawn]
    else:
        # Whole conversations are long, so half as many.
        number = max(1, training.batch_size // 2)
        drawn = [sample_conversation(config, random, "training") for _ in range(number)]
        rows = [user.turns for user in drawn]
        if reading == "turns":
            rows = [(turn,) for turns in rows for turn in turns]
    (text,) = collate_conversations([[tokenized(turns, encode)] for turns in rows])
    logits: Tensor = model(input_ids=text["input_ids"], attention_mask=text["attention_mask"], use_cache=False).logits
    words = text["input_ids"].masked_fill(text["attention_mask"] == 0, UNSCORED)
    losses = [
        torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=UNSCORED)
        for labels in (words, text["labels"])
    ]
    return sum(losses, torch.zeros(())), lambda: {"text_loss": losses[0].item(), "answer_loss": losses[1].item()}
