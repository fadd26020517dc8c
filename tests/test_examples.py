"""The examples run as they are."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def run(example: str, out: Path, *before: str) -> str:
    """Run an example for a few steps, behind some arguments of Python, and return what it printed."""
    path = f"{ROOT / 'src'}:{os.environ.get('PYTHONPATH', '')}"
    done = subprocess.run(  # noqa: S603  (our own program)
        [
            sys.executable,
            *before,
            str(ROOT / "examples" / example),
            "--steps",
            "4",
            "--out",
            str(out),
        ],
        env=os.environ | {"ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    saved = {path.name for path in (out / "memories").iterdir()}
    assert saved == {"callosal_config.json", "callosal_memory.safetensors"}
    return done.stdout


def test_with_trainer(tmp_path: Path) -> None:
    assert "nats; a model that forgets has 3.00" in run("train_with_trainer.py", tmp_path)


def test_with_accelerate_on_two_processes(tmp_path: Path) -> None:
    said = run("train_with_accelerate.py", tmp_path, *TORCHRUN)
    # Once: the other process is silent.
    assert said.count("nats; a model that forgets has 3.00") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"callosal", "checkpoint", "memories"}
    states = [path.name for path in (tmp_path / "checkpoint/step-00000004").glob("random_states_*")]
    assert sorted(states) == ["random_states_0.pkl", "random_states_1.pkl"]
