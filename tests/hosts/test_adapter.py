"""Adapters: saved, loaded, pushed with a card, and refused where they are not whole or not ours."""

import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import HfApi, constants, hub_mixin
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save
from tests.hosts.hosts import CONFIG, SIZES, llama, make, prompts, remembering
from torch import nn

from callosal import attach_pretrained, unload
from callosal.hosts import adapter, hub

FILES = {"callosal_config.json", "callosal_memory.safetensors"}


def assert_same_answers(model: Any, memories: Any, folder: str | Path) -> None:
    """Attach the adapter to another copy of the model; what both answer in a session is the same."""
    other, tokens = make(), prompts()
    again = attach_pretrained(other, folder)
    assert again["model.layers.0"].config == CONFIG
    with memories.session(), again.session():
        for _ in range(2):
            assert torch.equal(other(tokens).logits, model(tokens).logits)


def rename_to_old(folder: Path) -> None:
    """Make of an adapter what version 0.1.0 wrote."""
    described = json.loads((folder / adapter.CONFIG).read_text())
    old = {"peft_type": "CALLOSAL", "format_version": 1, "base_model_name_or_path": None}
    old |= {key: described[key] for key in ("layers", "memory")}
    (folder / "adapter_config.json").write_text(json.dumps(old))
    (folder / adapter.CONFIG).unlink()
    (folder / adapter.WEIGHTS).rename(folder / "adapter_model.safetensors")


def test_saved_memories_attach_to_another_copy_of_the_model(tmp_path: Path) -> None:
    model, memories = remembering()
    for buffer in memories.buffers():
        buffer.add_(0.1)
    memories.save_pretrained(tmp_path / "adapter")
    assert {path.name for path in (tmp_path / "adapter").iterdir()} == FILES
    saved = load_file(tmp_path / "adapter" / adapter.WEIGHTS)
    assert all(key.startswith(("model.layers.0.", "model.layers.1.")) for key in saved)
    described = json.loads((tmp_path / "adapter" / adapter.CONFIG).read_text())
    assert described["library_name"] == "callosal"
    assert described["layers"] == list(memories)
    assert_same_answers(model, memories, tmp_path / "adapter")
    rename_to_old(tmp_path / "adapter")
    assert_same_answers(model, memories, tmp_path / "adapter")


@pytest.mark.parametrize("old", [False, True], ids=["new names", "old names"])
def test_a_wrong_adapter_is_refused_and_leaves_the_model_alone(tmp_path: Path, old: bool) -> None:
    _, memories = remembering()
    memories.save_pretrained(tmp_path)
    if old:
        rename_to_old(tmp_path)
    names = (adapter.OLD_CONFIG, adapter.OLD_WEIGHTS) if old else (adapter.CONFIG, adapter.WEIGHTS)
    (config, weights), model = (tmp_path / name for name in names), make()
    described = json.loads(config.read_text())
    kind, ours = ("peft_type", "CALLOSAL") if old else ("library_name", "callosal")

    def refused(message: str, written: str = "", **changes: object) -> None:
        config.write_text(written or json.dumps(described | changes))
        with pytest.raises(ValueError, match=message):
            attach_pretrained(model, tmp_path)
        assert not hasattr(model, "callosal")

    refused(f"reads '{ours}', format_version {1 if old else 2}", format_version=3)
    refused(f"{kind} 'LORA'", **{kind: "LORA"})
    refused("missing or unknown entries", memory={**described["memory"], "colour": "red"})
    refused("do not fit", layers=["model.layers.7"])
    refused("do not fit", layers=["model.layers.0"])
    refused("do not fit", memory={**described["memory"], "num_slots": 7})
    for wrong in ({"num_slots": 10**8}, {"num_banks": 10**8}, {"num_lags": 10**9}, {"width": 16}):
        refused(f"{weights} do not fit", memory={**described["memory"], **wrong})
    for wrong in ({"num_slots": 6.0}, {"gain": "4"}, {"homeostasis": 1}, {"gain": -1.0}, {"inner_width": "x"}):
        refused(f"{config} has missing or unknown entries", memory={**described["memory"], **wrong})
    refused(f"{config} has missing or unknown entries", layers=[])
    refused(f"{config} has missing or unknown entries", layers=[["model.layers.0"]])
    weights.write_bytes(weights.read_bytes()[:-9])
    refused("cannot be read" if old else "a save was interrupted, or the file was altered")
    refused("cannot be read", "{")
    refused("None; this version", "[1]")
    weights.unlink()
    with pytest.raises(FileNotFoundError, match=rf"{weights.name} is missing; .*save_pretrained"):
        attach_pretrained(model, tmp_path)
    config.unlink()
    with pytest.raises(FileNotFoundError, match=r"callosal_config\.json is missing"):
        attach_pretrained(model, tmp_path)


def rewritten(folder: Path, change: Any) -> None:
    """Change the tensors of an adapter as whoever converts it would, checksum included."""
    data = save({key: change(tensor) for key, tensor in load_file(folder / adapter.WEIGHTS).items()})
    (folder / adapter.WEIGHTS).write_bytes(data)
    described = json.loads((folder / adapter.CONFIG).read_text())
    described["weights_sha256"] = hashlib.sha256(data).hexdigest()
    (folder / adapter.CONFIG).write_text(json.dumps(described))


def test_a_whole_adapter_that_does_not_suit_is_refused(tmp_path: Path) -> None:
    _, memories = remembering()
    memories.save_pretrained(tmp_path)
    wider: dict[str, Any] = SIZES | {"hidden_size": 48}
    for model, message in (
        (nn.Sequential(nn.Linear(32, 32)), ".*no module named 'model.layers.0'"),
        (llama.LlamaForCausalLM(llama.LlamaConfig(**wider)), "MemoryConfig.width is 32"),
    ):
        with pytest.raises(ValueError, match=f"{tmp_path} was not attached: {message}"):
            attach_pretrained(model, tmp_path)
        assert not hasattr(model, "callosal")
    rewritten(tmp_path, torch.Tensor.bfloat16)  # wider is the same numbers
    again = attach_pretrained(make(), tmp_path)
    assert again["model.layers.0"].maps.dtype == torch.float32
    rewritten(tmp_path, torch.Tensor.double)
    model = make()
    with pytest.raises(ValueError, match=rf"{tmp_path} are torch.float64, and a memory in this model is torch.float32"):
        attach_pretrained(model, tmp_path)
    assert not hasattr(model, "callosal")
    attach_pretrained(make().double(), tmp_path)
    for change in (torch.Tensor.int, lambda tensor: tensor.float() * math.nan, lambda tensor: tensor.float() / 0.0):
        rewritten(tmp_path, change)
        with pytest.raises(ValueError, match=rf"{tmp_path / adapter.WEIGHTS} holds torch.\w+ that are not all numbers"):
            attach_pretrained(make(), tmp_path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)


@given(value=JSON, place=st.integers(0, 40), cut=st.floats(0.0, 1.0))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_wrong_in_a_folder_the_error_names_it(tmp_path: Path, value: Any, place: int, cut: float) -> None:
    model, memories = remembering()
    memories.save_pretrained(tmp_path)
    unload(model)
    path = tmp_path / adapter.CONFIG
    described = json.loads(path.read_text())
    owners = [(described, key) for key in described] + [(described["memory"], key) for key in described["memory"]]
    owner, key = owners[place % len(owners)]
    owner[key] = value
    path.write_text(json.dumps(described) if cut > 0.2 else path.read_text()[: int(5 * cut * path.stat().st_size)])
    said = str(tmp_path)
    try:
        attach_pretrained(model, tmp_path)
    except ValueError as error:
        said = str(error)
    assert str(tmp_path) in said


@pytest.mark.parametrize("survived", [0, 1, 2], ids=lambda files: f"{files} files written")
@pytest.mark.parametrize("before", [False, True], ids=["first", "again"])
def test_a_save_that_is_killed_leaves_the_old_the_new_or_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survived: int, before: bool
) -> None:
    model, memories = remembering()
    if before:
        memories.save_pretrained(tmp_path)
    weight, replace, calls = memories["model.layers.0"].output.weight, os.replace, []
    old = weight.detach().clone()
    nn.init.zeros_(weight)

    def killed(*paths: Any) -> None:
        if len(calls) == survived:
            raise KeyboardInterrupt
        calls.append(paths)
        replace(*paths)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        try:
            memories.save_pretrained(tmp_path)
        except KeyboardInterrupt:
            assert survived < 2
    other = make()
    if survived == 1 or (survived == 0 and not before):
        refused = ValueError if before else FileNotFoundError
        with pytest.raises(refused, match="save was interrupted" if before else "is missing"):
            attach_pretrained(other, tmp_path)
    else:
        loaded = attach_pretrained(other, tmp_path)["model.layers.0"].output.weight
        assert torch.equal(loaded, weight if survived else old)
    nn.init.constant_(weight, 0.1)
    memories.save_pretrained(tmp_path)  # what a kill left behind stops nobody
    assert_same_answers(model, memories, tmp_path)


def test_pushed_with_a_card_and_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub itself is a folder here: no test reaches the real one."""
    model, memories = remembering()
    model.name_or_path = "somebody/tiny-llama"
    created: list[dict[str, Any]] = []

    class Api(HfApi):
        def create_repo(self, repo_id: str, **options: Any) -> Any:
            created.append(options)
            return type("Address", (), {"repo_id": repo_id})

        def upload_folder(self, *, repo_id: str, folder_path: Any, **_: Any) -> Any:
            Path(folder_path).rename(tmp_path / repo_id.replace("/", "--"))
            return f"https://hub/{repo_id}/commit/1"

    def snapshot(name: str, *, allow_patterns: list[str], revision: str) -> str:
        assert set(allow_patterns) >= FILES
        assert revision == "v1"
        return str(tmp_path / name.replace("/", "--"))

    monkeypatch.setattr(hub_mixin, "HfApi", Api)
    monkeypatch.setattr(hub, "snapshot_download", snapshot)
    metadata = {"license": "mit", "datasets": ["theirs"]}
    assert memories.push_to_hub("ada/memory", metadata=metadata, private=True).endswith("commit/1")
    assert created == [{"private": True, "exist_ok": True}]
    pushed = tmp_path / "ada--memory"
    described = json.loads((pushed / adapter.CONFIG).read_text())
    assert described["base_model"] == "somebody/tiny-llama"
    assert {path.name for path in pushed.iterdir()} == FILES | {"README.md"}
    monkeypatch.chdir(tmp_path)
    other = make()
    again = attach_pretrained(other, "ada/memory", revision="v1")
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in memories.state_dict().items())

    _, head, text = (pushed / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(head) == {
        "base_model": "somebody/tiny-llama",
        "library_name": "callosal",
        "tags": ["adapter", "memory", "model_hub_mixin"],
        **metadata,
    }
    assert 'from_pretrained("somebody/tiny-llama")' in text
    assert 'callosal.attach_pretrained(model, "ada/memory")' in text
    memory = memories["model.layers.0"]
    size, stored = sum(p.numel() for p in memory.parameters()), memory.state_floats
    for layer in memories:
        assert f"| `{layer}` | 2 | 6 | 32 | {size} | {stored} |\n" in text
    # A base model in a folder is named to nobody, and no licence is made up.
    model.name_or_path = str(tmp_path)
    card = str(hub.HubAdapter(memories).generate_model_card())
    assert str(tmp_path) not in card
    assert "base_model" not in card.split("---")[1]
    memories.save_pretrained(tmp_path / "local")
    assert str(tmp_path) not in (tmp_path / "local" / adapter.CONFIG).read_text()
    assert "license" not in card.split("---")[1]


def test_a_name_that_leads_nowhere_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    for name, message in (
        ("nobody/nothing", "no folder nobody/nothing, and the Hugging Face hub gave no adapter"),
        ("nobody/--", "no folder nobody/--, and the Hugging Face hub gave no adapter"),
        ("nothing", r"callosal_config\.json is missing"),
        (Path("nobody/nothing"), r"callosal_config\.json is missing"),
    ):
        with pytest.raises(FileNotFoundError, match=message):
            attach_pretrained(make(), name, cache_dir=tmp_path)
