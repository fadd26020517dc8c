"""Record the bank shares of every token, in any model that holds memories."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

from callosal.memory import Routes


@contextmanager
def record_shares(model: nn.Module, *, with_gradient: bool = False) -> Iterator[list[Tensor]]:
    """Collect the bank shares of every call of every memory with banks inside ``model``, in order.

    Each entry is [batch, time, bank] or [batch, segment, time, bank], without gradient unless asked for.

    >>> from callosal.memory import LateralMemory, MemoryConfig
    >>> memory = LateralMemory(MemoryConfig(width=4))
    >>> with record_shares(memory) as shares:
    ...     _ = memory(torch.randn(2, 3, 4), memory.blank(2))
    >>> shares[0].shape
    torch.Size([2, 3, 2])
    """
    recorded: list[Tensor] = []

    def record(module: nn.Module, args: tuple, kwargs: dict) -> None:
        assert isinstance(module, Routes)
        # The hook sees what forward() was given; binding by name keeps it right for both call styles.
        named = dict(zip(("hidden", "state", "mask"), args, strict=False)) | kwargs
        named.pop("commit", None)
        with nullcontext() if with_gradient else torch.no_grad():
            recorded.append(module.bank_share(**named))

    memories = [module for module in model.modules() if isinstance(module, Routes)]
    hooks = [memory.register_forward_pre_hook(record, with_kwargs=True) for memory in memories]
    try:
        yield recorded
    finally:
        for hook in hooks:
            hook.remove()
