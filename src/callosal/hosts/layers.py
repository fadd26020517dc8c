"""Finding the layers of a model that somebody else wrote."""

from collections.abc import Iterable
from typing import Any

from torch import nn

Layers = int | str | Iterable[int | str]


def decoder_layers(model: nn.Module) -> list[str]:
    """Return the dotted names of the decoder layers, first to last.

    They are the elements of the outermost ``nn.ModuleList`` of the model (of its text decoder, where it names one with
    ``get_decoder``), and of the longest where several lie equally far out: experts and heads lie further in.

    >>> model = nn.Module()
    >>> model.blocks = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
    >>> decoder_layers(model)
    ['blocks.0', 'blocks.1']

    Raises:
        ValueError: there is no list of layers, or there are two as likely.
    """
    get_decoder = getattr(model, "get_decoder", None)
    decoder = get_decoder() if callable(get_decoder) else model
    inside = decoder if isinstance(decoder, nn.Module) else model
    names = {id(module): name for name, module in model.named_modules()}
    lists = [m for m in inside.modules() if isinstance(m, nn.ModuleList) and len(m)]
    lists = [names[id(m)] for m in lists if id(m) in names]
    if not lists:
        raise ValueError(
            f"{type(model).__name__} has no nn.ModuleList of layers to count; name them instead, such as "
            f"{_some(name for name, _ in model.named_children())}"
        )
    outermost = min(name.count(".") for name in lists)
    sizes = {n: len(list(model.get_submodule(n).children())) for n in lists if n.count(".") == outermost}
    longest = [name for name, size in sizes.items() if size == max(sizes.values())]
    if len(longest) > 1:
        raise ValueError(
            f"{type(model).__name__} has several lists of layers that could be meant: {_some(longest)}; name the "
            f"layers instead, such as '{longest[0]}.0'"
        )
    return [f"{longest[0]}.{index}" for index in range(sizes[longest[0]])]


def named_layers(model: nn.Module, layers: Layers) -> list[str]:
    """Return the dotted names of the layers meant by numbers (negative from the end) or names.

    Raises:
        ValueError: none are meant, one twice, or one that the model does not have.
    """
    wanted = [layers] if isinstance(layers, int | str) else list(layers)
    if not wanted:
        raise ValueError("layers=[] attaches nothing; name at least one, layers=[-1] being the last")
    counted = decoder_layers(model) if any(isinstance(layer, int) for layer in wanted) else []
    existing = {name for name, _ in model.named_modules() if name}
    found = []
    for layer in wanted:
        if isinstance(layer, int):
            if not -len(counted) <= layer < len(counted):
                raise ValueError(
                    f"layer {layer} of {type(model).__name__}, whose {len(counted)} decoder layers are "
                    f"{_some(counted)}; it must be from {-len(counted)} to {len(counted) - 1}"
                )
            found.append(counted[layer])
        elif layer not in existing:
            near = [name for name in existing if name.split(".")[-1] == str(layer).split(".")[-1]]
            raise ValueError(
                f"{type(model).__name__} has no module named {layer!r}; its modules are named like "
                f"{_some(sorted(near) or sorted(existing))}"
            )
        else:
            found.append(layer)
    if len(set(found)) < len(found):
        raise ValueError(f"layers {wanted} mean {_some(found)}: name each layer once")
    return found


def hidden_width(model: nn.Module) -> int | None:
    """Return the width of the hidden states that the model's configuration states, None without one."""
    config: Any = getattr(model, "config", None)
    if hasattr(config, "get_text_config"):
        config = config.get_text_config()
    return getattr(config, "hidden_size", None)


def _some(names: Iterable[str]) -> str:
    names = list(names)
    shown = ", ".join(repr(name) for name in names[:6])
    return shown + (f" and {len(names) - 6} more" if len(names) > 6 else "")
