"""Take training steps of the recipe ``quick``, as many at a time as each line of standard input says.

`python -m benchmarks.speed.stepping ARM` is what the part quick has other versions of the package do beside this one,
so it imports nothing that they had not. The first line of standard output is where the package lies; each further one
says that the steps were taken.
"""

import sys
from dataclasses import replace
from importlib.util import find_spec

import torch

import callosal
from callosal.lab.runs import build_model
from callosal.lab.studies.benchmark.recipe import quick
from callosal.lab.training import train


def main() -> None:
    """Step until nobody asks any more."""
    torch.set_num_threads(1)
    if find_spec("callosal.lab.allocation"):
        # As the lab's workers do since there is such a thing.
        from callosal.lab.allocation import keep_freed_memory  # noqa: PLC0415 - older versions have none

        keep_freed_memory()
    config = quick(sys.argv[1], 0)  # pyright: ignore[reportArgumentType] - a word of the command line
    model = build_model(config)
    print(callosal.__file__, flush=True)
    for line in sys.stdin:
        train(model, config.episodes, replace(config.training, num_steps=int(line)), 0)
        print("taken", flush=True)


if __name__ == "__main__":
    main()
