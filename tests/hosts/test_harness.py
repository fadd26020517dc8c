"""lm-evaluation-harness on a tiny model with memories: what one item leaves, no other finds."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.hosts.hosts import VOCABULARY, make, remembering, same_bits
from tests.tolerances import SINGLE

with warnings.catch_warnings():
    # What the harness and what it imports say of themselves is not ours to mend.
    warnings.simplefilter("ignore")
    pytest.importorskip("lm_eval", reason='lm-eval is not installed (pip install "callosal[harness]")')
    from callosal.hosts.harness import HFLM, MemoryLM

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from callosal import Memories

pytestmark = pytest.mark.filterwarnings("ignore")
ITEMS = [("w5 w6 w7", " w8 w9"), ("w10", " w11"), ("w5 w6 w7", " w12 w13 w14"), ("w20 w21", " w22")]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    words = {"<pad>": 0, "<end>": 1} | {f"w{n}": n for n in range(2, VOCABULARY)}
    plain = Tokenizer(models.WordLevel(words, unk_token="<end>"))  # noqa: S106
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # pyright: ignore[reportAttributeAccessIssue]
    special = {"pad_token": "<pad>", "eos_token": "<end>", "bos_token": "<end>"}
    return PreTrainedTokenizerFast(tokenizer_object=plain, **special)


def scores(lm: Any, items: list[tuple[str, str]] = ITEMS) -> torch.Tensor:
    from lm_eval.api.instance import Instance  # noqa: PLC0415  # pyright: ignore[reportMissingImports]

    asked = [Instance("loglikelihood", {}, item, n) for n, item in enumerate(items)]
    return torch.tensor([found for found, _ in lm.loglikelihood(asked, disable_tqdm=True)])


def by_hand(memories: Memories, states: Any, context: str, answer: str, tokenizer: Any) -> float:
    before, after = (tokenizer(text)["input_ids"] for text in (context, answer))
    with torch.no_grad(), memories.session() as session:
        if states:
            session.replace(states)
        logits = memories.model(torch.tensor([before + after])).logits[0]
    chances = logits[len(before) - 1 : -1].log_softmax(-1)
    return chances[torch.arange(len(after)), after].sum().item()


def told(memories: Memories, tokenizer: Any) -> Any:
    with torch.no_grad(), memories.session() as session:
        memories.model(torch.tensor([tokenizer("w30 w31 w32 w33 w5 w8")["input_ids"]]))
    return session.states


def test_every_item_starts_from_the_same_memories(tokenizer: Any) -> None:
    _, memories = remembering()
    states = told(memories, tokenizer)
    kept = {name: state[[0]] for name, state in states.items()}
    found = {}
    for name, start in (("blank", None), ("told", states)):
        expected = torch.tensor([by_hand(memories, start, *item, tokenizer) for item in ITEMS])
        for size in (1, 3):
            lm = MemoryLM(memories, start, tokenizer=tokenizer, batch_size=size)
            assert torch.allclose(scores(lm), expected, atol=SINGLE)
            assert torch.allclose(scores(lm, ITEMS[::-1]), expected.flip(0), atol=SINGLE)
        found[name] = expected
    assert not torch.allclose(found["blank"], found["told"], atol=1e-3)
    assert same_bits(states, kept)
    # The model alone is another, and what the memories are attached to is it where no session is on.
    alone = scores(HFLM(pretrained=make(), tokenizer=tokenizer, batch_size=2))
    assert not torch.allclose(found["blank"], alone, atol=1e-3)
    memories.warn_outside_session = False
    assert torch.equal(scores(HFLM(pretrained=memories.model, tokenizer=tokenizer, batch_size=2)), alone)


def test_what_is_generated_starts_from_them_too(tokenizer: Any) -> None:
    from lm_eval.api.instance import Instance  # noqa: PLC0415  # pyright: ignore[reportMissingImports]

    _, memories = remembering()
    states = told(memories, tokenizer)

    def replies(start: Any, size: int) -> list[str]:
        asked = [
            Instance("generate_until", {}, (text, {"until": [], "max_gen_toks": 6}), n)
            for n, (text, _) in enumerate(ITEMS)
        ]
        lm = MemoryLM(memories, start, tokenizer=tokenizer, batch_size=size)
        return [" ".join(reply.split()) for reply in lm.generate_until(asked, disable_tqdm=True)]

    def by_hand(start: Any, text: str) -> str:
        tokens = torch.tensor([tokenizer(text)["input_ids"]])
        with memories.session() as session:
            if start:
                session.replace(start)
            model: Any = memories.model
            made = model.generate(tokens, max_new_tokens=6, do_sample=False, pad_token_id=0)
        # The harness ends a reply at the end's token, and drops padding that a random model may well say.
        reply = tokenizer.decode(made[0, tokens.shape[1] :]).split("<end>")[0]
        return " ".join(word for word in reply.split() if word != "<pad>")

    for start in (None, states):
        expected = [by_hand(start, text) for text, _ in ITEMS]
        assert replies(start, 1) == replies(start, 2) == expected
    assert replies(None, 1) != replies(states, 1)


def test_a_task_from_a_file_is_run(tokenizer: Any, tmp_path: Path) -> None:
    from benchmarks.harness import measured, written  # noqa: PLC0415  # imports the harness

    _, memories = remembering()
    items = [{"context": a, "choices": [b.strip(), "w39"], "answer": n % 2} for n, (a, b) in enumerate(ITEMS)]
    written(tmp_path, "ours", items)
    lm = MemoryLM(memories, tokenizer=tokenizer, batch_size=2)
    row = measured(lm, ["ours"], tmp_path)["ours"]
    both = torch.stack([scores(lm, [(i["context"], f" {i['choices'][n]}") for i in items]) for n in (0, 1)], dim=1)
    answers = torch.tensor([item["answer"] for item in items])
    assert row["items"] == len(items)
    assert row["accuracy"] == (both.argmax(1) == answers).double().mean().item()
    assert row["nats"] == pytest.approx(-both.gather(1, answers[:, None]).mean().item(), abs=SINGLE)


def test_states_that_do_not_fit_are_refused(tokenizer: Any) -> None:
    _, memories = remembering()
    states = told(memories, tokenizer)
    two = {name: state[[0, 0]] for name, state in states.items()}
    for wrong in (two, dict(list(states.items())[:1]), {}):
        with pytest.raises(ValueError, match=r"every item starts from one row for each of .*state\[\[n\]\]"):
            MemoryLM(memories, wrong, tokenizer=tokenizer)
