"""Takes the pictures of docs/demo.md: ``make demopictures``. The cipher's model is trained first, about a minute."""

import io
import tempfile
from contextlib import chdir
from pathlib import Path

from PIL import Image
from tests.apart import ROOT
from tests.demo.browser import Browser, opened
from tests.demo.conftest import fill_model

from callosal.demo.app import launch_page, make_page
from callosal.demo.cipher import train_student
from callosal.demo.talk import load_talk

RUNS, DOCS = ROOT / "runs" / "demo", ROOT / "docs"
WIDTH = 1280


def take(browser: Browser, name: str) -> None:
    """Write a picture of the whole page, in few colours."""
    image = Image.open(io.BytesIO(browser.picture())).convert("RGB")
    image.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(DOCS / name, optimize=True)


def main() -> None:
    """Train, talk, ask, and take the pictures."""
    student = train_student(RUNS)
    with tempfile.TemporaryDirectory() as folder, chdir(folder):  # the page names its store, and no place of ours
        model = Path("model")
        fill_model(model, num_slots=64)
        talk = load_talk(str(model / "chat"), str(model / "adapter"), "users")
        talk.generation["max_new_tokens"] = 12
        address = launch_page(make_page(talk, student, RUNS), prevent_thread_lock=True, quiet=True)
        with opened(address, WIDTH) as browser:
            browser.type("#text textarea", "hello my name is ada and I like tea")
            browser.click("#send")
            browser.wait(lambda: browser.all("#memory .cl-token"), "the tokens")
            take(browser, "demo-chat.png")
            browser.tab("Cipher")
            browser.wait(lambda: "recalled at once" in browser.text("#lesson"), "the lesson")
            browser.type("#distractors input[type=number]", "100\n")
            browser.wait(lambda: "after 100" in browser.text("#lesson"), "the distractors")
            take(browser, "demo-cipher.png")


if __name__ == "__main__":
    main()
