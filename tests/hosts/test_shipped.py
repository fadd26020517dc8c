"""Adapters that ship: found by name before the hub is asked, small, and described."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import constants
from safetensors.torch import load_file
from tests.hosts.hosts import make, remembering

import callosal
from callosal import attach_pretrained
from callosal.hosts import adapter, hub, shipped

LARGEST_BYTES = 4_000_000


@pytest.fixture
def ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an adapter that ships as callosal/tiny; elsewhere than where the test runs."""
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "adapters")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    folder = tmp_path / "adapters" / "tiny"
    remembering()[1].save_pretrained(folder, dtype=torch.bfloat16)
    return folder


def test_what_ships_comes_behind_a_folder_and_before_the_hub(ships: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def snapshot(name: str, **options: Any) -> str:
        asked.append({"name": name, **options})
        return str(ships)

    monkeypatch.setattr(hub, "snapshot_download", snapshot)
    assert shipped.shipped() == {"callosal/tiny": ships}
    assert shipped.locate("callosal/tiny") == ships
    attach_pretrained(make(), "callosal/tiny")
    assert asked == []
    # A revision is something that only the hub has.
    attach_pretrained(make(), "callosal/tiny", revision="v1")
    assert [one["revision"] for one in asked] == ["v1"]
    attach_pretrained(make(), "callosal/other")
    assert asked[1]["name"] == "callosal/other"
    Path("callosal/tiny").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"callosal/tiny/callosal_config\.json is missing"):
        attach_pretrained(make(), "callosal/tiny")


def test_an_unknown_name_of_ours_is_answered_with_what_ships(ships: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = "the Hugging Face hub gave no adapter"
    with pytest.raises(FileNotFoundError, match=rf"with this version of callosal ship: callosal/tiny; .*{nothing}"):
        attach_pretrained(make(), "callosal/tinny", cache_dir=ships.parent)
    with pytest.raises(FileNotFoundError, match=f"^there is no folder nobody/tiny, and {nothing}"):
        attach_pretrained(make(), "nobody/tiny", cache_dir=ships.parent)
    monkeypatch.delattr("callosal.hosts.hub")
    monkeypatch.setitem(sys.modules, "callosal.hosts.hub", None)
    attach_pretrained(make(), "callosal/tiny")
    monkeypatch.setattr(shipped, "FOLDER", ships)
    with pytest.raises(ImportError, match="ship: no adapters; "):
        attach_pretrained(make(), "callosal/tiny")


def test_matrices_are_stored_as_asked_and_loaded_in_single_precision(ships: Path, tmp_path: Path) -> None:
    model, memories = remembering()
    with torch.no_grad():
        memories["model.layers.0"].log_inertia.fill_(torch.pi)
    memories.save_pretrained(tmp_path / "whole")
    memories.save_pretrained(tmp_path / "half", dtype=torch.bfloat16)
    whole, half = (load_file(tmp_path / name / adapter.WEIGHTS) for name in ("whole", "half"))
    for key, tensor in whole.items():
        narrow = tensor.ndim > 1
        assert half[key].dtype == (torch.bfloat16 if narrow else torch.float32)
        assert torch.equal(half[key], tensor.to(half[key].dtype))
    again = attach_pretrained(make(), tmp_path / "half")
    assert {tensor.dtype for tensor in again.state_dict().values()} == {torch.float32}
    assert torch.equal(again["model.layers.0"].log_inertia, memories["model.layers.0"].log_inertia)
    for dtype in (torch.int8, torch.complex64):
        with pytest.raises(ValueError, match=f"dtype is {dtype}; weights are saved as one of torch.float16"):
            memories.save_pretrained(ships, dtype=dtype)
    with torch.no_grad():
        memories["model.layers.1"].output.weight[0, 0] = -1e5
    with pytest.raises(ValueError, match=r"'model.layers.1.output.weight' holds 1e\+05, too large for torch.float16"):
        memories.save_pretrained(ships, dtype=torch.float16)
    attach_pretrained(model.__class__(model.config), ships)  # nothing was written


def test_every_adapter_in_the_package_is_whole_small_and_described() -> None:
    package = Path(callosal.__file__).parent
    assert package / "adapters" == shipped.FOLDER
    folders = [path for path in shipped.FOLDER.iterdir() if path.is_dir()]
    assert sorted(folders) == list(shipped.shipped().values())
    for folder in folders:
        names = {path.name for path in folder.iterdir()}
        assert names == {adapter.CONFIG, adapter.WEIGHTS, "README.md"}
        assert sum(path.stat().st_size for path in folder.iterdir()) <= LARGEST_BYTES
        adapter.load_adapter(folder)
        _, head, text = (folder / "README.md").read_text().split("---\n", 2)
        card = yaml.safe_load(head)
        assert card["license"]
        assert card["base_model"]
        assert f'"callosal/{folder.name}"' in text
