"""How much faster training on many segments at once is than on the same segments one call after another.

`python -m benchmarks.speed.segments` takes the same training steps of the recipe ``quick`` on both sides (forward and
backward pass, transformer and memory), and beside them the multiplications alone of all segments at once, which say how
many times as fast that could be at most. The last line of standard output is JSON.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from benchmarks.speed.floor import sides_of, together
from benchmarks.speed.quick import memory_alone, trunk_alone
from benchmarks.speed.timing import Rows, in_turn, parser, ratio, spread, told
from rich.progress import track
from torch import Tensor

from callosal.lab.measures.evaluation import domain_losses
from callosal.lab.models.transformer import Transformer
from callosal.lab.runs import build_model
from callosal.lab.studies.benchmark.recipe import quick as recipe
from callosal.lab.tasks import Episodes, sample_episodes
from callosal.training.seeding import generator_for

BATCHES, SECONDS = (1, 4, 16, 32), 12.0


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


def step(predict: Callable[[Transformer, Tensor], Tensor], model: Transformer, episodes: Episodes) -> None:
    """Do a forward and a backward pass."""
    torch.stack(domain_losses(predict(model, episodes.tokens), episodes)).sum().backward()


def measure(quick: bool) -> dict[str, Any]:
    """Check that both agree, time both in turn, and give the ratios."""
    config = recipe("inhibitory", 0)
    model = build_model(config).eval()
    rows: Rows = []
    for batch in track(BATCHES[:1] if quick else BATCHES, description="segments"):
        episodes = sample_episodes(config.episodes, batch, generator_for(0, "benchmark", batch), "training")
        with torch.no_grad():
            torch.testing.assert_close(at_once(model, episodes.tokens), one_by_one(model, episodes.tokens))
        predicts = {"at_once": at_once, "one_by_one": one_by_one}
        sides: dict[str, Callable[[], object]] = {
            name: partial(step, predict, model, episodes) for name, predict in predicts.items()
        }
        _, segments, time = episodes.tokens.shape
        floor = together([trunk_alone(model, batch * segments, time), memory_alone(model, batch, segments, time)])
        sides["multiplications"] = sides_of("floor", floor)["floor training"]
        samples = in_turn(sides, seconds=0.1 if quick else SECONDS)
        row: dict[str, Any] = {"batch": batch, "segments": segments}
        row |= {name: spread(taken) for name, taken in samples.items()}
        row["ratio"] = ratio(samples["one_by_one"], samples["at_once"])
        rows.append(row | {"most": ratio(samples["one_by_one"], samples["multiplications"])})
    return {"rows": rows}


if __name__ == "__main__":
    told("segments", measure, parser(__doc__).parse_args().quick)
