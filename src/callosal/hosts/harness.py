"""lm-evaluation-harness on a model with memories: each item begins from the same memories, whatever came before it."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from callosal.hosts.memories import Memories
from callosal.hosts.reading import States

try:
    HFLM: Any = import_module("lm_eval.models.huggingface").HFLM
except ImportError as error:
    raise ImportError(
        'lm-evaluation-harness is not installed; install it with pip install "callosal[harness]"'
    ) from error


class MemoryLM(HFLM):
    """A causal language model with memories, for ``lm_eval.simple_evaluate(model=MemoryLM(memories, ...))``.

    Every call that the harness makes of the model, a batch of items, is a session of its own: all its rows start from
    the same memories, and what they write is forgotten. So no item finds what another left, and neither their order nor
    the batch size matters. A text that the harness cuts into windows starts each of them from these memories.

    Args:
        memories: attached to a causal language model.
        states: the memories of one row that every item starts from, by layer, as ``session.states`` gives them at a
            session's end; None for blank ones.
        options: of the harness's ``HFLM``, such as ``tokenizer`` and ``batch_size``.

    Raises:
        ImportError: on import of this module, if lm-eval is not installed.
        ValueError: the states are not of one row, or of other layers; or the model is no decoder.
    """

    def __init__(self, memories: Memories, states: States | None = None, **options: Any) -> None:
        super().__init__(pretrained=memories.model, **options)
        if self.backend != "causal":
            raise ValueError(f"a model of the kind {self.backend!r}; MemoryLM takes decoders, whose kind is 'causal'")
        if states is not None:
            rows = {len(state) for state in states.values()}
            if set(states) != set(memories) or rows != {1}:
                raise ValueError(
                    f"states of the layers {sorted(states)} and {sorted(rows)} rows; every item starts from one row "
                    f"for each of {list(memories)}: take row n of a session's states with state[[n]]"
                )
        self.memories, self.states = memories, states

    def _model_call(self, inps: Tensor, *args: Any, **options: Any) -> Tensor:
        with self._begun(len(inps)):
            return super()._model_call(inps, *args, **options)

    def _model_generate(
        self, context: Tensor, max_length: int, stop: list[str], attention_mask: Tensor | None = None, **options: Any
    ) -> Tensor:
        # Row by row: a session of several rows takes no criteria that a row ends by, the only ones the harness has.
        masks = torch.ones_like(context) if attention_mask is None else attention_mask
        rows = []
        for row, mask in zip(context, masks.bool(), strict=True):
            padding = row[~mask]
            with self._begun(1):
                made = super()._model_generate(row[mask][None], max_length - len(padding), stop, **options)
            # As a batch has it: padding before, and behind what ended early.
            rows.append(torch.cat([padding, made[0]]))
        return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=self.tokenizer.pad_token_id)

    @contextmanager
    def _begun(self, num_rows: int) -> Iterator[None]:
        with self.memories.session() as session:
            if self.states is not None:
                # A state's rows are selected by their numbers: the first, for every item.
                same = torch.zeros(num_rows, dtype=torch.long)
                session.replace({name: state[same] for name, state in self.states.items()})
            yield
