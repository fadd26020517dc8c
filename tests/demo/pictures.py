"""Takes the pictures of docs/demo.md: ``make demopictures``. The cipher's model is trained first, about a minute.

The chat is with SmolLM2-135M-Instruct and the memory that ships.
"""

import io
import tempfile
from contextlib import chdir

from PIL import Image
from tests.apart import ROOT
from tests.demo.browser import Browser, opened

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
        talk = load_talk("smollm2", "callosal/smollm2-facts", "users")
        address = launch_page(make_page(talk, student, RUNS), prevent_thread_lock=True, quiet=True)
        with opened(address, WIDTH) as browser:
            browser.type("#text textarea", "My name is Karen and I live in Malmo.")
            browser.click("#send")
            browser.wait(lambda: "Karen" in browser.text("#memory"), "the tokens")
            browser.type("#text textarea", "Where do I live?")
            browser.click("#send")
            browser.wait(lambda: "Where" in browser.text("#memory"), "the tokens of the second turn")
            take(browser, "demo-chat.png")
            browser.tab("Cipher")
            browser.wait(lambda: "recalled at once" in browser.text("#lesson"), "the lesson")
            browser.type("#distractors input[type=number]", "100\n")
            browser.wait(lambda: "after 100" in browser.text("#lesson"), "the distractors")
            take(browser, "demo-cipher.png")


if __name__ == "__main__":
    main()
