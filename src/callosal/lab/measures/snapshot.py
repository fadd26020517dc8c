"""One memory before and after it is told something, as plain numbers to draw."""

from typing import Any

import torch

from callosal.lab.models.transformer import Transformer
from callosal.lab.tasks import EpisodeConfig, sample_episodes
from callosal.memory import LateralMemory
from callosal.training.seeding import generator_for


@torch.no_grad()
def take_snapshot(model: Transformer, config: EpisodeConfig) -> dict[str, Any] | None:
    """Feed one episode's support segments to a blank memory and keep each slot's norm at every point.

    Returns:
        ``norms``: [point, bank, slot], blank first, then after each segment, in the units of ``bound``; ``domains``: of
        the segments. None without a lateralized memory.
    """
    states = model.blank(1)
    place = next(iter(states), 0)
    memory = model.memory_at(place)
    if not isinstance(memory, LateralMemory):
        return None
    episodes = sample_episodes(config, 1, generator_for(0, "snapshot"), "evaluation")
    norms = [states[place].trace[0].norm(dim=-1)]
    num_segments = config.num_told_segments
    for index in range(num_segments):
        _, states = model(episodes.tokens[:, index : index + 1], states)
        norms.append(states[place].trace[0].norm(dim=-1))
    return {
        "norms": torch.stack(norms).tolist(),
        "domains": episodes.domains[:num_segments, 0].tolist(),
        "bound": memory.max_slot_norm,
    }
