"""A lesson is the lab's own task: told, distracted, asked; and what is trained is kept."""

from dataclasses import replace
from pathlib import Path
from shutil import copytree

import pytest
import torch
from filelock import FileLock
from tests.lab.tiny import tiny

from callosal.demo import cipher
from callosal.demo.cipher import Student, load_student, train_student, trained_student
from callosal.lab.runner import open_place
from callosal.lab.runs import build_model, fingerprint
from callosal.lab.tasks import EpisodeConfig
from callosal.training.checkpoint import load_checkpoint, save_checkpoint


@pytest.fixture
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cipher, "quick", tiny)


def test_a_lesson_tells_the_cipher_that_it_asks_for(student: Student) -> None:
    lesson = student.lesson(0, 2)
    assert lesson.letters == ("A", "B", "C", "D")
    assert sorted(lesson.images) == ["A", "B", "C", "D"]
    told, rule = lesson.told
    assert (told.domain, rule.domain) == ("cipher", "arithmetic")
    pairs = dict(zip(told.tokens[::2], told.tokens[1::2], strict=True))
    assert [pairs[letter] for letter in lesson.letters] == list(lesson.images)
    assert all(token.isdecimal() for token in rule.tokens)
    (asked,) = lesson.asked
    assert set(asked.tokens[1::2]) == {"?"}
    answers = dict(zip(lesson.letters, zip(lesson.images, lesson.answers, strict=True), strict=True))
    for letter, mark in zip(asked.tokens[::2], asked.marks[::2], strict=True):
        image, answer = answers[letter]
        assert mark == (image == answer)
    assert set(asked.marks[1::2]) == {None}
    assert lesson.num_right == sum(mark is True for mark in asked.marks)
    for segment in (*lesson.told, *lesson.asked):
        torch.testing.assert_close(segment.shares.sum(-1), torch.ones(8))
    assert lesson.distraction is not None
    torch.testing.assert_close(lesson.distraction.sum(), torch.tensor(1.0))


def test_only_distractors_move_the_memory_after_the_telling(student: Student) -> None:
    at_once, later = student.lesson(0, 0), student.lesson(0, 30)
    assert at_once.distraction is None
    assert at_once.moved == (0.0, 0.0)
    assert max(later.moved) > 0.0
    # However many, it is the same cipher; another number is another one.
    assert at_once.images == later.images
    assert {student.lesson(number, 0).images for number in range(4)} != {at_once.images}


def test_a_lesion_blanks_what_is_asked_and_not_what_is_shown(student: Student) -> None:
    whole, lesioned = student.lesson(0, 2), student.lesson(0, 2, ["left", "right"])
    assert torch.equal(whole.state.trace, lesioned.state.trace)
    # With nothing in either bank the answers are those of a memory that was told nothing.
    again = student.lesson(0, 0, ["left", "right"])
    assert lesioned.answers == again.answers


def test_the_curve_is_of_other_ciphers_and_ends_where_the_slider_does(student: Student) -> None:
    assert student.retention.distractors == [0, 1, 3]
    assert student.most_distractors == 3
    assert student.chance == 0.25


def student_of(episodes: EpisodeConfig) -> Student:
    config = tiny()
    sizes = {"num_tokens": episodes.vocabulary, "max_time": episodes.segment_length}
    config = replace(config, episodes=episodes, transformer=replace(config.transformer, **sizes))
    return Student(build_model(config).eval(), config)


def test_one_alphabet_and_many_letters_are_put_into_words() -> None:
    told = student_of(EpisodeConfig(num_letters=28, pairs_per_segment=14)).lesson(0, 0)
    assert len(told.letters) == 28
    assert {"A", "Z", "L26", "L27"} <= set(told.letters)
    assert len(told.asked) == 2
    lesson = student_of(replace(tiny().episodes, shared_alphabet=True)).lesson(0, 1)
    assert lesson.told[0].tokens[0].isalpha()
    assert lesson.told[1].tokens[0].isdecimal()


def test_runs_without_banks_or_ciphers_are_refused() -> None:
    counting = replace(tiny(), episodes=replace(tiny().episodes, domains=("arithmetic", "cipher")))
    for config in (tiny("no-memory"), counting):
        with pytest.raises(ValueError, match=r"no lateralized memory taught by ciphers; give one such as"):
            Student(build_model(config).eval(), config)


def test_what_is_no_run_is_refused(run_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"not the folder of a run"):
        load_student(tmp_path)
    with pytest.raises(ValueError, match=rf"folder of a study; give that of a run, such as .*{run_folder.name}"):
        load_student(run_folder.parents[1])
    copy = copytree(run_folder, tmp_path / "run")
    (copy / "checkpoint.pt").unlink()
    with pytest.raises(ValueError, match=r"there is no checkpoint"):
        load_student(copy)


@pytest.mark.usefixtures("_tiny")
def test_a_student_is_trained_once_and_goes_on_where_it_was_left(tmp_path: Path) -> None:
    assert trained_student(tmp_path) is None
    said: list[tuple[float, str]] = []
    num_threads = torch.get_num_threads()
    first = train_student(tmp_path, lambda share, text: said.append((share, text)))
    assert torch.get_num_threads() == num_threads
    assert [share for share, _ in said] == [0.25, 0.5, 0.75, 1.0]
    assert all("loss of the cipher" in text for _, text in said)
    kept = trained_student(tmp_path)
    assert kept is not None
    assert kept.lesson(0, 1).answers == first.lesson(0, 1).answers
    # One that was interrupted is not taken for a trained one.
    path = tmp_path / "runs" / tiny().name / "checkpoint.pt"
    saved = load_checkpoint(path, fingerprint(tiny()))
    save_checkpoint(
        path, {name: value for name, value in saved.items() if name != "fingerprint"} | {"step": 7}, fingerprint(tiny())
    )
    assert trained_student(tmp_path) is None


@pytest.mark.usefixtures("_tiny")
def test_two_do_not_train_in_one_place(tmp_path: Path) -> None:
    place = open_place(tiny(), tmp_path)
    with FileLock(place / ".lock"), pytest.raises(ValueError, match=r"another process trains in"):
        train_student(tmp_path)
