"""The studies, a folder each: what is run (recipe) and what is shown of it (claims, tables, figures).

A folder's ``study.toml`` holds its words, its seeds and its claims; its ``__init__`` declares the ``LAYOUT`` of its
report; its ``recipe`` has ``configs(seeds)`` and may have a ``run`` of its own. Only recipes and what they run import
torch.
"""
