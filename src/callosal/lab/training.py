"""A model trained on episodes, drawn anew for every step."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from callosal.lab.measures.evaluation import batch_specialization, by_kind, domain_losses
from callosal.lab.measures.recording import record_shares
from callosal.lab.models.transformer import Transformer
from callosal.lab.tasks import EpisodeConfig, Episodes, sample_episodes
from callosal.memory import LateralMemory, Penalised
from callosal.training.loop import Curve, Step, TrainingConfig, cycle_ends, is_logged, optimise
from callosal.training.seeding import generator_for

# A share below this counts as this much, or the loss of a bank that has nothing would have no bound.
_LEAST_SHARE = 1e-6


def label_loss(shares: Float[Tensor, "batch segment time bank"], episodes: Episodes) -> Float[Tensor, ""]:
    r"""Tell banks which domain each token is of: $-\langle \log p_{t, d(t)} \rangle_t$, bank d for domain d. Ours.

    Nothing of the memory needs it: it is there to route with labels, as arXiv 2603.07217 does according to its readers.
    """
    own = episodes.domains[..., None].expand(*shares.shape[:-1], 1)
    return -shares.gather(-1, own).clamp_min(_LEAST_SHARE).log().mean()


def train(
    model: Transformer,
    episodes_config: EpisodeConfig,
    config: TrainingConfig,
    seed: int,
    *,
    measure: Callable[[], dict[str, Any]] = dict,
    label_weight: float = 0.0,
    **options: Any,
) -> Curve:
    """Train a model in place and return its curve.

    Interrupted at any moment and called again with the same arguments, it continues from the last checkpoint and gives
    the same curve to the digit on the same machine: the episodes of a step depend on the seed and the step alone.

    Args:
        model: freshly initialised; overwritten by the checkpoint if there is one.
        episodes_config: what to train on.
        config: how to train.
        seed: of the run.
        measure: gives what a point at the end of a cycle has besides.
        label_weight: of :func:`label_loss` in the loss; 0 tells the banks nothing.
        options: ``checkpoint``, ``fingerprint``, ``on_progress`` and ``is_enough`` of
            :func:`callosal.training.loop.optimise`, which also says what is raised.
    """

    def prepare(step: int) -> Step:
        generator = generator_for(seed, "training", step)
        episodes = sample_episodes(episodes_config, config.batch_size, generator, "training")
        due = is_logged(step + 1, config)
        blank = model.blank(config.batch_size)
        told = label_weight > 0.0
        with record_shares(model, with_gradient=told) if due or told else nullcontext([]) as shares:
            logits, states = model(episodes.tokens, blank)
        losses = domain_losses(logits, episodes)
        # A memory may add a term of its own, such as a mixture's load balance.
        penalties = [state.penalty for state in states.values() if isinstance(state, Penalised)]
        if told:
            penalties += [label_weight * label_loss(one, episodes) for one in shares]

        def make_point() -> dict[str, Any]:
            episodic_loss, rule_loss = by_kind([loss.item() for loss in losses], episodes_config)
            point: dict[str, Any] = {"episodic_loss": episodic_loss, "rule_loss": rule_loss}
            if step + 1 in cycle_ends(config):
                point |= measure()
            measured = batch_specialization([one.detach() for one in shares], episodes)
            if measured is not None:
                point |= {"separation": measured.separation, "cross_talk": measured.cross_talk}
            coupled = next((module for module in model.modules() if isinstance(module, LateralMemory)), None)
            return point if coupled is None else point | {"coupling": coupled.coupling.detach().tolist()}

        return torch.stack([*losses, *penalties]).sum(), make_point

    return optimise(model, prepare, config, **options)
