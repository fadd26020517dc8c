"""The example with the Trainer runs as it is; `tests/training/test_processes.py` runs the other one."""

import sys
from pathlib import Path

import pytest
from examples import train_with_trainer


# What torch says of a machine without an accelerator is not ours to mend.
@pytest.mark.filterwarnings("ignore:'pin_memory' argument")
def test_with_trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "1")
    monkeypatch.setattr(sys, "argv", ["train", "--steps", "4", "--out", str(tmp_path)])
    train_with_trainer.main()
    assert "nats; a model that forgets has 3.00" in capsys.readouterr().out
    saved = {path.name for path in (tmp_path / "memories").iterdir()}
    assert saved == {"callosal_config.json", "callosal_memory.safetensors"}
