"""Titans' neural memory, from the package titans-pytorch, its state carried from segment to segment."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from callosal.checks import require, require_counts
from callosal.lab.models.baselines.base import Hidden, Mask, SegmentMemory, Views
from callosal.memory import RowState


@dataclass(frozen=True, kw_only=True)
class TitansConfig:
    """Sizes of a :class:`TitansMemory`.

    Attributes:
        width: width of the hidden states.
        num_heads: memories side by side.
        head_width: width of each; with one head it must be ``width``.
        depth: layers of the network that is the memory; 1 is linear.
        expansion: width of its hidden layers, as a multiple of ``head_width``.
        chunk_size: tokens that share one write; segments must be multiples of it.
        max_step: largest step of the descent, above 0. The package's own is 1; with ``renew``, that lets some rows
            diverge within 200 segments of random tokens before any training.
        num_lags: tokens that the filters of its queries, keys and values span (see :class:`.Views`); 1 is the package
            as it is.
        renew: take gradients at the weights that the last segment left. False takes them at the initial weights for
            ever, as the package does by default.
    """

    width: int
    num_heads: int = 4
    head_width: int = 16
    depth: int = 1
    expansion: float = 2.0
    chunk_size: int = 1
    max_step: float = 0.3
    renew: bool = True
    num_lags: int = 1

    def __post_init__(self) -> None:
        require_counts(self, "width", "num_heads", "head_width", "depth", "chunk_size", "num_lags")
        require(self, "expansion", self.expansion >= 1.0, "it must be at least 1")
        require(self, "max_step", self.max_step > 0.0, "it must be above 0")
        fits = self.num_heads > 1 or self.head_width == self.width
        require(self, "head_width", fits, f"it must be width ({self.width}) where there is one head")


@dataclass(frozen=True, kw_only=True, eq=False)
class TitansState(RowState):
    """The weights of each row's memory network, all in one vector, and their momentum.

    Attributes:
        weights: what was learned so far.
        momentum: of the gradients, along the tokens.
    """

    weights: Float[Tensor, "batch weight"]
    momentum: Float[Tensor, "batch weight"]


class TitansMemory(SegmentMemory[TitansState]):
    r"""Learn each row's tokens into a small network by gradient descent, and query the network.

    $$S_t = \eta_t S_{t-1} - \theta_t \nabla \lVert M(k_t) - v_t \rVert^2, \qquad
    M_t = (1 - \alpha_t) M_{t-1} + S_t, \qquad y_t = M_t(q_t)$$
    Source: arXiv 2501.00663, as titans-pytorch 0.5.5 computes it (``NeuralMemory``).

    What is peculiar about the package, and what is done about it here:

    - By default it takes all gradients at the weights of the very beginning, however long the stream, so that a
      surprise never knows what was stored. ``renew`` takes them at the weights that the last segment left, which is its
      ``batch_size`` set to a segment.
    - A chunk that is not full writes nothing and waits in a cache; a stream that goes on from there can fail on shapes.
      Here a chunk is one token unless the config says otherwise, and segments that are no multiple of a chunk are an
      error.
    - Its ``store_mask`` stops a token's gradient but not the momentum and forgetting at its step. So a masked token is
      not absent, and a mask with a gap is an error here.
    - Its ``max_grad_norm`` makes small gradients large (a norm of zero becomes half the largest, or NaN), so it is not
      used here; ``max_step`` is what keeps the descent stable.
    - With more than one head an optimiser cannot step on its parameters, which are views of one another (its issue 64);
      they are made apart here.
    - It keeps a copy of the initial weights that no gradient reaches. Here that copy is frozen, so count parameters
      with ``requires_grad``.

    A token reads what its own write left, where it ends a chunk.

    Raises:
        ImportError: titans-pytorch is not installed.
    """

    def __init__(self, config: TitansConfig) -> None:
        try:
            with warnings.catch_warnings():
                # A dependency of it uses torch.jit.script, which torch calls deprecated.
                warnings.simplefilter("ignore", DeprecationWarning)
                # An optional extra, so not at the top.
                import titans_pytorch.neural_memory as titans  # noqa: PLC0415 # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise ImportError("TitansMemory needs titans-pytorch: pip install 'callosal[rivals]'") from error

        super().__init__(config.width)
        self.config = config
        self.views = Views(config.width, (0, 1, 0), config.num_lags)
        self.neural = titans.NeuralMemory(
            config.width,
            chunk_size=config.chunk_size,
            heads=config.num_heads,
            dim_head=config.head_width,
            qkv_receives_diff_views=config.num_lags > 1,
            default_step_transform_max_lr=config.max_step,
            default_model_kwargs={"depth": config.depth, "expansion_factor": config.expansion},
        )
        # Its heads share the memory of one expanded tensor, on which no optimiser can step.
        for parameter in self.neural.parameters():
            parameter.data = parameter.data.clone(memory_format=torch.contiguous_format)
        if config.num_lags > 1:
            # A key starts as its query, so that from the start a token finds its own earlier place.
            with torch.no_grad():
                to_queries = self.neural.get_submodule("to_queries").get_parameter("weight")
                to_keys = self.neural.get_submodule("to_keys").get_parameter("weight")
                to_keys.copy_(to_queries)
        self.neural.get_submodule("memory_model").requires_grad_(False)
        self._package_state = titans.NeuralMemState

    def blank(self, batch_size: int) -> TitansState:
        """Return the learned initial weights for every row, and no momentum."""
        weights = torch.cat([p.flatten() for p in self.neural.memory_model_parameters])
        weights = weights.repeat(batch_size, 1)
        return TitansState(weights=weights, momentum=torch.zeros_like(weights))

    def _segment(self, hidden: Hidden, state: TitansState, mask: Mask) -> tuple[Hidden, TitansState]:
        if mask is not None and not mask.all():
            raise ValueError(
                "a mask with absent tokens; titans-pytorch forgets at masked tokens too, so this memory "
                "takes none: feed rows of one length together, without a mask"
            )
        if hidden.shape[1] % self.config.chunk_size:
            raise ValueError(
                f"a segment of {hidden.shape[1]} tokens; this memory takes multiples of "
                f"TitansConfig.chunk_size ({self.config.chunk_size})"
            )
        weights, momentum = self._by_name(state.weights), self._by_name(state.momentum)
        # It keeps momenta of several orders along a first axis; there is one.
        momenta = {name: tensor[None] for name, tensor in momentum.items()}
        num_rows = len(hidden)
        base = weights if self.config.renew else self._by_name(self.blank(num_rows).weights)
        seen = hidden if self.config.num_lags == 1 else self.views(hidden)
        y, after = self.neural(seen, state=self._package_state(0, base, None, (weights, momenta), None))
        weights, momenta = after.states
        momentum = {name: tensor[0] for name, tensor in momenta.items()}
        return y, TitansState(weights=self._joined(weights, num_rows), momentum=self._joined(momentum, num_rows))

    def _by_name(self, joined: Float[Tensor, "batch weight"]) -> dict[str, Tensor]:
        """Take a state's vectors apart, heads folded into the batch: rows first, then their heads."""
        shapes = [p.shape for p in self.neural.memory_model_parameters]
        parts = joined.split([shape.numel() for shape in shapes], dim=1)
        return {
            name: part.reshape(-1, *shape[1:])
            for name, shape, part in zip(self.neural.memory_model_parameter_names, shapes, parts, strict=True)
        }

    def _joined(self, tensors: Mapping[str, Tensor], num_rows: int) -> Float[Tensor, "batch weight"]:
        names = self.neural.memory_model_parameter_names
        return torch.cat([tensors[name].reshape(num_rows, -1) for name in names], dim=1)
