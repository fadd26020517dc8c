"""The example that people run first: every command, over processes, and nothing lost or half saved."""

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from examples import assistant
from huggingface_hub import constants
from tests.apart import ROOT, python
from tests.talkative import WORDS, talkative

import callosal
from callosal import MemoryStore
from callosal.hosts import shipped, smollm2
from callosal.hosts.cue import Cue
from callosal.hosts.talking import load_model

Talk = Callable[..., str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return talkative(tmp_path_factory.mktemp("model"))


@pytest.fixture
def talk(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Talk:
    """Talk in this process: lines go in, what is printed comes out, exceptions among the lines are raised."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("COLUMNS", "400")  # the folders of tests have long names

    def talked(*lines: str | type[BaseException], options: str = "", code: int = 0) -> str:
        script = iter(lines)

        def ask(prompt: str) -> str:
            line = next(script, EOFError)
            sys.stdout.write(prompt)
            if isinstance(line, str):
                return line
            raise line

        monkeypatch.setattr("builtins.input", ask)
        # Of an option that is named twice the last counts.
        named = f"--max-new-tokens 6 --store {tmp_path / 'users'}"
        named += "" if "--layers" in options else f" --memory {folder / 'adapter'}"
        model = "" if options.startswith(("/", "smollm2")) else str(folder)
        assert assistant.main(f"{model} {named} {options}".split()) == code
        streams = capsys.readouterr()
        return streams.out + streams.err

    return talked


def kept(tmp_path: Path, user: str = "ada") -> dict[str, torch.Tensor]:
    """Return what a user's files hold, by layer."""
    store = MemoryStore(tmp_path / "users")
    return {layer: stored.state.trace for layer, stored in store.layers(user).items()}


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    assert left
    return left.keys() == right.keys() and all(torch.equal(left[n], right[n]) for n in left)


def replies(printed: str) -> list[str]:
    """Return what the model said: what is behind a prompt and has no words but the model's."""
    lines = re.findall(r"^(?:\w+> )+(.+)$", printed, flags=re.MULTILINE)
    return [line for line in lines if set(line.split()) <= WORDS]


def test_what_was_said_is_kept_over_processes(talk: Talk, folder: Path, tmp_path: Path) -> None:
    first, second = "my name is ada", "what do I like ?"
    whole = replies(talk(first, "", second, "/quit", "not read"))
    assert len(whole) == 2
    assert replies(talk(first, options=f"--store {tmp_path / 'two'}")) == whole[:1]
    command = ("-W", "ignore", ROOT / "examples" / "assistant.py", folder, "--memory", folder / "adapter")
    command += ("--max-new-tokens", "6", "--store", "two")
    done = python(*command, input=second, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert replies(done.stdout) == whole[1:]
    store = MemoryStore(tmp_path / "two")
    assert store.users() == ["ada"]
    assert sorted(store.layers("ada")) == ["transformer.h.0", "transformer.h.1"]
    # A memory that heard nothing answers something else.
    assert replies(talk(second, options="--user bob")) != whole[1:]


def test_a_reply_begins_with_the_cue_where_the_memory_is_loud_and_is_nobodys_elsewhere(
    talk: Talk, folder: Path, tmp_path: Path
) -> None:
    model, tokenizer = load_model(str(folder))
    memories = callosal.attach_pretrained(model, folder / "adapter")
    for name, loudness in (("loud", 1e-9), ("silent", 1e9)):
        memories.cue = Cue(tokens=tuple(tokenizer("tea tea")["input_ids"]), loudness=loudness, end=1)
        memories.save_pretrained(tmp_path / name)
    told, asked = "my name is ada", "what do I like ?"
    loud = replies(talk(told, asked, options=f"--memory {tmp_path / 'loud'}"))
    assert all(reply.startswith("tea tea") for reply in loud)
    silent = f"--memory {tmp_path / 'silent'} --user"
    known, unknown = (
        replies(talk(*lines, options=f"{silent} {n}")) for n, lines in (("b", (told, asked)), ("c", (asked,)))
    )
    # Both are written, and neither is heard.
    assert known[1:] == unknown
    assert not same(kept(tmp_path, "b"), kept(tmp_path, "c"))


@pytest.mark.parametrize("template", [False, True], ids=["plain", "template"])
def test_only_what_is_new_goes_into_the_model(
    talk: Talk, folder: Path, monkeypatch: pytest.MonkeyPatch, *, template: bool
) -> None:
    read: list[str] = []
    encode = assistant.Assistant.encode

    def listening(self: assistant.Assistant, text: str, *, reply: bool) -> dict[str, torch.Tensor]:
        tokens = encode(self, text, reply=reply)
        read.append(self.tokenizer.decode(tokens["input_ids"][0]))
        return tokens

    monkeypatch.setattr(assistant.Assistant, "encode", listening)
    said = ["hello you", "I like tea", "what ?"]
    lines = (said[0], f"/remember {said[1]}", said[2], "/who")
    printed = talk(*lines, options=str(folder / "chat") if template else "")
    if template:
        said = [f"<s> user : {text}" for text in said]
        said = [f"{said[0]} <s> assistant :", said[1], f"{said[2]} <s> assistant :"]
    assert read == said
    # Of a reply all is read but its last token.
    num_tokens = sum(len(text.split()) for text in said) + 2 * 5
    assert f"turns 3, tokens {num_tokens}" in printed


def test_remember_reads_without_a_reply_and_help_names_every_command(talk: Talk) -> None:
    printed = talk("/remember my name is ada", "/help", "/who")
    assert all(f"/{command}" in printed for command in assistant.COMMANDS)
    assert "Read 4 tokens" in printed
    for layer in (0, 1):
        for bank in ("left", "right"):
            assert re.search(rf"transformer.h.{layer} +{bank} +\d\S+ +100.0%", printed)
    assert "turns 1, tokens 4" in printed


def test_users_are_switched_and_each_is_saved(talk: Talk, tmp_path: Path) -> None:
    printed = talk("/remember I like tea", "/who bob", "/remember hello you", "/who ada", "/who")
    assert re.findall(r"(\w+)> ", printed) == ["ada", "ada", "bob", "bob", "ada", "ada"]
    assert "ada, bob." in printed
    assert "ada in this talk: turns 0" in printed
    for user in ("ada", "bob"):
        assert len(kept(tmp_path, user)) == 2
        assert all(trace.any() for trace in kept(tmp_path, user).values())
    assert "'\\x1b[31m'> " in talk("/who \x1b[31m")


def test_a_lesion_changes_what_is_said_and_no_file(talk: Talk, folder: Path, tmp_path: Path) -> None:
    stated = ["/remember my name is ada", "/remember I like tea"] * 8
    questions = ["hello", "what do I like ?", "you like", "my name is"]
    one = f"--memory {folder / 'one'}"
    whole = replies(talk(*stated, "/save", *questions, options=one))
    talk(*stated, options=f"{one} --user bob")
    printed = talk("/lesion left", *stated[1:], "/who", *stated[:1], options=f"{one} --user cy")
    assert len(re.findall(r"left .* lesioned", printed)) == 1
    assert not re.search(r"right .* lesioned", printed)
    talk(*stated[1:], *stated[:1], options=f"{one} --user dee")
    assert same(kept(tmp_path, "cy"), kept(tmp_path, "dee"))
    assert replies(talk("/lesion left", *questions, options=f"{one} --user bob")) != whole
    # In the next session, and once it is healed, it is as if nothing had been.
    talk(*stated, options=f"{one} --user eve")
    talk("/lesion left", options=f"{one} --user eve")
    healed = talk("/lesion left right", "/lesion none", *questions, options=f"{one} --user eve")
    assert "Not read from now on: left and right." in healed
    assert "Not read from now on: nothing." in healed
    assert replies(healed) == whole


def test_forget_asks_and_blanks_the_file_too(talk: Talk, tmp_path: Path) -> None:
    talk("/remember my name is ada")
    before = kept(tmp_path)
    for lines in (("/forget", "n"), ("/forget", EOFError), ("/forget middle",), ("/forget", "")):
        talk(*lines)
        assert same(kept(tmp_path), before)
    # Interrupted behind the answer: what was forgotten stays so, and at once.
    assert "Forgotten" in talk("/forget left", "y", KeyboardInterrupt)
    for entry, trace in kept(tmp_path).items():
        assert not trace[:, 0].any()
        assert torch.equal(trace[:, 1], before[entry][:, 1])
    talk("/forget", "yes")
    assert not any(trace.any() for trace in kept(tmp_path).values())


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_a_reply_that_is_stopped_or_fails_leaves_no_trace(
    talk: Talk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    talk("/remember my name is ada", options="--user bob")
    talk("/remember my name is ada")
    printed: list[str] = []

    def stop(_: object, text: str, *__: object, **___: object) -> None:
        printed.append(text)
        if len(printed) == 3:
            raise error

    monkeypatch.setattr(assistant.Voice, "on_finalized_text", stop)
    said = talk("what do I like ?", "/who")
    assert len(printed) == 3
    assert "turns 0, tokens 0" in said
    assert ("Stopped" if error is KeyboardInterrupt else "ZeroDivisionError") in said
    assert same(kept(tmp_path), kept(tmp_path, "bob"))


def test_a_text_that_is_too_long_leaves_no_trace(talk: Talk, tmp_path: Path) -> None:
    talk("/remember my name is ada")
    before = kept(tmp_path)
    # The model has 40 positions: the one fails at once, the other in the middle of its reply.
    for line in ("tea " * 60, "/remember " + "tea " * 60, "tea " * 38):
        printed = talk(line, "/who")
        assert "this turn failed and is not kept; IndexError: index out of range" in printed
        assert "turns 0" in printed
        assert same(kept(tmp_path), before)


WRONG_LINES = {
    "/foo": "there is no /foo; /help lists the commands",
    "/run": "there is no /run; /help",
    "/lesion": "/lesion what?",
    "/lesion middle": "it may be 0, 1, left, right",
    "/who bob": "is truncated",
    "/remember": "/remember what?",
}


def test_what_goes_wrong_at_the_prompt_is_one_line_and_the_talk_goes_on(talk: Talk, tmp_path: Path) -> None:
    talk("/remember hello", options="--user bob")
    path = MemoryStore(tmp_path / "users").path("bob")
    path.write_bytes(path.read_bytes()[:-1])
    printed = talk(*WRONG_LINES, "hello")
    for message in WRONG_LINES.values():
        assert sum(message in line for line in printed.splitlines()) == 1, message
    assert "bob> " not in printed
    assert len(replies(printed)) == 1


def test_what_goes_wrong_before_the_talk_is_one_line(talk: Talk, folder: Path, tmp_path: Path) -> None:
    talk("/remember hello")
    damaged = shutil.copytree(folder / "chat", tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"")
    for options, message in {
        str(tmp_path / "nowhere"): "no model and tokenizer in",
        str(damaged): "no model and tokenizer in",
        f"--memory {damaged}": "callosal_config.json is missing",
        f"--memory {folder / 'one'}": "was written by other weights",
        f"--store {damaged / 'config.json'}": "Not a directory",
    }.items():
        printed = talk(options=options, code=2)
        assert re.search(f"assistant: .*{message}.*\n$", printed), printed
    with pytest.raises(SystemExit):
        talk(options="--layers 0 --memory x")


def test_smollm2_and_what_ships_have_short_names(talk: Talk, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def loaded(*, on_unpack: Callable[[Path], None]) -> Any:
        on_unpack(Path("cache"))
        return load_model(str(folder))

    monkeypatch.setattr(smollm2, "load_smollm", loaded)
    monkeypatch.setattr(shipped, "FOLDER", folder)
    printed = talk("hello", options="smollm2 --memory callosal/adapter")
    assert "Unpacking SmolLM2 into cache, the first time only" in printed
    assert "smollm2 with memories behind transformer.h.0, transformer.h.1" in printed
    assert replies(printed) == replies(talk("hello", options="--user bob"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    unknown = talk(options="smollm2 --memory callosal/other", code=2)
    assert re.search("assistant: with this version of callosal ship: callosal/adapter, callosal/one; .*\n$", unknown)

    def missing(**_: Any) -> None:
        raise ImportError("no gguf")

    monkeypatch.setattr(smollm2, "load_smollm", missing)
    assert "assistant: no model and tokenizer in smollm2: no gguf" in talk(options="smollm2", code=2)


def test_untrained_memories_say_so_and_can_be_read_again(talk: Talk, tmp_path: Path) -> None:
    for seed in (0, 1):
        printed = talk("/remember hello", "/who", options=f"--seed {seed} --layers 0 -1")
        assert "The memories are untrained" in printed
    assert len(kept(tmp_path)) == 2


def test_a_temperature_draws_what_the_seed_says(talk: Talk) -> None:
    drawn = [
        replies(talk("hello", options=f"--temperature 2 --seed {seed} --user {seed}{again}"))
        for seed, again in ((0, "a"), (0, "b"), (1, "a"))
    ]
    assert drawn[0] == drawn[1] != drawn[2]
