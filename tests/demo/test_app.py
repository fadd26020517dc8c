"""The page: what its panels say, how it is opened, and a person's way through it where there is a browser."""

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from tests.demo.browser import Browser, opened, require_browser
from tests.demo.test_views import tags
from tests.lab.tiny import tiny

from callosal.cli import main
from callosal.demo import app, chat_tab, cipher
from callosal.demo.chat_tab import memory_panels
from callosal.demo.cipher import Student, trained_student
from callosal.demo.cipher_tab import lesson_panels
from callosal.demo.talk import Talk

LAYER = "transformer.h.1"
Said = pytest.CaptureFixture[str]


def test_the_memory_before_and_after_a_turn(talk: Talk) -> None:
    before = tags(memory_panels(talk, "<b>", LAYER, None, ["left"])).text
    assert "What the memory holds of <b>" in before
    assert "Say something" in before
    assert before.count("0 of 8 slots in use") == 2
    assert before.count("lesioned: not read") == 1
    turn = talk.tell("<b>", "my name is ada <b>")
    after = tags(memory_panels(talk, "<b>", LAYER, turn, [])).text
    assert "0 of 8 slots in use" not in after
    assert "moved by 100.0 %" in after
    assert "what the token weighs in the write" in after
    assert "pale" not in after
    *_, last = talk.reply("<b>", "my name is ada")
    assert "pale" in memory_panels(talk, "<b>", LAYER, last.turn, [])


def test_a_lesson_in_words(student: Student) -> None:
    lesson = student.lesson(0, 0)
    page = tags(lesson_panels(student, lesson, 0, [])).text
    assert f"{lesson.num_right} of 4 letters recalled at once" in page
    assert "distractors" not in page
    page = tags(lesson_panels(student, student.lesson(0, 1, ["left"]), 1, ["left"])).text
    assert "letters recalled after 1 other segment, left lesioned" in page
    assert "distractors" in page
    assert "moved by" in page


def test_the_verb_serves_what_it_was_told(
    chat_model: Path, run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[Any] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(app, "_gradio", lambda: None)
    monkeypatch.setattr(app, "make_page", lambda *given: given)
    monkeypatch.setattr(app, "launch_page", lambda page, port: served.append((*page, port)))
    assert main(["demo"]) == 0
    options = ["--memory", str(chat_model / "adapter"), "--store", "others", "--run", str(run_folder), "--port", "7999"]
    assert main(["demo", str(chat_model), *options]) == 0
    assert served[0] == (None, None, Path("runs/demo"), None)
    talk, student, _, port = served[1]
    assert list(talk.memories) == ["transformer.h.0", LAYER]
    assert talk.store.folder == Path("others")
    assert student.config == tiny()
    assert port == 7999


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("--memory adapter", "--memory without a MODEL"),
        ("--run nowhere", "not the folder of a run"),
        ("nowhere", "no model and tokenizer in nowhere"),
        ("--port 0", "not a whole number from 1"),
    ],
)
def test_what_is_wrong_is_one_line(
    call: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(app, "_gradio", lambda: None)
    assert main(["demo", *call.split()]) == 2
    said = capsys.readouterr().err
    assert said.startswith("callosal")
    assert words in said
    assert said.count("\n") == 1


def test_without_gradio_a_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, capsys: Said) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert main(["demo"]) == 2
    assert capsys.readouterr().err == 'callosal: the demo\'s page is made with gradio; pip install "callosal[demo]"\n'


# In a browser.


def unchecked(module: Any) -> Any:
    """Load a module once more without the checks of shapes: behind them gradio cannot see which function yields."""
    spec = spec_from_file_location(f"{module.__name__}_unchecked", module.__file__)
    assert spec is not None
    assert spec.loader is not None
    again = module_from_spec(spec)
    spec.loader.exec_module(again)
    return again


Serve = Callable[..., Any]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Serve:
    """Serve a page in this process, and open it."""
    require_browser()
    gradio = pytest.importorskip("gradio", reason="gradio is not installed (make demotest installs it)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(app, "ChatTab", unchecked(chat_tab).ChatTab)

    @contextmanager
    def serving(talk: Talk | None, student: Student | None, width: int = 1280) -> Iterator[Browser]:
        page = app.make_page(talk, student, tmp_path / "trained")
        try:
            address = app.launch_page(page, prevent_thread_lock=True, quiet=True)
            with opened(address, width) as browser:
                yield browser
                assert browser.overflow() <= 0
                assert browser.complaints() == []
        finally:
            page.close(verbose=False)
            gradio.close_all(verbose=False)
            gc.collect()  # what gradio left open is complained of here, and not in another test

    return serving


# What gradio and what it stands on say of each other is not ours to mend.
in_a_browser = pytest.mark.filterwarnings("ignore")


@in_a_browser
@pytest.mark.parametrize("width", [1280, 420])
def test_a_talk_in_a_browser(serve: Serve, talk: Talk, student: Student, width: int) -> None:
    with serve(talk, student, width) as page:
        page.wait(lambda: "0 of 8 slots in use" in page.text("#memory"), "a blank memory")
        page.type("#text textarea", "my name is ada <b>")
        page.click("#send")
        page.wait(lambda: len(page.all("#memory .cl-token")) == 5 + 6, "the tokens")
        assert "my name is ada <b>" in page.text("#chat")
        assert len(page.all("#chat .bot")) >= 1
        assert page.find("#text textarea").get_attribute("value") == ""
        page.wait(lambda: "ada" in page.text("#known"), "ada in the store")
        assert len(page.picture()) > 10_000

        page.click("#lesion input[value=left], #lesion label:first-of-type input")
        page.wait(lambda: "lesioned: not read" in page.text("#memory"), "the lesion")
        page.type("#text textarea", "what do you like")
        page.click("#send")
        page.wait(lambda: len(page.all("#memory .cl-token")) == 4 + 6, "the tokens with a lesion")

        page.type("#user textarea, #user input", "bob")
        page.click("#switch")
        page.wait(lambda: "What the memory holds of bob" in page.text("#memory"), "bob")
        assert "0 of 8 slots in use" in page.text("#memory")
        assert "my name is ada" not in page.text("#chat")
        page.type("#text textarea", "I like tea")
        page.click("#tell")
        page.wait(lambda: len(page.all("#memory .cl-token")) == 3, "what was told")
        page.wait(lambda: "bob" in page.text("#known"), "bob in the store")

        page.type("#text textarea", "tea " * 60)
        page.click("#send")
        page.wait(lambda: "is not kept; IndexError" in page.window.page_source, "the failure")
        page.wait(lambda: page.find("#text textarea").get_attribute("value").startswith("tea tea"), "the text again")
        page.type("#text textarea", "")

        page.click("#forget")
        page.click("#keep")
        page.wait(lambda: not [e for e in page.all("#everything") if e.is_displayed()], "the question gone")
        assert talk.store.users() == ["ada", "bob"]
        page.click("#forget")
        page.click("#only-left")
        page.wait(lambda: not talk.states("bob")[LAYER].trace[:, 0].any(), "the left bank blank")
        assert talk.states("bob")[LAYER].trace.any()
        page.click("#forget")
        page.click("#everything")
        page.wait(lambda: talk.store.users() == ["ada"], "bob forgotten")
        page.wait(lambda: page.text("#memory").count("0 of 8 slots in use") == 2, "a blank memory again")


@in_a_browser
@pytest.mark.parametrize("width", [1280, 420])
def test_a_lesson_in_a_browser(serve: Serve, student: Student, width: int) -> None:
    with serve(None, student, width) as page:
        page.tab("Chat")
        page.wait(lambda: "callosal demo MODEL" in page.text("#no-model"), "how to get a model")
        page.tab("Cipher")
        page.wait(lambda: "letters recalled at once" in page.text("#lesson"), "the lesson")
        assert len(page.all("#lesson .cl-answer")) == 1 + 4
        first = page.text("#lesson .cl-answers")
        page.type("#distractors input[type=number]", "2\n")
        page.wait(lambda: "after 2 other segments" in page.text("#lesson"), "the distractors")
        page.click("#cipher-lesion label:first-of-type input")
        page.wait(lambda: "left lesioned" in page.text("#lesson"), "the lesion")
        page.click("#cipher-lesion label:first-of-type input")
        page.wait(lambda: "lesioned" not in page.text("#lesson"), "the healing")
        page.click("#another")
        page.wait(lambda: page.text("#lesson .cl-answers") != first, "another cipher")
        assert len(page.picture()) > 10_000


@in_a_browser
def test_a_student_is_trained_on_the_page(serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cipher, "quick", tiny)
    monkeypatch.setattr(cipher, "MARKS", (0, 1, 3))
    with serve(None, None) as page:
        page.click("#train")
        page.wait(lambda: "letters recalled at once" in page.text("#lesson"), "the lesson")
        assert not [button for button in page.all("#train") if button.is_displayed()]
        page.click("#another")
        page.wait(lambda: "letters recalled" in page.text("#lesson"), "another cipher")
        assert page.complaints() == []
        page.window.refresh()
        page.wait(lambda: "letters recalled at once" in page.text("#lesson"), "the lesson, in a window drawn anew")
        page.complaints()  # that the page was left while it listened
    assert trained_student(tmp_path / "trained") is not None
