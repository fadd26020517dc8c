"""The studies, a folder each: what is run (recipe) and what is shown of it (claims, tables, figures).

A folder's ``study.toml`` holds its words, its seeds and its claims; its ``__init__`` declares the ``LAYOUT`` of its
report; its ``recipe`` has ``configs(seeds)`` and may have a ``run`` of its own. Only recipes and what they run import
torch.
"""

from pkgutil import iter_modules

# Every recipe that no folder is named after is the benchmark with its arms.
BENCHMARK = "benchmark"
# What ``callosal study`` runs.
NAMES = tuple(sorted(module.name for module in iter_modules(__path__) if module.ispkg and module.name != BENCHMARK))
