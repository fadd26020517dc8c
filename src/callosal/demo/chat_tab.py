"""The tab with the chat, and beside it the memory that the chat lives by."""

from collections.abc import Iterator, Sequence
from functools import partial
from html import escape
from typing import Any

from callosal.demo import views
from callosal.demo.talk import Talk, Turn
from callosal.memory.inspection import slot_norms

FIRST_USER = "ada"
UNTRAINED = "**The memories are untrained**: they are written to, but say nothing. Pass `--memory ADAPTER`."
HOW = """
Only your new text goes into the model, never the conversation so far: what it knows of earlier turns, its memory read.
*Only tell* is read without a reply.
"""


def memory_panels(talk: Talk, user: str, layer: str, turn: Turn | None, lesioned: Sequence[str]) -> str:
    """Return what the memory behind a layer holds of a user and did in the last turn, as HTML."""
    memory, state = talk.memories[layer], talk.states(user)[layer]
    seen = None if turn is None else turn.layers[layer]
    taken = '<div class="cl-note">Say something, and see here which bank takes each token.</div>'
    notes = []
    if turn is not None and seen is not None:
        mean = views.share_bar("on average", seen.shares.mean(0))
        strip = views.token_strip(turn.tokens, seen.shares, seen.salience)
        taken = views.legend(memory.config.num_banks) + mean + strip
        notes.append("The bar below a token is divided as the banks divide it.")
        weighs = "The green bar is what the token weighs in the write."
        alike = "This memory weighs all tokens alike: it has learned no salience."
        notes.append(alike if seen.salience is None else weighs)
        if turn.cue is not None:
            own = "The memory had nothing to say behind its cue: the reply is the model's own, and the memory unheard."
            notes.append(f"The memory is loud behind “{turn.cue}”, so the reply begins with it." if turn.cue else own)
        if len(turn.tokens) > len(seen.shares):
            notes.append("The pale token was not read: a reply's last one goes into no call.")
    moved = () if seen is None else seen.moved
    slots = views.bank_panel(slot_norms(state)[0].cpu(), moved=moved, lesioned=lesioned)
    used = "In use: a norm above 1 % of the largest. Moved: by the last turn, as a share of the bank's norm."
    cross = "A bank's row is what it gets from each bank's activity: below zero inhibits, above excites."
    parts = (
        views.panel("Which bank took each token of the last turn", taken, " ".join(notes)),
        views.panel(f"What the memory holds of {user}", slots, used),
        views.panel("Cross-talk between the banks (Wₛ)", views.coupling_table(memory.coupling.detach().cpu()), cross),
    )
    return "".join(parts)


class ChatTab:
    """The tab, made inside a page of gradio's. Who talks and what was seen last belong to a browser's window.

    Args:
        gr: gradio.
        talk: the chat.
    """

    def __init__(self, gr: Any, talk: Talk) -> None:
        self.gr, self.talk = gr, talk
        self.layers, self.banks = list(talk.memories), talk.banks()
        self.user, self.turn = gr.State(FIRST_USER), gr.State(None)
        with gr.Row():
            with gr.Column(scale=5, min_width=320):
                self._make_chat()
            with gr.Column(scale=6, min_width=320):
                self._make_memory()
        self._connect()

    def replied(
        self, said: str, user: str, layer: str, turn: Turn | None, lesioned: list[str], chat: list
    ) -> Iterator[tuple]:
        """Answer a text while it is made; after an error the text is there again and the chat as it was."""
        keep = self.gr.skip()
        if not said.strip():
            yield said, chat, turn, keep, keep
            return
        begun = [*chat, _message("user", said)]
        yield "", begun, turn, keep, keep
        try:
            for reply in self.talk.reply(user, said, lesioned):
                now = [*begun, _message("assistant", reply.text or "…")]
                if reply.turn is None:
                    yield "", now, turn, keep, keep
                else:
                    panels = memory_panels(self.talk, user, layer, reply.turn, lesioned)
                    yield "", now, reply.turn, panels, self._known()
        except Exception as error:  # noqa: BLE001  (whatever a model raises, the talk goes on)
            self.gr.Warning(_failed(error))
            yield said, chat, turn, keep, keep

    def told(self, said: str, user: str, layer: str, turn: Turn | None, lesioned: list[str], chat: list) -> tuple:
        """Read a text without a reply."""
        keep = self.gr.skip()
        if not said.strip():
            return said, chat, turn, keep, keep
        try:
            turn = self.talk.tell(user, said)
        except Exception as error:  # noqa: BLE001  (the same)
            self.gr.Warning(_failed(error))
            return said, chat, turn, keep, keep
        read = [*chat, _message("user", said), _message("assistant", "(read)")]
        return "", read, turn, memory_panels(self.talk, user, layer, turn, lesioned), self._known()

    def switched(self, name: str, old: str, layer: str, lesioned: list[str]) -> tuple:
        """Go on with another user, whose chat begins anew and whose memory goes on."""
        name = name.strip() or old
        panels = memory_panels(self.talk, name, layer, None, lesioned)
        return name, name, self.gr.Chatbot(value=[], label=_title(name)), None, panels

    def forgot(self, bank: str | None, user: str, layer: str, lesioned: list[str]) -> tuple:
        """Forget a bank of a user's memory, or all that there is of the user."""
        self.talk.forget(user, bank)
        panels = memory_panels(self.talk, user, layer, None, lesioned)
        return self.gr.Column(visible=False), None, panels, self._known()

    def shown(self, user: str, layer: str, turn: Turn | None, lesioned: list[str]) -> str:
        """Show another layer, or a lesion."""
        return memory_panels(self.talk, user, layer, turn, lesioned)

    def _make_chat(self) -> None:
        gr = self.gr
        if not self.talk.is_trained:
            gr.Markdown(UNTRAINED)
        self.chat = gr.Chatbot(label=_title(FIRST_USER), height=380, render_markdown=False, buttons=[], elem_id="chat")
        self.text = gr.Textbox(label="Your text", lines=1, elem_id="text")
        with gr.Row():
            self.send = gr.Button("Send", variant="primary", elem_id="send", min_width=100)
            self.tell = gr.Button("Only tell", elem_id="tell", min_width=100)
        gr.Markdown(HOW)
        with gr.Row(equal_height=False):
            self.name = gr.Textbox(label="User", value=FIRST_USER, elem_id="user", min_width=140, scale=2)
            self.switch = gr.Button("Switch user", elem_id="switch", min_width=120)
        self.known = gr.Markdown(self._known, elem_id="known")

    def _make_memory(self) -> None:
        gr, first = self.gr, self.layers[0]
        several = len(self.layers) > 1
        self.layer = gr.Dropdown(self.layers, value=first, label="Memory behind", elem_id="layer", visible=several)
        info = "A lesioned bank is read as if it were blank; nothing of it is lost."
        self.lesion = gr.CheckboxGroup(self.banks, label="Lesion", info=info, elem_id="lesion")
        self.panels = gr.HTML(lambda: memory_panels(self.talk, FIRST_USER, first, None, ()), elem_id="memory")
        self.forget = gr.Button("Forget this user ...", size="sm", elem_id="forget")
        small: dict[str, Any] = {"size": "sm", "min_width": 90}
        with gr.Column(visible=False) as self.question:
            gr.Markdown("Forget for good, on disk too?")
            with gr.Row():
                self.everything = gr.Button("Everything", variant="stop", elem_id="everything", **small)
                self.only = [gr.Button(f"Only {bank}", elem_id=f"only-{bank}", **small) for bank in self.banks]
                self.keep = gr.Button("Keep it", elem_id="keep", **small)

    def _connect(self) -> None:
        gr, quiet = self.gr, {"show_progress": "hidden", "api_visibility": "private"}
        given = [self.text, self.user, self.layer, self.turn, self.lesion, self.chat]
        after = [self.text, self.chat, self.turn, self.panels, self.known]
        gr.on([self.send.click, self.text.submit], self.replied, given, after, **quiet)
        self.tell.click(self.told, given, after, **quiet)
        given, after = [self.name, self.user, self.layer, self.lesion], [self.user, self.name]
        after += [self.chat, self.turn, self.panels]
        gr.on([self.switch.click, self.name.submit], self.switched, given, after, **quiet)
        given = [self.user, self.layer, self.turn, self.lesion]
        gr.on([self.layer.change, self.lesion.change], self.shown, given, self.panels, **quiet)
        self.forget.click(lambda: gr.Column(visible=True), None, self.question, **quiet)
        self.keep.click(lambda: gr.Column(visible=False), None, self.question, **quiet)
        given, after = [self.user, self.layer, self.lesion], [self.question, self.turn, self.panels, self.known]
        for button, bank in ((self.everything, None), *zip(self.only, self.banks, strict=True)):
            button.click(partial(self.forgot, bank), given, after, **quiet)

    def _known(self) -> str:
        users = ", ".join(f"`{user}`" for user in self.talk.store.users())
        return f"In the store `{self.talk.store.folder}`: {users or 'nobody yet'}."


def _message(role: str, text: str) -> dict[str, str]:
    # The chat takes what it is given for HTML, with and without Markdown.
    return {"role": role, "content": escape(text, quote=False)}


def _title(user: str) -> str:
    return f"{user} talks with the model"


def _failed(error: BaseException) -> str:
    return f"This turn failed and is not kept; {type(error).__name__}: {' '.join(str(error).split())}"
