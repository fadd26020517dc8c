"""A model with memories, and how a text is given to it, whatever kind of model it is."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from benchmarks.families.building import BEGIN, END, PAD, TEXT, VOCABULARY
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import LogitsProcessor, LogitsProcessorList
from transformers.modeling_outputs import BaseModelOutput

from callosal import Memories
from callosal.hosts.layers import keeps_time_first

# What a model may call the cache that it hands on.
CACHES = ("past_key_values", "cache_params", "state", "mems", "past_buckets_states")


class ImpossibleError(Exception):
    """The model fails without memories, so that nothing can be asked of them."""


class Forced(LogitsProcessor):
    """Make every family reply the same: row ``r`` says ``replies[r]``, one token a step."""

    def __init__(self, replies: Tensor) -> None:
        self.replies, self.step = replies, 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002
        """Leave the wanted tokens alone possible."""
        wanted = self.replies[:, self.step, None]
        self.step += 1
        return torch.full_like(scores, -torch.inf).scatter(1, wanted, 0.0)


@dataclass(kw_only=True)
class Host:
    """A model, its memories once they are attached, and how a text is given to it.

    Attributes:
        model: tiny and random.
        context: what every call takes beside the text: a source, a picture; a row each.
        rows: 2, or 1 for a model whose rows do not keep apart.
        memories: attached to it.
        seen: what each layer gave in the calls of the model since it was cleared, before its memory added to it.
    """

    model: Any
    context: dict[str, Tensor]
    rows: int = 2
    memories: Memories = field(init=False)
    seen: dict[str, list[Tensor]] = field(default_factory=dict)

    @property
    def has_source(self) -> bool:
        """Whether the text is a decoder's, which stands behind an encoder."""
        return bool(getattr(self.model.config, "is_encoder_decoder", False))

    def texts(self, *, two: bool = False) -> tuple[Tensor, Tensor]:
        """Return what the rows read and what each replies, of tokens that mean nothing special.

        Raises:
            ImpossibleError: two rows are needed, and the model mixes them.
        """
        if two and self.rows < 2:
            raise ImpossibleError("it mixes the rows of a batch")
        generator = torch.Generator().manual_seed(2)
        prompt = torch.randint(3, TEXT, (2, 7), generator=generator)
        prompt[:, 0] = BEGIN
        return prompt[: self.rows], torch.randint(3, TEXT, (2, 5), generator=generator)[: self.rows]

    @torch.no_grad()
    def call(self, text: Tensor, rows: slice = slice(None), mask: Tensor | None = None, **settings: Any) -> Tensor:
        """Call the model on a text of these rows of the context; return the logits."""
        return self.model(**self._inputs(text, rows, mask), **settings).logits

    @torch.no_grad()
    def pieces(self, text: Tensor, first: int) -> None:
        """Call the model on the first tokens, then on one at a time, handing on its cache."""
        out = self.model(**self._inputs(text[:, :first], slice(None), None), use_cache=True)
        encoded = getattr(out, "encoder_last_hidden_state", None)
        for token in text[:, first:].split(1, 1):
            name = next((n for n in CACHES if getattr(out, n, None) is not None), None)
            if name is None:
                raise ImpossibleError("it hands on no cache")
            given = self._inputs(token, slice(None), None) | {name: getattr(out, name), "use_cache": True}
            if encoded is not None:
                given["encoder_outputs"] = BaseModelOutput(last_hidden_state=encoded)
            out = self.model(**given)

    def generate(
        self,
        text: Tensor,
        replies: Tensor | None = None,
        rows: slice = slice(None),
        mask: Tensor | None = None,
        **settings: Any,
    ) -> Tensor:
        """Let the model reply, as is wished if something is, and return prompt and reply."""
        given = self._inputs(text, rows, torch.ones_like(text) if mask is None else mask)
        given |= {"max_new_tokens": 5, "do_sample": False, "num_beams": 1, "eos_token_id": None, "pad_token_id": PAD}
        # What stands for a picture or the like is no text.
        given["suppress_tokens"] = [END, *range(TEXT, VOCABULARY)]
        if self.has_source:
            given["decoder_start_token_id"] = BEGIN
        if replies is not None:
            given["logits_processor"] = LogitsProcessorList([Forced(replies)])
        out = self.model.generate(**(given | settings))
        return out if isinstance(out, Tensor) else out.sequences

    def record(self, layers: list[str]) -> list[RemovableHandle]:
        """Keep what these layers give from now on; to be called before memories are attached to them."""
        hooks = ((self.model.get_submodule(name), partial(self._keep, name)) for name in layers)
        return [layer.register_forward_hook(keep) for layer, keep in hooks]

    def seen_of(self, rows: slice) -> dict[str, Tensor]:
        """Return what layers gave of these rows, all calls one after another; nothing where the rows changed."""
        # Beams come and go, and the text that won is read row by row.
        if len({len(part) for parts in self.seen.values() for part in parts}) > 1:
            return {}
        return {name: torch.cat(parts, 1)[rows] for name, parts in self.seen.items()}

    def _keep(self, name: str, _: nn.Module, __: Any, output: Any) -> None:
        hidden = output if isinstance(output, Tensor) else output[0]
        if keeps_time_first(self.model):
            hidden = hidden.transpose(0, 1)
        self.seen.setdefault(name, []).append(hidden.detach().clone())

    def _inputs(self, text: Tensor, rows: slice, mask: Tensor | None) -> dict[str, Any]:
        prefix = "decoder_" if self.has_source else ""
        given: dict[str, Any] = {name: tensor[rows] for name, tensor in self.context.items()}
        given[f"{prefix}input_ids"] = text
        return given if mask is None else given | {f"{prefix}attention_mask": mask}
