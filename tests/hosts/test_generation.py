"""Generation in a session: token by token as at once, padding, beams, and rows that never leak."""

import copy
import pickle
from typing import Any, cast

import pytest
import torch
from tests.hosts import hosts
from tests.hosts.hosts import ALL, USERS, DictStore, assert_same_states, make, prompts, remembering, same_bits
from tests.laws import assert_near
from tests.tolerances import SINGLE
from torch import Tensor
from transformers import GenerationConfig
from transformers.generation.stopping_criteria import StoppingCriteriaList

from callosal import Memories
from callosal.hosts.session import entry

GREEDY: dict[str, Any] = {"do_sample": False}


@ALL
def test_token_by_token_and_in_pieces_is_reading_at_once(name: str) -> None:
    (model, memories), tokens = remembering(name), prompts()
    with memories.session() as session:
        model(prompts(seed=3))
        reply = model.generate(tokens, max_new_tokens=6, **GREEDY)
        by_token = session.states
        after = model(prompts(seed=4)).logits
    with memories.session() as session:
        model(prompts(seed=3))
        # The last token of a reply is never fed to the model.
        whole, at_once = model(reply[:, :-1]).logits, session.states
        assert_same_states(by_token, at_once)
        assert torch.equal(whole[:, 6:].argmax(-1), reply[:, 7:])
        assert_near(model(prompts(seed=4)).logits, after, SINGLE)
    with memories.session() as session:
        model(prompts(seed=3))
        logits, cache = [], None
        for piece in reply[:, :-1].split([3, 1, 1, 2, 5], 1):
            out = model(piece, past_key_values=cache)
            cache = out.past_key_values
            logits.append(out.logits)
        assert_near(torch.cat(logits, 1), whole, SINGLE)
        assert_same_states(session.states, at_once)


def test_a_reply_in_two_calls_that_hand_the_cache_on_is_that_of_one() -> None:
    model, memories = remembering()
    settings = GREEDY | {"return_dict_in_generate": True}
    with memories.session() as session:
        whole = model.generate(prompts(), max_new_tokens=6, **settings).sequences
        at_once = session.states
    with memories.session() as session:
        first = model.generate(prompts(), max_new_tokens=3, **settings)
        settings |= {"max_new_tokens": 3, "past_key_values": first.past_key_values}
        assert torch.equal(model.generate(first.sequences, **settings).sequences, whole)
        assert_same_states(session.states, at_once)


@ALL
def test_left_padding_is_as_if_absent(name: str) -> None:
    (model, memories), (tokens, mask, positions) = remembering(name), hosts.pad_left(prompts(), 3)
    with memories.session() as session:
        model(tokens, attention_mask=mask, position_ids=positions)
        padded = {name: state[1] for name, state in session.states.items()}
        together = model.generate(tokens, attention_mask=mask, max_new_tokens=4, **GREEDY)
        generated = {name: state[1] for name, state in session.states.items()}
    with memories.session() as session:
        model(tokens[1:2, 3:])
        assert_same_states(padded, session.states)
        reply = model.generate(tokens[1:2, 3:], max_new_tokens=4, **GREEDY)
        assert torch.equal(together[1:2, 3:], reply)
        assert_same_states(generated, session.states)


def ending(memories: Memories, tokens: Tensor) -> tuple[int, list[int]]:
    """Return a token that ends some greedy replies early and others late, and rows by reply length."""
    with memories.session():
        replies = cast(Any, memories.model).generate(tokens, max_new_tokens=8, **GREEDY)
    for end in range(3, hosts.VOCABULARY):
        lengths, rows = (replies[:, tokens.shape[1] :] != end).cumprod(1).sum(1).sort()
        if lengths[1] < 7 and lengths[-1] > lengths[1]:
            return end, rows.tolist()
    raise AssertionError("no token ends the replies at different times")


@ALL
def test_a_row_that_ended_does_not_read_the_padding_behind_it(name: str) -> None:
    (model, memories), tokens = remembering(name), prompts(rows=12)
    end, _ = ending(memories, tokens)
    settings = GREEDY | {"max_new_tokens": 8, "eos_token_id": end}
    with memories.session() as session:
        together = model.generate(tokens, **settings)
        states = session.states
    lengths = set()
    for row in range(len(tokens)):
        with memories.session() as session:
            alone = model.generate(tokens[row : row + 1], **settings)
            lengths.add(alone.shape[1])
            assert torch.equal(together[row, : alone.shape[1]], alone[0])
            assert_same_states({n: s[row] for n, s in states.items()}, session.states)
    assert len(lengths) > 1


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2"])
def test_beams_reorder_rows_and_the_memory_keeps_the_text_that_won(name: str) -> None:
    (model, memories), (tokens, mask, _), store = remembering(name), hosts.pad_left(prompts(), 2), DictStore()
    with memories.session(USERS, store):
        model(prompts(seed=9))
    settings = GREEDY | {"max_new_tokens": 6, "num_beams": 4, "attention_mask": mask}
    for returned in (1, 2):
        with memories.session(USERS, copy.deepcopy(store)) as session:
            texts = model.generate(tokens, num_return_sequences=returned, **settings)
            states, texts = session.states, texts[::returned, :-1]
        full = torch.cat([mask, torch.ones(3, texts.shape[1] - 7, dtype=torch.long)], 1)
        with memories.session(USERS, copy.deepcopy(store)) as session:
            model(texts, attention_mask=full, position_ids=hosts.positions(full))
            assert_same_states(states, session.states)


def test_beams_are_those_of_a_search_that_reads_everything_again_for_each_token() -> None:
    # An oracle of its own: beam search by hand, in which no memory is ever reordered.
    model, memories = remembering()
    beams, steps, tokens = 3, 5, prompts(rows=1)

    def scores(texts: Tensor) -> Tensor:
        with memories.session():
            return model(texts).logits[:, -1].log_softmax(-1)

    first = scores(tokens)[0].topk(beams)
    texts = torch.cat([tokens.expand(beams, -1), first.indices[:, None]], 1)
    total, changed = first.values, False
    for _ in range(steps - 1):
        joint = (total[:, None] + scores(texts)).reshape(-1).topk(beams)
        rows, total = joint.indices // hosts.VOCABULARY, joint.values
        changed |= rows.tolist() != list(range(beams))
        texts = torch.cat([texts[rows], joint.indices[:, None] % hosts.VOCABULARY], 1)
    assert changed
    settings = GREEDY | {"num_beams": beams, "num_return_sequences": beams}
    with memories.session():
        assert torch.equal(model.generate(tokens, max_new_tokens=steps, **settings), texts)


def test_of_several_samples_the_memory_keeps_the_first() -> None:
    model, memories = remembering()
    with memories.session(USERS) as session:
        torch.manual_seed(0)
        sampled = {"do_sample": True, "num_return_sequences": 3}
        replies = model.generate(prompts(), max_new_tokens=4, **sampled)
        states = session.states
    with memories.session() as session:
        model(replies[::3, :-1])
        assert_same_states(states, session.states)


def test_a_static_cache_is_as_good() -> None:
    (model, memories), (_, mask, _) = remembering(), hosts.pad_left(prompts(), 3, row=0)
    settings, answers = GREEDY | {"attention_mask": mask, "max_new_tokens": 4}, []
    for kind in (None, "static"):
        with memories.session() as session:
            reply = model.generate(prompts(), cache_implementation=kind, **settings)
            answers.append((reply, session.states))
    assert torch.equal(answers[0][0], answers[1][0])
    assert_same_states(answers[1][1], answers[0][1])


def talk(memories: Memories, texts: Tensor, users: list[str], end: int) -> tuple[Any, DictStore]:
    """Let users talk in one batch, two turns and a generation; return the outputs and the store."""
    store, model = DictStore(), cast(Any, memories.model)
    with memories.session(users, store):
        outputs = [model(texts).logits, model(texts.flip(1)).logits]
        settings = GREEDY | {"max_new_tokens": 5, "eos_token_id": end}
        outputs.append(model.generate(texts, **settings)[:, texts.shape[1] :])
    with memories.session(users, store):
        outputs.append(model(texts).logits)
    return outputs, store


@ALL
def test_no_user_s_text_moves_a_bit_of_another_s_output_or_file(name: str) -> None:
    _, memories = remembering(name)
    users = [f"user {number}" for number in range(64)]
    texts = prompts(rows=64)
    changed = texts.clone()
    changed[17] = prompts(rows=1, seed=5)
    end, _ = ending(memories, texts)
    outputs, store = talk(memories, texts, users, end)
    others, other = talk(memories, changed, users, end)
    keep = torch.arange(64) != 17
    for left, right in zip(outputs, others, strict=True):
        time = min(left.shape[1], right.shape[1])
        assert torch.equal(left[keep, :time], right[keep, :time])
    assert not torch.equal(outputs[0][17], others[0][17])
    for key, state in store.entries.items():
        assert same_bits(state, other.entries[key]) == (not key.startswith("user 17@"))
    assert len(store.entries) == 64 * len(memories)


@ALL
def test_how_long_another_s_reply_is_does_not_show_in_a_file(name: str) -> None:
    (model, memories), texts = remembering(name), prompts(rows=32)
    end, order = ending(memories, texts)
    stores, times = [], []
    # The first user's reply is the shortest; the other's is as short as it gets, then the longest.
    for other in (order[1], order[-1]):
        stores.append(DictStore())
        with memories.session(["ada", "bob"], stores[-1]):
            settings = GREEDY | {"max_new_tokens": 8, "eos_token_id": end}
            times.append(model.generate(texts[[order[0], other]], **settings).shape[1])
    assert times[0] < times[1]
    for layer in memories:
        assert same_bits(*(store.entries[entry("ada", layer)] for store in stores))


def test_beams_do_not_leak_either() -> None:
    (model, memories), texts = remembering(), prompts(rows=4)
    changed, stores = texts.clone(), []
    changed[2] = prompts(rows=1, seed=5)
    end, _ = ending(memories, prompts(rows=32))
    settings = GREEDY | {"num_beams": 3, "max_new_tokens": 6, "eos_token_id": end}
    for batch in (texts, changed):
        stores.append(DictStore())
        with memories.session(list("abcd"), stores[-1]):
            model.generate(batch, **settings)
    for key, state in stores[0].entries.items():
        assert same_bits(state, stores[1].entries[key]) == (not key.startswith("c@"))
    assert len(stores[0].entries) == 4 * len(memories)


def test_caches_get_their_methods_back_and_copies_of_them_move_nobody() -> None:
    model, memories = remembering(warn_outside_session=False)
    cache = model(prompts()).past_key_values
    methods = {"reorder_cache", "batch_select_indices", "crop"}
    with memories.session() as session:
        model.generate(prompts(), max_new_tokens=2, past_key_values=(mine := type(cache)()))
        assert methods <= vars(mine).keys()
        states = session.states
        for twin in (copy.deepcopy(mine), pickle.loads(pickle.dumps(mine))):  # noqa: S301
            twin.reorder_cache(torch.tensor([2, 2, 2]))
            twin.crop(-1)
            assert same_bits(session.states, states)
            assert torch.equal(twin.layers[0].keys[0], mine.layers[0].keys[2, :, :-1])
    assert not methods & vars(mine).keys()


def test_a_search_of_one_s_own_reorders_the_memory_with_its_cache() -> None:
    model, memories = remembering()
    tokens, rows = prompts(), torch.tensor([2, 2, 0])
    with memories.session():
        model(tokens[rows, :5])
        expected = model(tokens[rows]).logits[:, 5:]
    with memories.session() as session:
        old = model(tokens[:, :5]).past_key_values
        cache = model(tokens[:, :5]).past_key_values
        old.reorder_cache(torch.tensor([1, 1, 1]))
        cache.reorder_cache(rows)
        got = model(tokens[rows, 5:], past_key_values=cache).logits
        assert_near(got, expected, SINGLE)
        assert len(session.states["model.layers.0"]) == 3


def test_what_would_be_wrong_is_refused() -> None:
    (model, memories), tokens = remembering(), prompts()
    with memories.session(USERS) as session:
        cache, before = model(tokens).past_key_values, session.states
        for settings, message in (
            ({"use_cache": False}, "use_cache=True"),
            ({"stopping_criteria": [lambda *_: False]}, "stop at tokens with eos_token_id"),
            ({"past_key_values": cache, "num_beams": 2}, "or use num_beams=1"),
            ({"pixel_values": torch.ones(3, 1), "num_beams": 2}, "num_beams=2 with pixel_values"),
            ({"assistant_model": make("gpt2")}, "tokens are taken back"),
            ({"prompt_lookup_num_tokens": 3}, r"prompt_lookup_num_tokens=3\) in a session"),
            ({"guidance_scale": 1.5}, "reads other texts beside"),
            ({"penalty_alpha": 0.6, "top_k": 4}, "own search"),
            ({"custom_generate": lambda *_: None}, "own search"),
            ({"cache_implementation": "paged"}, "continuous batching"),
        ):
            with pytest.raises(ValueError, match=message):
                model.generate(tokens, max_new_tokens=2, **settings)
        with pytest.raises(ValueError, match="is cropped"):
            cache.crop(-1)
        with pytest.raises(ValueError, match="whose they are"):
            model.generate_batch(tokens.tolist())
        assert same_bits(session.states, before)
        model.generate(tokens, max_new_tokens=2, guidance_scale=1.0, num_beam_groups=1, use_mtp=False)


@pytest.mark.parametrize("kind", ["greedy", "beams", "stops"])
def test_arguments_by_position_are_those_by_name(kind: str) -> None:
    (model, memories), tokens = remembering(), prompts(rows=12)
    end, _ = ending(memories, tokens)
    config = GenerationConfig(max_new_tokens=8, do_sample=False, pad_token_id=hosts.PAD)
    config.update(**{"greedy": {"eos_token_id": end}, "beams": {"num_beams": 3}, "stops": {}}[kind])

    def run(*args: Any, **kwargs: Any) -> Any:
        with memories.session() as session:
            model.generate(tokens, *args, **kwargs)
            return session.states

    if kind == "stops":
        stops = StoppingCriteriaList([lambda ids, *_, **__: torch.ones(len(ids), dtype=torch.bool)])
        with pytest.raises(ValueError, match="stop at tokens"):
            run(config, None, stops)
    else:
        assert same_bits(run(config), run(generation_config=config))
