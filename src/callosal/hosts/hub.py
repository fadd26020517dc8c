"""Adapters on the Hugging Face hub: pushed with a model card, found by name."""

from pathlib import Path
from typing import Any

from callosal.hosts import adapter
from callosal.hosts.memories import Memories

try:
    from huggingface_hub import ModelCard, ModelCardData, ModelHubMixin, snapshot_download
    from huggingface_hub.errors import HFValidationError
except ImportError as error:
    raise ImportError('the hub takes huggingface_hub; install it with pip install "callosal[hf]"') from error

CARD = """---
{{ card_data }}
---

# Memories for {{ base_model or "a causal language model" }}

Lateralized, persistent memories behind {{ places | length }} of the model's layers\
{% if places | length > layers | length %}, which share one{% endif %}. These files hold the
weights of the memories alone: neither the model's own weights nor what any user said.

## How to load

    pip install "callosal[hf]"

```python
import callosal
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained("{{ base_model or "the base model" }}")
memories = callosal.attach_pretrained(model, "{{ repo_id or "this folder" }}")
with memories.session("ada", callosal.MemoryStore("users")):
    ...  # model(...) and model.generate(...) read and write Ada's memory
```

## Sizes

| layer | banks | slots per bank | width | parameters | numbers stored per user |
| --- | --- | --- | --- | --- | --- |
{% for name, memory in layers.items() -%}
| `{{ name }}` | {{ memory.config.num_banks }} | {{ memory.config.num_slots }} | {{ memory.config.width }} | \
{{ memory.num_parameters }} | {{ memory.state_floats }} |
{% endfor %}
## Training, evaluation, licence

To be stated by whoever publishes this adapter. The licence goes into the block at the top of this file:
`license: ...`.
"""


class HubAdapter(ModelHubMixin, library_name="callosal", tags=["memory", "adapter"], model_card_template=CARD):
    """Attached memories as huggingface_hub sees them: something to save, describe and push."""

    def __init__(self, memories: Memories) -> None:
        self.memories = memories

    def _save_pretrained(self, save_directory: Path) -> None:
        self.memories.save_pretrained(save_directory)

    def generate_model_card(self, repo_id: str | None = None, **metadata: Any) -> ModelCard:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the README: the base model, how to load, sizes, and the card's metadata, such as ``license``."""
        info = self._hub_mixin_info
        known: dict[str, Any] = info.model_card_data.to_dict() | {"base_model": self.memories.base_name}
        data = ModelCardData(**(known | metadata))
        layers = {
            name: {
                "config": memory.config,
                "num_parameters": sum(p.numel() for p in memory.parameters()),
                "state_floats": memory.state_floats,
            }
            for name, memory in self.memories.items()
        }
        return ModelCard.from_template(
            data,
            template_str=info.model_card_template,
            layers=layers,
            places=list(self.memories.places),
            repo_id=repo_id,
            base_model=data.base_model,
        )


def push(memories: Memories, repo_id: str, metadata: dict[str, Any], **options: Any) -> str:
    """Upload an adapter and its card, and return the address of the commit."""
    card = {"repo_id": repo_id, **metadata}
    return HubAdapter(memories).push_to_hub(repo_id, model_card_kwargs=card, **options)


def download(name: str, **options: Any) -> Path:
    """Return a folder with the adapter of this name, from the hub or its cache; FileNotFoundError where neither has."""
    names = [adapter.CONFIG, adapter.WEIGHTS, adapter.OLD_CONFIG, adapter.OLD_WEIGHTS]
    try:
        return Path(snapshot_download(name, allow_patterns=names, **options))
    except (OSError, HFValidationError) as error:
        reason = " ".join(str(error).split())
        raise FileNotFoundError(
            f"there is no folder {name}, and the Hugging Face hub gave no adapter of that name: {reason}"
        ) from error
