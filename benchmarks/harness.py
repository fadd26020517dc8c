"""SmolLM2 with and without a session, in lm-evaluation-harness, on two tasks that need no download.

Agreement of a verb with a subject that another noun stands behind, and sums of two numbers, multiple choice, both made
here. Four runs: the model alone; with the memory that ships and an empty session; with sessions of users who told it
four facts; and, to see what is left of a fact, "You said ..." with the own and other values. The last line of standard
output is JSON.

    python benchmarks/harness.py [FOLDER]

FOLDER keeps the unpacked model; without it, where ``load_smollm`` keeps it.
"""

import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any

import torch
import yaml
from lm_eval import simple_evaluate  # pyright: ignore[reportMissingImports]
from lm_eval.models.huggingface import HFLM  # pyright: ignore[reportMissingImports]
from lm_eval.tasks import TaskManager  # pyright: ignore[reportMissingImports]

from callosal import Memories, attach_pretrained
from callosal.hosts.harness import MemoryLM
from callosal.hosts.reading import States
from callosal.hosts.smollm2 import load_smollm
from callosal.hosts.talking import encode_turn

ADAPTER = "callosal/smollm2-facts"
NUM_ITEMS, BATCH_SIZE, SEED = 120, 16, 0
FACTS = ("My name is Karen.", "I live in Malmo.", "My dog is called Biscuit.", "I work as a plumber.")
# What the memory was taught to say of them, beside three values of the same kind.
SAID = {
    "What is my name?": ("Karen", "Olivia", "Peter", "Samuel"),
    "Where do I live?": ("Malmo", "Lisbon", "Denver", "Cairo"),
    "What is my dog called?": ("Biscuit", "Shadow", "Rocky", "Pepper"),
    "What do I do for a living?": ("plumber", "teacher", "nurse", "lawyer"),
}
NOUNS = {
    "key": "cabinet",
    "picture": "wall",
    "book": "shelf",
    "letter": "lawyer",
    "road": "village",
    "label": "bottle",
    "teacher": "student",
    "window": "house",
    "author": "story",
    "bridge": "river",
}
JOINED = {"wall": "on the", "shelf": "on the", "lawyer": "from the", "student": "of the", "river": "over the"}
PREDICATES = ("very old", "still there", "quite new", "not here", "rather small")


def plural(noun: str) -> str:
    """Return the plural of a noun of ours."""
    return {"shelf": "shelves", "story": "stories"}.get(noun, f"{noun}s")


def agreement(random: Random) -> dict[str, Any]:
    """Draw a sentence whose verb must agree with the first noun and not with the one before it."""
    subject, behind = random.choice(list(NOUNS.items()))
    is_plural = random.random() < 0.5
    joined = JOINED.get(behind, "to the" if subject in ("key", "road") else "of the")
    first, second = (plural(subject), behind) if is_plural else (subject, plural(behind))
    predicate = random.choice(PREDICATES)
    forms = [f"is {predicate}", f"are {predicate}"]
    return {"context": f"The {first} {joined} {second}", "choices": forms, "answer": int(is_plural)}


def sums(random: Random) -> dict[str, Any]:
    """Draw a sum of two numbers up to 20, with three answers that are near."""
    a, b = random.randint(1, 20), random.randint(1, 20)
    near = [n for n in range(a + b - 5, a + b + 6) if n not in (a + b, *range(-9, 1))]
    choices = [*random.sample(near, 3), a + b]
    random.shuffle(choices)
    shown = "1 + 2 = 3\n10 + 5 = 15\n7 + 7 = 14\n"
    return {"context": f"{shown}{a} + {b} =", "choices": [*map(str, choices)], "answer": choices.index(a + b)}


def told(tokenizer: Any) -> list[dict[str, Any]]:
    """Return the questions about the facts, in the model's chat template."""
    items = []
    for asked, values in SAID.items():
        said = [{"role": "user", "content": asked}]
        context = tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True) + "You said"
        items.append({"context": context, "choices": list(values), "answer": 0})
    return items


def written(folder: Path, name: str, items: list[dict[str, Any]]) -> None:
    """Write a task as the harness reads it: its items, and a file that says how they are asked."""
    data = folder / f"{name}.jsonl"
    data.write_text("".join(json.dumps(item) + "\n" for item in items))
    task = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{context}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{answer}}",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(task))


@torch.no_grad()
def tell(memories: Memories, tokenizer: Any, facts: tuple[str, ...]) -> States:
    """Return the memories after a session in which these sentences were said, a turn each."""
    with memories.session() as session:
        for fact in facts:
            memories.model(**encode_turn(tokenizer, fact, reply=False))
            session.turn()
    return session.states


def measured(lm: Any, tasks: list[str], folder: Path) -> dict[str, dict[str, Any]]:
    """Return accuracy, and nats of the right answer, of every task."""
    found = simple_evaluate(
        model=lm,
        tasks=tasks,
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        bootstrap_iters=0,
        log_samples=True,
        random_seed=SEED,
    )
    rows: dict[str, dict[str, Any]] = {}
    for task in tasks:
        samples = found["samples"][task]
        nats = [-float(one["filtered_resps"][one["target"]][0]) for one in samples]
        right = [max(range(len(r)), key=lambda n, r=r: r[n][0]) for r in (one["filtered_resps"] for one in samples)]
        rows[task] = {
            "items": len(samples),
            "accuracy": found["results"][task]["acc,none"],
            "nats": sum(nats) / len(nats),
            "choices": right,
        }
    return rows


def main() -> None:
    """Run all conditions and print what came out."""
    torch.set_num_threads(1)
    model, tokenizer = load_smollm(sys.argv[1] if len(sys.argv) > 1 else None)
    options = {"tokenizer": tokenizer, "batch_size": BATCH_SIZE}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, draw in (("agreement", agreement), ("sums", sums)):
            random = Random(f"{name} {SEED}")
            written(folder, name, [draw(random) for _ in range(NUM_ITEMS)])
        written(folder, "told", told(tokenizer))
        tasks = ["agreement", "sums", "told"]
        found = {"no memory": measured(HFLM(pretrained=model, **options), tasks, folder)}
        memories = attach_pretrained(model, ADAPTER)
        found["empty session"] = measured(MemoryLM(memories, **options), tasks, folder)
        states = tell(memories, tokenizer, FACTS)
        found["four facts told"] = measured(MemoryLM(memories, states, **options), tasks, folder)
    alone = found["no memory"]
    for condition, rows in found.items():
        for task, row in rows.items():
            pairs = zip(row["choices"], alone[task]["choices"], strict=True)
            row["other choices"] = sum(own != before for own, before in pairs)
            print(f"{condition}, {task}: {row['accuracy']:.3f} right, {row['nats']:.3f} nats of the right answer")
    for rows in found.values():
        for row in rows.values():
            del row["choices"]
    versions = {name: version(name) for name in ("lm-eval", "transformers", "torch")}
    print(json.dumps({"adapter": ADAPTER, "versions": versions, "conditions": found}))


if __name__ == "__main__":
    main()
