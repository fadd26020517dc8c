"""The cells of the persona study by name, for its recipe and its report. Imports no torch."""

from typing import Literal, get_args

Host = Literal["GPT-2", "Llama"]
HOSTS: tuple[Host, ...] = get_args(Host)
NUM_LAYERS = 4
# Behind which layer, counted from 0, where nothing else is asked.
LAYER = 2

# Each base model's own cell, trained for longer than the others.
MAIN: dict[Host, str] = {host: host for host in HOSTS}
LAYERS: dict[int, str] = {layer: f"Llama, layer {layer}" for layer in range(NUM_LAYERS)}
# By what they are called beside the first, in the order of every table; trained as long as LAYERS.
VARIANTS = {
    "inhibitory": LAYERS[LAYER],
    "excitatory": "Llama, excitatory",
    "one bank": "Llama, one bank",
    "facts and questions apart": "Llama, apart",
}
CELLS: tuple[str, ...] = tuple(dict.fromkeys((*MAIN.values(), *LAYERS.values(), *VARIANTS.values())))
