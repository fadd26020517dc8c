"""In another process: a saved memory is used as here, and what is compiled does what it did."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.apart import ROOT, Done, python
from tests.hosts.hosts import MODELS, DictStore, prompts, remembering
from tests.laws import assert_near
from tests.tolerances import SINGLE
from torch import Tensor

Answers = dict[str, tuple[Tensor, Path]]


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> tuple[Done, Answers]:
    """Save memories of every kind of model, and what each answers here; then run the other process."""
    root, answers = tmp_path_factory.mktemp("saved"), {}
    for name in MODELS:
        model, memories = remembering(name)
        store, folder = DictStore(), root / name
        memories.save_pretrained(folder)
        with memories.session("ada", store) as session:
            blank = model(prompts(rows=1)).logits
            session.save()
            for key, state in store.entries.items():
                save_file({"trace": state.trace}, folder / f"{key}.safetensors")
            answers[name] = model(prompts(rows=1)).logits, folder / "logits.pt"
            assert not torch.allclose(answers[name][0], blank)
    # Functions decorated by this suite's shape checker do not compile; there they are not.
    return python("-W", "ignore", "-m", "tests.hosts.elsewhere", root, cwd=ROOT), answers


def test_a_memory_saved_here_is_used_in_another_process(elsewhere: tuple[Done, Answers]) -> None:
    done, answers = elsewhere
    assert "memories went on" in done.stdout, done.stderr
    for expected, path in answers.values():
        assert_near(torch.load(path), expected, SINGLE)


def test_users_that_are_no_strings_are_refused_by_value(elsewhere: tuple[Done, Answers]) -> None:
    done, _ = elsewhere
    assert "users refused" in done.stdout, done.stderr


@pytest.mark.parametrize("what", ["layer", "training", "model", "in-place", "lengths", "in-session", "shared"])
def test_compiled_a_memory_and_a_model_with_memories_do_what_they_did(
    what: str, elsewhere: tuple[Done, Answers]
) -> None:
    done, _ = elsewhere
    assert f"{what} compiled" in done.stdout, done.stderr
    assert done.returncode == 0
