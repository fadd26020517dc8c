"""LoCoMo: both layouts read alike, and questions without an answer or evidence left out."""

import json
import zipfile
from pathlib import Path

import pytest

from callosal.lab.tasks.locomo import Question, read_locomo

SAID = {
    "speaker_a": "Ann",
    "session_2": [{"speaker": "Bob", "dia_id": "D2:1", "text": "I moved to Oslo."}],
    "session_10": [{"speaker": "Ann", "dia_id": "D10:1", "text": "How nice!"}],
    "session_2_date_time": "noon",
}
ASKED = [
    {"question": "Where does Bob live?", "answer": "Oslo", "evidence": ["D2:1"], "category": 4},
    {"question": "How many?", "answer": 2, "evidence": ["D2:1; D10:1"], "category": 1},
    {"question": "Which dog?", "evidence": ["D2:1"], "category": 5},
    {"question": "Why?", "answer": "no", "evidence": [], "category": 3},
]


def test_both_layouts_read_alike(tmp_path: Path) -> None:
    flat, nested = tmp_path / "one.zip", tmp_path / "locomo10.json"
    with zipfile.ZipFile(flat, "w") as archive:
        archive.writestr("data/26.json", json.dumps({**SAID, "qa": ASKED}))
    nested.write_text(json.dumps([{"conversation": SAID, "qa": ASKED}]))
    (conversation,) = read_locomo(flat)
    assert read_locomo(nested) == (conversation,)
    assert conversation.sessions == ((("Bob", "I moved to Oslo."),), (("Ann", "How nice!"),))
    assert conversation.questions == (
        Question(text="Where does Bob live?", answer="Oslo", session=0, category=4),
        # The session of the last evidence, counted among those there are.
        Question(text="How many?", answer="2", session=1, category=1),
    )


def test_nothing_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no .*nowhere"):
        read_locomo(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds no conversation"):
        read_locomo(tmp_path)
