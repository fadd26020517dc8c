"""A folder to talk with: a tiny model, its tokenizer, and memories as if trained."""

from pathlib import Path

import torch
from tests.hosts.hosts import gpt2, trained, transformers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from callosal import attach, unload

TEXTS = ["my name is ada and I like tea", "hello what do I like ?", "user assistant : you"]
WORDS = set(" ".join(TEXTS).split())
TEMPLATE = (
    "{% for m in messages %}<s> {{ m['role'] }} : {{ m['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}<s> assistant : {% endif %}"
)


def talkative(folder: Path) -> Path:
    """Fill a folder with a model that never ends by itself, its tokenizer, and trained memories."""
    words = Tokenizer(models.WordLevel(unk_token="<unk>"))  # noqa: S106
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>"}
    special = trainers.WordLevelTrainer(special_tokens=list(names.values()))
    words.train_from_iterator(TEXTS, special)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words, **names)
    torch.manual_seed(0)
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 40}
    ids = {"bos_token_id": 2, "eos_token_id": None, "pad_token_id": 0}
    config = gpt2.GPT2Config(vocab_size=len(tokenizer), **sizes, **ids)
    model = gpt2.GPT2LMHeadModel(config).eval()
    for place, template in ((folder, None), (folder / "chat", TEMPLATE)):
        tokenizer.chat_template = template
        tokenizer.save_pretrained(place)
        model.save_pretrained(place)
    for name, layers in (("adapter", [0, -1]), ("one", [-1])):
        trained(attach(model, layers), scale=1.0).save_pretrained(folder / name)
        unload(model)
    return folder
