"""What other libraries do to a model that memories stand in, and what keeps the memories whole.

PEFT, Accelerate and ``torch.compile`` go through all modules of a model, and memories are modules of it like any other:
PEFT freezes them, Accelerate takes their weights away between calls, compiled code does not see new hooks. None of them
asks, so each is undone or refused here, where it happens. Nothing of theirs is imported unless it is in the model.
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import accumulate, chain
from typing import Any

import torch
from torch import nn


def base_of(model: nn.Module) -> nn.Module:
    """Return the model that PEFT has wrapped, or the model itself.

    Its layers have the same names without PEFT, and it is what ``merge_and_unload`` gives back.
    """
    wrapped: Any = model
    return wrapped.get_base_model() if hasattr(model, "get_base_model") and hasattr(model, "peft_config") else model


def require_uncompiled(model: nn.Module, names: Iterable[str] = ()) -> None:
    """Check that neither the model nor a module around these layers is compiled.

    Their own hooks are seen, and what lies inside them or beside is no matter.

    Raises:
        ValueError: one is; code that was compiled around a layer does not see the layer's new hooks.
    """
    for path in chain([""], *(list(accumulate(name.split("."), "{}.{}".format))[:-1] for name in names)):
        if _is_compiled(model.get_submodule(path)):
            what = f"module {path!r} of the model" if path else "the model"
            raise ValueError(
                f"{what} is compiled, and compiled code does not see new hooks; attach first, then compile"
            )


@contextmanager
def kept_from_peft(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Where PEFT goes through these parameters, let those that learn still learn afterwards.

    ``get_peft_model`` freezes whatever is not its own, without a word; a memory would then never learn. Nothing but the
    stack tells PEFT's loop from a user's, who may freeze memories.
    """
    learning = [p for p in parameters if p.requires_grad] if _called_by("peft") else []
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad = True


def take_back(memories: nn.Module) -> None:
    """Undo what Accelerate's device maps and offloading did to memories, and put each where it is to compute.

    Offloaded weights are there during a module's own call alone; a memory commits, and states are loaded, between
    calls. New parameters stand in for those that were taken.

    Args:
        memories: what holds them, in a table called ``layers``.
    """
    # Not by memories.modules(), which asks for this.
    table = memories.get_submodule("layers")
    hooked = {memory: [m for m in memory.modules() if "_hf_hook" in vars(m)] for memory in table.children()}
    around = [m for m in (memories, table) if "_hf_hook" in vars(m)]
    if not around and not any(hooked.values()):
        return
    from accelerate.hooks import remove_hook_from_module  # in use, so it is there  # noqa: PLC0415

    for memory, parts in hooked.items():
        device = _execution_device([*parts, *around])
        for part in parts:
            remove_hook_from_module(part)
        if device is not None:
            memory.to(device)
    for part in around:
        remove_hook_from_module(part)


def place_for(layer: nn.Module, model: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Return where a layer computes, its weights offloaded or not, and the precision of a memory behind it."""
    weights = list(chain(layer.parameters(), model.parameters()))
    dtype = next((p.dtype for p in weights if p.is_floating_point()), torch.float32)
    device = _execution_device(layer.modules())
    if device is None:
        device = next((p.device for p in weights if not p.is_meta), torch.device("cpu"))
    return device, whole_precision(dtype)


def whole_precision(dtype: torch.dtype) -> torch.dtype:
    """Return what a memory keeps beside numbers of this type: float64 beside float64, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def _is_compiled(module: nn.Module) -> bool:
    if "_orig_mod" in vars(module)["_modules"] or getattr(module, "_compiled_call_impl", None) is not None:
        return True
    function = vars(module).get("forward")
    while function is not None:
        if hasattr(function, "_torchdynamo_orig_callable"):
            return True
        function = getattr(function, "__wrapped__", None)
    return False


def _called_by(library: str) -> bool:
    frame = sys._getframe() if library in sys.modules else None  # noqa: SLF001
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] != library:
        frame = frame.f_back
    return frame is not None


def _execution_device(modules: Iterable[nn.Module]) -> torch.device | None:
    """Return the device that Accelerate's hooks on these modules compute on; None without such a hook."""
    for module in modules:
        hook: Any = vars(module).get("_hf_hook")
        for one in getattr(hook, "hooks", [hook]):
            device = getattr(one, "execution_device", None)
            if device is not None:
                return torch.device(device)
    return None
