"""A base model in shards on processes without GPUs."""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from accelerate import Accelerator, FullyShardedDataParallelPlugin
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedType


@contextmanager
def sharding(layer: str) -> Iterator[None]:
    """Make Accelerate shard layers of this class with FSDP2 here, as it does on GPUs only: torch can on CPUs too."""
    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2,
        auto_wrap_policy="transformer_based_wrap",
        transformer_cls_names_to_wrap=[layer],
        cpu_ram_efficient_loading=False,
        ignored_modules=r".*\.callosal",
    )
    facts = {"distributed_type": DistributedType.FSDP, "is_fsdp2": True}
    with ExitStack() as patches:
        for name, value in facts.items():
            fact = property(lambda _, value=value: value)
            patches.enter_context(mock.patch.object(Accelerator, name, fact))
        patches.enter_context(mock.patch.dict(AcceleratorState._shared_state, fsdp_plugin=plugin, **facts))
        yield
