"""Finding the layers of a model that somebody else wrote."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from torch import nn

Layers = int | str | Iterable[int | str]

# Families whose layers return hidden states [time, batch, width].
_TIME_FIRST = ("fsmt", "xlnet")

# Families that a memory would misread, and why.
_MISREAD = {
    "cpmant": "its layers see a prompt of its own before the text",
    "diffusion_gemma": "it reads a block of its reply again and again while it denoises it",
    "musicgen_decoder": "a step of it is several tokens, one per codebook",
    "musicgen_melody_decoder": "a step of it is several tokens, one per codebook",
    "prophetnet": "its decoder's layers see every token several times, once for each that it predicts ahead",
    "reformer": "its layers are reversible: they hand on two streams, and are run again in the backward pass",
}

# Names in a configuration for how many streams a layer hands on, instead of hidden states [batch, time, width].
_STREAMS = ("altup_num_inputs", "hc_count", "hc_mult")


class Place(NamedTuple):
    """Whose memory stands behind a layer.

    Attributes:
        memory: its name, which is that of the layer it is written from.
        reader: which of the memory's readers this layer is, from 0; None for the layer that is written.
    """

    memory: str
    reader: int | None = None


def decoder_layers(model: nn.Module) -> list[str]:
    """Return the dotted names of the decoder layers, first to last.

    They are the elements of the outermost ``nn.ModuleList`` of the model (of its text decoder, where it names one with
    ``get_decoder``), and of the longest where several lie equally far out: experts and heads lie further in. Lists of
    mere projections and norms count only where there are no others.

    >>> model = nn.Module()
    >>> model.blocks = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
    >>> decoder_layers(model)
    ['blocks.0', 'blocks.1']

    Raises:
        ValueError: there is no list of layers, or there are two as likely.
    """
    names = {id(module): name for name, module in model.named_modules()}
    lists = [m for m in _lists(text_decoder(model)) if id(m) in names]
    composed = [m for m in lists if any(True for _ in m[0].children())]
    lists = [names[id(m)] for m in composed or lists]
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


def places_of(
    model: nn.Module, layers: Layers, *, shared: bool = False, written: int | str | None = None
) -> dict[str, Place]:
    """Return whose memory stands behind each of these layers: its own, or the one that all share.

    Raises:
        ValueError: the layers are not the model's; one alone is shared; or the one that is written is none of them.
    """
    names = named_layers(model, layers)
    if not shared:
        if written is not None:
            raise ValueError(
                f"written={written!r} of memories that are not shared, each of which is written from its own layer; "
                "pass shared=True or leave it out"
            )
        return {name: Place(name) for name in names}
    if isinstance(layers, int | str):
        raise ValueError(  # noqa: TRY004
            f"shared=True behind the one layer {layers!r}; name the layers that share a memory: layers=[8, 16, 24]"
        )
    (home,) = names[-1:] if written is None else named_layers(model, written)
    if home not in names:
        raise ValueError(f"written={written!r} is {home!r}, which is none of the layers that share a memory: {names}")
    readers = [name for name in names if name != home]
    return {name: Place(home, None if name == home else readers.index(name)) for name in names}


def text_decoder(model: nn.Module) -> nn.Module:
    """Return the part of a model that reads the text, as ``get_decoder`` of transformers tells; the model by itself."""
    inside = model
    while callable(get_decoder := getattr(inside, "get_decoder", None)):
        part = get_decoder()
        # Some name their head or themselves.
        if part is inside or not isinstance(part, nn.Module) or not _lists(part):
            break
        inside = part
    return inside


def require_readable(model: nn.Module, names: Iterable[str]) -> None:
    """ValueError where it is known that a memory behind these layers would take something else for the text."""
    kind, config = type(model).__name__, _text_config(model)
    for part in (getattr(model, "config", None), config):
        if why := _MISREAD.get(getattr(part, "model_type", "")):
            raise ValueError(f"a memory cannot stand in {kind}: {why}, where a memory takes each token of a text once")
    decoder = text_decoder(model)
    inside = {id(module) for module in decoder.modules()}
    for name in names:
        if id(model.get_submodule(name)) not in inside:
            raise ValueError(
                f"layer {name!r} of {kind} is not of the part that reads the text (its get_decoder() is a "
                f"{type(decoder).__name__}); a memory is of the text: name a layer of it, or count them: layers=[-1]"
            )
    streams = next((n for n in _STREAMS if (getattr(config, n, None) or 0) > 1), None)
    whole = set(decoder_layers(model)) & set(names) if streams else set()
    if whole:
        raise ValueError(
            f"layer {min(whole)!r} of {kind} hands on {getattr(config, str(streams))} streams per token "
            f"(config.{streams}), where a memory takes hidden states [batch, time, width]; name a module that returns "
            "such"
        )


def keeps_time_first(model: nn.Module) -> bool:
    """Whether the model's layers return hidden states [time, batch, width]."""
    return getattr(getattr(model, "config", None), "model_type", "") in _TIME_FIRST


def hidden_width(model: nn.Module) -> int | None:
    """Return the width of the hidden states that the model's configuration states, None without one."""
    return getattr(_text_config(model), "hidden_size", None)


def _text_config(model: nn.Module) -> Any:
    config: Any = getattr(model, "config", None)
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def _lists(module: nn.Module) -> list[nn.ModuleList]:
    return [m for m in module.modules() if isinstance(m, nn.ModuleList) and len(m)]


def input_embedding(model: nn.Module) -> nn.Module:
    """Return the module that embeds the input tokens.

    Raises:
        ValueError: the model does not name one.
    """
    found = getattr(model, "get_input_embeddings", lambda: None)()
    if not isinstance(found, nn.Module):
        raise ValueError(  # noqa: TRY004
            f"{type(model).__name__} names no input embedding (get_input_embeddings()), which a memory with "
            "embedded=True writes; attach one with embedded=False"
        )
    return found


def _some(names: Iterable[str]) -> str:
    names = list(names)
    shown = ", ".join(repr(name) for name in names[:6])
    return shown + (f" and {len(names) - 6} more" if len(names) > 6 else "")
