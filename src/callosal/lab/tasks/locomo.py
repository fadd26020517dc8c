"""LoCoMo: ten very long conversations in sessions, with questions and where their answers were said.

Data by Maharana et al., "Evaluating Very Long-Term Conversational Memory of LLM Agents", CC BY-NC 4.0
(github.com/snap-research/locomo). It is not ours to pass on: it is read from where the user has put it.
"""

import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question about a conversation.

    Attributes:
        text: the question.
        answer: what is right.
        session: the last one that holds evidence for it, from 0.
        category: 1 several pieces of evidence, 2 time, 3 knowledge of the world, 4 one piece, 5 no answer.
    """

    text: str
    answer: str
    session: int
    category: int


@dataclass(frozen=True, kw_only=True)
class LongConversation:
    """A conversation of two people.

    Attributes:
        sessions: what was said, in order, as pairs of speaker and text.
        questions: those that have an answer and evidence.
    """

    sessions: tuple[tuple[tuple[str, str], ...], ...]
    questions: tuple[Question, ...]


def read_locomo(path: str | Path) -> tuple[LongConversation, ...]:
    """Read the conversations from ``locomo10.zip``, from one JSON file, or from a folder of them.

    Raises:
        ValueError: there is nothing of the kind.
    """
    path = Path(path)
    found = tuple(_conversation(content) for content in _contents(path))
    if not found:
        raise ValueError(f"{path} holds no conversation of LoCoMo; give its locomo10.zip, or a JSON file of its layout")
    return found


def _contents(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        raise ValueError(f"there is no {path}; LoCoMo's data is at github.com/snap-research/locomo")
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            texts = [archive.read(name) for name in sorted(archive.namelist()) if name.endswith(".json")]
    else:
        files = sorted(path.glob("*.json")) if path.is_dir() else [path]
        texts = [file.read_bytes() for file in files]
    for text in texts:
        content = json.loads(text)
        yield from content if isinstance(content, list) else [content]


def _conversation(content: dict[str, Any]) -> LongConversation:
    # One layout keeps the sessions beside the questions, another one level deeper.
    said = content.get("conversation", content)
    numbers = sorted(int(m[1]) for name in said if (m := re.fullmatch(r"session_(\d+)", name)))
    sessions = tuple(tuple((turn["speaker"], turn["text"]) for turn in said[f"session_{n}"]) for n in numbers)
    questions = []
    for asked in content["qa"]:
        evidence = [int(n) for place in asked.get("evidence", ()) for n in re.findall(r"D(\d+):", place)]
        if "answer" in asked and evidence and max(evidence) in numbers:
            last = numbers.index(max(evidence))
            questions.append(
                Question(text=asked["question"], answer=str(asked["answer"]), session=last, category=asked["category"])
            )
    return LongConversation(sessions=sessions, questions=tuple(questions))
