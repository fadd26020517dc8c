"""Cued recall: how loud memories would be, replies in which they are not heard, and which replies begin with a cue."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.hosts.hosts import CONFIG, USERS, make, pad_left, prompts, remembering, same_bits, trained, transformers
from tests.laws import assert_near
from tests.tolerances import SINGLE

from callosal import attach, attach_pretrained
from callosal.hosts.cue import Cue, recall
from callosal.hosts.talking import begin_reply

CUE = Cue(tokens=(5, 6), loudness=0.5, end=7)


class Letters:
    """A tokenizer whose tokens are letters."""

    eos_token_id = 9

    def decode(self, tokens: list[int]) -> str:
        return "".join(chr(ord("a") + token) for token in tokens)


def told(**settings: Any) -> Any:
    """Return a model with one memory, and a session of users who said something."""
    model = make()
    memories = trained(attach(model, [0], CONFIG, **settings))
    session = memories.session(USERS)
    with session:
        model(prompts())
    return model, memories, session.states


def test_loudness_is_what_a_memory_adds_over_what_is_there_and_leaves_nothing() -> None:
    model, memories, states = told()
    (name,) = memories
    tokens = prompts(seed=3)
    hidden: list[torch.Tensor] = []
    memories[name].register_forward_pre_hook(lambda _, given: hidden.append(given[0]))
    with memories.session(USERS) as session:
        session.replace(states)
        model(prompts(seed=4))
        before = session.states
        found = session.loudness(tokens)
        assert same_bits(before, session.states)
        assert all(state.segment is not None for state in session.states.values())
        session.turn()
        (state,) = session.states.values()
    y, _ = memories[name](hidden[-1], state, commit=False)
    assert_near(found, y[:, -1].norm(dim=-1) / hidden[-1][:, -1].norm(dim=-1), SINGLE)


def test_the_loudest_layer_counts() -> None:
    model, memories = remembering()
    seen: dict[str, torch.Tensor] = {}

    def hook(name: str) -> Any:
        def listen(_: Any, given: Any, out: Any) -> None:
            seen[name] = out[0][:, -1].norm(dim=-1) / given[0][:, -1].norm(dim=-1)

        return listen

    for name, memory in memories.items():
        memory.register_forward_hook(hook(name))
    with memories.session(USERS) as session:
        model(prompts())
        whole = session.loudness(prompts(seed=3))
        assert len(seen) == len(memories) == 2
        assert_near(whole, torch.stack(list(seen.values())).amax(0), SINGLE)
        assert not torch.equal(*seen.values())
        with session.muted():  # of the others too it is asked as it would be heard
            assert torch.equal(session.loudness(prompts(seed=3)), whole)
        session.lesion("left", "right")
        assert not torch.equal(session.loudness(prompts(seed=3)), whole)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_padding_before_a_text_changes_no_loudness(name: str) -> None:
    model, memories = remembering(name)
    texts = prompts(seed=3)
    padded, mask, _ = pad_left(texts, 2)
    with memories.session(USERS) as session:
        model(prompts())
        session.turn()
        states = session.states
        found = session.loudness(padded, mask)
        with pytest.raises(ValueError, match="padded at the end"):
            session.loudness(texts, torch.ones_like(texts).index_fill(1, torch.tensor([6]), 0))
        with pytest.raises(ValueError, match="a batch of 1 rows"):
            session.loudness(texts[:1])
    alone = []
    for row, user in enumerate(USERS):
        with memories.session(user) as session:
            session.replace({layer: state[row : row + 1] for layer, state in states.items()})
            alone.append(session.loudness(padded[row : row + 1, mask[row].bool()]))
    assert_near(found, torch.cat(alone), SINGLE)


def test_loudness_is_of_the_session_that_is_asked_and_of_no_other() -> None:
    model, memories, states = told(warn_outside_session=False)
    tokens = prompts(seed=3)
    with memories.session(USERS) as ended:
        ended.replace(states)
        wanted = ended.loudness(tokens)
    with memories.session(USERS) as session:
        before = session.states
        for other in (ended, memories.session(USERS)):
            with pytest.raises(RuntimeError, match="a session that is not under way"):
                other.loudness(tokens)
        assert same_bits(session.states, before)
        session.replace(states)
        # From a thread that is in no session.
        with ThreadPoolExecutor(1) as pool:
            assert torch.equal(pool.submit(session.loudness, tokens).result(), wanted)
        with pytest.raises(RuntimeError, match="while a reply is generated"):
            model.generate(tokens, max_new_tokens=2, logits_processor=[lambda ids, scores: session.loudness(ids)])
    with memories.session(USERS) as session, pytest.raises(RuntimeError, match="heard before any call"):
        assert session.heard


def test_loudness_is_of_causal_models() -> None:
    config = transformers.T5Config(vocab_size=40, d_model=32, d_kv=16, d_ff=48, num_layers=2, num_heads=2)
    memories = attach(transformers.T5ForConditionalGeneration(config), ["decoder.block.0"], CONFIG)
    with memories.session("ada") as session, pytest.raises(ValueError, match="it is of causal models"):
        session.loudness(prompts(rows=1))


def test_loudness_begins_and_ends_no_turn() -> None:
    model, memories, _ = told()
    tokens = prompts(rows=1)
    ends = []
    for listens in (True, False):
        with memories.session("ada") as session:
            model(tokens)
            with session.one_turn():
                if listens:
                    session.loudness(tokens)
                model(tokens)
                model(tokens)
            if listens:
                session.loudness(tokens)
            ends.append(session.states)
    assert same_bits(*ends)


def test_muted_the_model_is_heard_alone_and_the_memory_is_written_as_ever() -> None:
    model, memories, states = told(warn_outside_session=False)
    tokens, alone = prompts(seed=3), make()(prompts(seed=3)).logits
    ends = []
    for is_muted in (True, False):
        with memories.session(USERS) as session:
            session.replace(states)
            if is_muted:
                with session.muted():
                    assert torch.equal(model(tokens).logits, alone)
            else:
                assert not torch.equal(model(tokens).logits, alone)
            session.turn()
            ends.append(session.states)
    # One memory, and what comes in is what it was.
    assert same_bits(*ends)


def test_muted_below_a_loudness_a_memory_is_heard_where_it_is_louder() -> None:
    model, memories, states = told(warn_outside_session=False)
    (name,) = memories
    tokens, given = prompts(seed=3), []
    memories[name].register_forward_hook(lambda _, into, out: given.append((into[0], out[0])))
    heard: list[torch.Tensor] = []
    layer = model.get_submodule(name)
    layer.register_forward_hook(lambda _, into, out: heard.append(out if isinstance(out, torch.Tensor) else out[0]))
    with memories.session(USERS) as session:
        session.replace(states)
        ends = [session.loudness(tokens[:, :time]) for time in range(1, 8)]
        loudness = torch.stack(ends, 1)
        least = loudness.median().item()
        heard.clear()
        with session.muted(least):
            model(tokens)
        (seen, y), out = given[-1], heard[-1]
    for row, time in torch.cartesian_prod(torch.arange(3), torch.arange(7)).tolist():
        added = out[row, time] - seen[row, time]
        wanted = y[row, time] if loudness[row, time] >= least else torch.zeros_like(added)
        # The median itself may fall to either side.
        if abs(loudness[row, time].item() - least) > 1e-5:
            assert_near(added, wanted, SINGLE)


def test_muting_ends_with_its_block_whatever_happens_in_it() -> None:
    model, memories, states = told(warn_outside_session=False)
    tokens = prompts(seed=3)
    with memories.session(USERS) as session:
        session.replace(states)
        heard = model(tokens).logits
        with session.muted():
            with pytest.raises(ZeroDivisionError), session.muted(0.0):
                raise ZeroDivisionError
            session.replace(states)
            assert not torch.equal(model(tokens).logits, heard)
        session.replace(states)
        assert torch.equal(model(tokens).logits, heard)
        for below in (-1.0, float("nan")):
            with pytest.raises(ValueError, match="it must be at least 0"), session.muted(below):
                pass


def test_a_reply_begins_with_the_cue_where_the_memory_is_loud_behind_it_and_is_the_models_own_elsewhere() -> None:
    model, memories, states = told(warn_outside_session=False)
    tokens = {"input_ids": prompts(rows=1, seed=3), "attention_mask": torch.ones(1, 7, dtype=torch.long)}
    (name,) = memories
    own = {name: states[name][:1]}
    with memories.session("ada") as session:
        session.replace(own)
        loudness = session.loudness(**CUE.behind(tokens)).item()
        assert loudness > 0.0
        for threshold in (0.5 * loudness, 2.0 * loudness):
            cue = Cue(tokens=CUE.tokens, loudness=threshold, end=7)
            with begin_reply(session, cue, Letters(), tokens) as (words, begun):
                logits = model(begun["input_ids"]).logits
                if threshold < loudness:
                    assert words == "fg"
                    assert begun["input_ids"].tolist() == [[*tokens["input_ids"][0].tolist(), 5, 6]]
                    assert begun["attention_mask"].tolist() == [[1] * 9]
                    assert begun["eos_token_id"] == [7, 9]
                else:
                    assert (words, begun) == ("", tokens)
                    assert torch.equal(logits, make()(tokens["input_ids"]).logits)
            session.replace(own)
            assert not torch.equal(model(tokens["input_ids"]).logits, make()(tokens["input_ids"]).logits)
        with begin_reply(session, None, Letters(), tokens) as (words, begun):
            assert (words, begun) == ("", tokens)
    with (
        memories.session(USERS) as session,
        pytest.raises(ValueError, match="3 rows"),
        recall(session, CUE, {"input_ids": prompts()}),
    ):
        pass


def test_a_reply_that_began_with_the_cue_ends_where_the_memory_is_not_as_loud() -> None:
    model, memories, states = told(warn_outside_session=False)
    (name,) = memories
    own = {name: states[name][:1]}
    tokens = {"input_ids": prompts(rows=1, seed=3)}
    start = tokens["input_ids"].shape[1] + len(CUE.tokens)
    least = Cue(tokens=CUE.tokens, loudness=1e-9, end=0)
    with memories.session("ada") as session:
        session.replace(own)
        with session.muted(least.loudness):
            free = model.generate(**least.behind(tokens), max_new_tokens=12, pad_token_id=0)[0, start:].tolist()
        session.replace(own)
        text, loud = least.behind(tokens)["input_ids"], []
        for token in free:
            loud.append(session.loudness(text).item())
            text = torch.cat([text, torch.tensor([[token]])], 1)
        # The reply goes on as long as its tokens are as loud as this, one at least and not all.
        threshold = sorted(loud)[1]
        cue = Cue(tokens=CUE.tokens, loudness=threshold, end=0)
        with session.muted(threshold):
            made = model.generate(**cue.behind(tokens), **cue.ends(session, [None]), max_new_tokens=12, pad_token_id=0)
    until = loud.index(min(loud))
    assert made[0, start:].tolist() == [*free[:until], 0]


def test_an_adapter_keeps_the_cue_and_refuses_one_that_is_none(tmp_path: Path) -> None:
    _, memories, _ = told()
    memories.save_pretrained(tmp_path)
    assert attach_pretrained(make(), tmp_path).cue is None
    memories.cue = CUE
    memories.save_pretrained(tmp_path)
    assert attach_pretrained(make(), tmp_path).cue == CUE
    path = tmp_path / "callosal_config.json"
    whole = path.read_text()
    for right, wrong in (("0.5", "-0.5"), ("0.5", '"loud"'), ("5,", "-5,"), ('"end"', '"ends"'), ("0.5", "true")):
        path.write_text(whole.replace(f" {right}", f" {wrong}"))
        with pytest.raises(ValueError, match=r"callosal_config.json has missing or unknown entries: .*[cC]ue"):
            attach_pretrained(make(), tmp_path)


@pytest.mark.parametrize(
    "wrong", [{"tokens": ()}, {"tokens": (-1,)}, {"loudness": 0.0}, {"loudness": 1e999}, {"end": -1}]
)
def test_a_cue_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    whole: dict[str, Any] = {"tokens": (1,), "end": 2}
    with pytest.raises(ValueError, match=r"Cue\."):
        Cue(**whole | wrong)
