"""How much faster training on many segments at once is than on the same segments one call after another.

Both sides take the same training steps of the recipe ``quick`` (forward and backward pass, transformer and
memory) in one process, in turn, so that what else the machine does touches both. One thread. The last
line of standard output is JSON.
"""

import json
import statistics
import time
from collections.abc import Callable

import torch
from rich.progress import track
from torch import Tensor

from callosal.lab.measures.evaluation import domain_losses
from callosal.lab.models.transformer import Transformer
from callosal.lab.runs import build_model
from callosal.lab.studies.benchmark.recipe import quick
from callosal.lab.tasks import Episodes, sample_episodes
from callosal.training.seeding import generator_for

BATCHES = (1, 4, 16, 32)
REPEATS = 15


def at_once(model: Transformer, tokens: Tensor) -> Tensor:
    """Predict all segments in one call."""
    return model(tokens, model.blank(len(tokens)))[0]


def one_by_one(model: Transformer, tokens: Tensor) -> Tensor:
    """Predict one segment per call."""
    states, logits = model.blank(len(tokens)), []
    for segment in tokens.split(1, dim=1):
        part, states = model(segment, states)
        logits.append(part)
    return torch.cat(logits, dim=1)


def step_seconds(predict: Callable[[Transformer, Tensor], Tensor], model: Transformer, episodes: Episodes) -> float:
    """Time a forward and a backward pass."""
    begun = time.perf_counter()
    torch.stack(domain_losses(predict(model, episodes.tokens), episodes)).sum().backward()
    return time.perf_counter() - begun


def main() -> None:
    """Check that both agree, time both in turn, and print the ratios of medians."""
    torch.set_num_threads(1)
    config = quick("inhibitory", 0)
    model = build_model(config).eval()
    rows = []
    for batch in track(BATCHES, description="batch sizes"):
        generator = generator_for(0, "benchmark", batch)
        episodes = sample_episodes(config.episodes, batch, generator, "training")
        with torch.no_grad():
            torch.testing.assert_close(at_once(model, episodes.tokens), one_by_one(model, episodes.tokens))
        seconds: dict[str, list[float]] = {"at_once": [], "one_by_one": []}
        for _ in range(REPEATS):
            seconds["at_once"].append(step_seconds(at_once, model, episodes))
            seconds["one_by_one"].append(step_seconds(one_by_one, model, episodes))
        medians = {name: statistics.median(times[2:]) for name, times in seconds.items()}
        ratio = medians["one_by_one"] / medians["at_once"]
        rows.append({"batch": batch, "segments": episodes.tokens.shape[1], **medians, "ratio": ratio})
        print(f"batch {batch:>2}: one call per segment takes {ratio:.2f} times as long")
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
