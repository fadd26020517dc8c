"""The way into a memory, from the hidden states of a layer, and the way out, to what is added to them."""

import math
from collections.abc import Callable
from typing import Self

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from callosal.memory.config import MemoryConfig
from callosal.ops import address, precision
from callosal.ops import salience as gating

# A gate starts at this for every token: open, and with a slope.
OPEN = 0.9


class Projection(nn.Module):
    """A linear map that is no ``nn.Linear``, so that what replaces a model's linear layers leaves a memory alone.

    LoRA on "all-linear" and quantisation (torchao, bitsandbytes) go by the type. Starts as an ``nn.Linear`` does, with
    the same draws.

    Args:
        num_inputs: width of what comes.
        num_outputs: width of what goes.
        bias: what each output starts with; None is without a bias.
    """

    def __init__(self, num_inputs: int, num_outputs: int, bias: float | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_outputs, num_inputs))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5.0))
        if bias is None:
            self.register_parameter("bias", None)
        else:
            self.bias = nn.Parameter(torch.full((num_outputs,), bias))

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """Return x W^T, plus the bias."""
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return nn.functional.linear(x, self.weight.to(x.dtype), bias)

    def extra_repr(self) -> str:
        """Say how wide it is."""
        return " -> ".join(map(str, reversed(self.weight.shape)))


class Ways(nn.Module):
    """What stands between the hidden states of one layer and a memory. Abstract: who has them makes the parameters.

    Attributes:
        config: of the memory.
        inner_map: from the hidden states to what the memory works with; None takes them as they are.
        hidden_mean: what is taken away from them before, where the configuration says ``calibrated``.
        hidden_whitening: what turns them then.
        output: from what the heads retrieved to what is added to the hidden states.
        output_gate: how much of it each token is given; None gives all.
    """

    config: MemoryConfig
    inner_map: nn.Parameter | None
    hidden_mean: nn.Parameter
    hidden_whitening: nn.Parameter
    output: Projection
    output_gate: Projection | None

    def led_in(
        self, hidden: Float[Tensor, "*batch width"], dtype: torch.dtype | None = None
    ) -> Float[Tensor, "*batch inner"]:
        """Return what the memory works with: whitened hidden states, narrowed, at mean square one."""
        return self.views(hidden, dtype)[0]

    def whitened(
        self, hidden: Float[Tensor, "*batch width"], dtype: torch.dtype | None = None
    ) -> Float[Tensor, "*batch width"]:
        """Return hidden states less their mean and whitened, where the memory is calibrated; else as they are.

        In ``dtype``, as all products over tokens; None is that of the parameters.
        """
        dtype = dtype or self.output.weight.dtype
        if not self.config.calibrated:
            return hidden.to(dtype)
        # The mean is what tokens have in common and can be far larger than what tells them apart: rounded after it.
        mean = precision.widened(self.hidden_mean.detach())
        return (hidden.to(mean) - mean).to(dtype) @ self.hidden_whitening.detach().to(dtype)

    def views(
        self, hidden: Float[Tensor, "*batch width"], dtype: torch.dtype | None = None
    ) -> tuple[Float[Tensor, "*batch inner"], Float[Tensor, "*batch watched"]]:
        """Return what the memory works with, and what its gates look at; ``dtype`` as in :meth:`whitened`."""
        wide = self.whitened(hidden, dtype)
        seen = address.rms_norm(wide if self.inner_map is None else wide @ self.inner_map.T.to(wide.dtype))
        return seen, address.rms_norm(wide) if self.config.gates == "hidden" else seen

    def read_out(
        self, retrieved: Float[Tensor, "batch seg time head width"], watched: Float[Tensor, "batch seg time watched"]
    ) -> Float[Tensor, "batch seg time out"]:
        """Return what is added to the hidden states, of what each head retrieved, given what the gate looks at."""
        by_head = self.config.normalised == "retrieved"
        heads = address.rms_norm(retrieved) if by_head else retrieved
        joined = rearrange(heads, "batch seg time head width -> batch seg time (head width)")
        y, given = self.output(joined if by_head else address.rms_norm(joined)), gated(self.output_gate, watched)
        return y if given is None else y * given[..., None].to(y.dtype)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move and cast (``to``, ``half``, ...), but keep the buffers whole: they are running means."""
        before = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, old in before.items():
            new = self._buffers[name]
            if old is not None and new is not None and new.dtype != precision.whole(new.dtype):
                self._buffers[name] = old.to(new.device, precision.whole(new.dtype))
        return self

    def move(self, name: str, value: Tensor) -> None:
        """Give a buffer its new value: in place, but in compiled code by putting another in its place.

        The compiler (torch 2.13) lets the backward pass see what was moved in place, clones of it included, as it is
        after the step: gradients that are wrong without a word.
        """
        if torch.compiler.is_compiling():
            setattr(self, name, value)
        else:
            getattr(self, name).copy_(value)


def open_gate(width: int) -> Projection:
    """Return a gate that is open for every token, and learns for which to close."""
    gate = Projection(width, 1, bias=math.log(OPEN / (1.0 - OPEN)))
    nn.init.zeros_(gate.weight)
    return gate


def gated(gate: Projection | None, watched: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch"] | None:
    """Return how far a gate opens for each token, in [0, 1]; None where there is no gate."""
    if gate is None:
        return None
    weight, bias = precision.widened(gate.weight[0]), precision.widened(gate.bias[0])
    return gating.gate(watched.to(weight.dtype), weight, bias)


def orthogonal(num_rows: int, num_columns: int) -> Tensor:
    """Return a random orthogonal matrix (its rows or columns, whichever are fewer) in the default dtype."""
    # No QR decomposition exists in half precision.
    default = torch.get_default_dtype()
    exact = torch.empty(num_rows, num_columns, dtype=torch.promote_types(default, torch.float32))
    return nn.init.orthogonal_(exact).to(default)
