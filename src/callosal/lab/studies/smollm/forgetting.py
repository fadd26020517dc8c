"""The forgetting curve on LoCoMo: sessions heard one by one, questions asked some sessions after their evidence.

Beside arXiv 2603.22329, which reports a retained-memory score of 7 to 18 % for three of six memories: there adapters
of a frozen GPT-2 are trained; here the memory learned from generated facts alone. The score there is not known to us in
full, so the two are not one number.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from callosal.hosts.memories import Memories
from callosal.hosts.smollm2 import prompt_tokens, turn_tokens
from callosal.lab.report.records import Value
from callosal.lab.studies.smollm.measures import WITH_CUE
from callosal.lab.tasks.locomo import LongConversation, Question
from callosal.lab.tasks.profile import ANSWER, CUE

# Sessions after the one that holds the evidence: 1 is the next.
LAGS = (1, 2, 5, 10)
# Questions with one piece of evidence, which is what a memory of facts is for.
CATEGORY = 4
REPLY = "I see."
# Longer turns are cut.
LONGEST = 96


@torch.no_grad()
def forgetting_curve(
    memories: Memories,
    tokenizer: Any,
    conversations: Sequence[LongConversation],
    *,
    per_lag: int = 3,
    random: Random,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Value]:
    """Return the score of the answers at each lag, with the memory and without, in nats and as overlap of tokens.

    Where a cue was taught also with the memory where it is loud behind the cue, and without elsewhere.

    All conversations are heard side by side, a row each. A question is asked of what the memory holds then and leaves
    nothing in it.

    Args:
        memories: attached to the model.
        tokenizer: of the model.
        conversations: LoCoMo's.
        per_lag: questions to each conversation after each session, at each lag, at most.
        random: draws them.
        on_progress: called with sessions heard and all.
    """
    model: Any = memories.model
    longest = max(len(c.sessions) for c in conversations)
    found: dict[tuple[int, str], list[tuple[float, float]]] = {}
    begun: dict[int, list[bool]] = {}
    with memories.session() as session:
        for heard in range(longest):
            turns = [c.sessions[heard] if heard < len(c.sessions) else () for c in conversations]
            for number in range(max(map(len, turns))):
                rows = [_heard(tokenizer, turn[number]) if number < len(turn) else [] for turn in turns]
                _read(model, rows)
            session.turn()
            states = session.states
            # Of one that has ended no more sessions come between evidence and question.
            for row, conversation in enumerate(conversations):
                for lag in LAGS if heard < len(conversation.sessions) else ():
                    due = [q for q in conversation.questions if q.session + lag - 1 == heard and q.category == CATEGORY]
                    for question in random.sample(due, min(per_lag, len(due))):
                        own = {name: state[row] for name, state in states.items()}
                        blank = {name: memories[name].blank(1) for name in own}
                        ways = {"memory": own, "reset": blank}
                        if memories.cue is not None:
                            ways[WITH_CUE] = own if _is_loud(memories, tokenizer, question, own) else blank
                            begun.setdefault(lag, []).append(ways[WITH_CUE] is own)
                        for condition, asked in ways.items():
                            scored = session_score(memories, tokenizer, question, asked)
                            found.setdefault((lag, condition), []).append(scored)
            session.replace(states)
            on_progress(heard + 1, longest)
    values: list[Value] = []
    for (lag, condition), scores in found.items():
        where = {"domain": "LoCoMo", "condition": condition, "after": lag}
        for place, measure in enumerate(("overlap", "nats")):
            values.append({"measure": measure, "value": sum(s[place] for s in scores) / len(scores)} | where)
        values.append({"measure": "questions", "value": float(len(scores))} | where)
        if condition == WITH_CUE:
            values.append({"measure": "begun", "value": sum(begun[lag]) / len(begun[lag])} | where)
    return values


def session_score(memories: Memories, tokenizer: Any, question: Question, states: Any) -> tuple[float, float]:
    """Return the overlap (F1) of the most probable tokens with the answer's, and the answer's mean nats."""
    tokens, prompt = turn_tokens(tokenizer, question.text, ANSWER.format(question.answer))
    start = prompt + len(tokenizer(CUE)["input_ids"])
    model: Any = memories.model
    reader = memories.active
    assert reader is not None
    reader.replace(states)
    logits = model(torch.tensor([tokens]), use_cache=False).logits[0, start - 1 : -1].float()
    right = torch.tensor(tokens[start:])
    said = set(logits.argmax(-1).tolist())
    shared = len(said & set(right.tolist()))
    overlap = 2.0 * shared / (len(said) + len(set(right.tolist())))
    return overlap, cross_entropy(logits, right).item()


def _is_loud(memories: Memories, tokenizer: Any, question: Question, states: Any) -> bool:
    session, cue = memories.active, memories.cue
    assert session is not None
    assert cue is not None
    session.replace(states)
    return bool(cue.is_loud(session, {"input_ids": torch.tensor([prompt_tokens(tokenizer, question.text)])}))


def _heard(tokenizer: Any, said: tuple[str, str]) -> list[int]:
    speaker, text = said
    return [*prompt_tokens(tokenizer, f"{speaker}: {text}")[:LONGEST], *tokenizer(REPLY)["input_ids"]]


def _read(model: Any, rows: Sequence[list[int]]) -> None:
    """Let every row hear its turn; one that has none is masked."""
    longest = max(map(len, rows))
    tokens = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    model(tokens, attention_mask=mask, use_cache=False)
