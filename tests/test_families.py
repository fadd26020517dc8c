"""The table of families is complete, is of the transformers that is installed, and is what trying them finds."""

import json
import re
from typing import Any

import pytest
import torch
import transformers
from benchmarks.families.__main__ import PAGE, RECORD
from benchmarks.families.building import families
from benchmarks.families.checks import tried
from benchmarks.families.page import filled, verdict
from tests.apart import ROOT

from callosal.hosts.generation import Generation

RECORDED = json.loads(RECORD.read_text())
ENTRIES = {(entry["family"], entry["model"]): entry for entry in RECORDED["families"]}

# Of each kind a few: key-value caches, recurrent ones of all sorts, none, encoders, wrappers, and what is refused.
SAMPLE = [
    ("causal", "llama"),
    ("causal", "gpt2"),
    ("causal", "bert"),
    ("causal", "mamba"),
    ("causal", "rwkv"),
    ("causal", "jamba"),
    ("causal", "minimax"),
    ("causal", "recurrent_gemma"),
    ("causal", "zamba2"),
    ("causal", "qwen3_next"),
    ("causal", "xlstm"),
    ("causal", "xlnet"),
    ("causal", "openai-gpt"),
    ("causal", "reformer"),
    ("causal", "deepseek_v4"),
    ("encoder-decoder", "t5"),
    ("encoder-decoder", "bart"),
    ("encoder-decoder", "fsmt"),
    ("image and text", "llava"),
    ("image and text", "qwen2_vl"),
    ("speech", "whisper"),
]


def same(entry: dict[str, Any]) -> dict[str, Any]:
    """Return what is found without how far models are off from themselves, which machines may round otherwise."""
    checks = {name: re.sub(r"by [\d.e+-]+|by inf", "by #", found) for name, found in entry["checks"].items()}
    return {"layers": entry["layers"], "checks": checks}


def test_the_record_is_of_all_families_of_the_transformers_that_is_pinned() -> None:
    assert f"transformers=={RECORDED['transformers']}\n" in (ROOT / "constraints.txt").read_text()
    if transformers.__version__ != RECORDED["transformers"]:
        pytest.skip(f"transformers {transformers.__version__} has other families")
    assert list(ENTRIES) == [(family, model) for _, family, model in families()]


def test_nothing_is_wrong_without_an_error() -> None:
    assert [key for key, entry in ENTRIES.items() if verdict(entry) == "wrong"] == []
    assert sum(verdict(entry) == "right" for entry in ENTRIES.values()) > 100


def test_what_was_not_seen_to_be_right_is_not_called_so() -> None:
    assert verdict({"layers": [], "checks": {"build": "model: ImportError: timm"}}) == "not tried"
    assert verdict({"layers": ["h.0"], "checks": {"a": "right", "b": "model: no cache"}}) == "right where the model can"
    assert verdict({"layers": ["h.0"], "checks": {"a": "refused: no", "b": "wrong: off by 1"}}) == "wrong"


def test_the_page_holds_the_table_of_the_record() -> None:
    assert filled(PAGE.read_text(), RECORDED) == PAGE.read_text()
    assert "| llama | LlamaForCausalLM | right |" in PAGE.read_text()


@pytest.mark.parametrize(("kind", "family"), SAMPLE, ids=lambda part: part)
def test_trying_a_family_finds_what_is_recorded(kind: str, family: str) -> None:
    if transformers.__version__ != RECORDED["transformers"]:
        pytest.skip(f"recorded with transformers {RECORDED['transformers']}")
    model = next(m for k, f, m in families() if (k, f) == (kind, family))
    assert same(tried(kind, family)) == same(ENTRIES[family, model])


def test_a_fault_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def believes_the_padding(self: Generation, mask: torch.Tensor | None, *_: Any) -> torch.Tensor | None:  # noqa: ARG001
        return mask

    monkeypatch.setattr(Generation, "_alive", believes_the_padding)
    found = tried("causal", "llama")
    assert found["checks"]["ended row"].startswith("wrong: off by")
    assert verdict(found) == "wrong"
