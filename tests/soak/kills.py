"""kills.py COUNT: a server killed (`kill -9`) COUNT times at random moments, while clients ask (`make test-kills`).

After each start all it kept on disk is used, and what was asked before gets the answer it got from a server that was left
alone. Ends with 1 where an answer differs, a start fails or takes more than ten seconds, or a damaged page is found: pages
appear whole or not at all.
"""
import pathlib
import random
import signal
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from common import SMOLLM
from server import Server

QUESTIONS, CLIENTS = 12, 3


def conversations(rng):
    """Some that begin alike, some that do not, of one page to ten."""
    start = "You answer in few words. " * 40
    for i in range(QUESTIONS):
        told = f"Number {i} of the list is {rng.randrange(1000)}. " * rng.choice([3, 20, 50])
        yield {"messages": ([{"role": "system", "content": start}] if i % 2 else []) + [{"role": "user", "content": told}],
               "max_tokens": rng.choice([4, 16, 40]), "temperature": 0}


def answer(server, body):
    status, told = server.ask("/v1/chat/completions", body)
    if status != 200:
        raise RuntimeError(f"{status}: {told}")
    return told["choices"][0]["message"]["content"], told["usage"]["prompt_tokens_details"]["cached_tokens"]


def disturb(server, bodies, rng):
    """Asks until the server is gone."""
    while True:
        try:
            answer(server, rng.choice(bodies))
        except (OSError, RuntimeError, ValueError):
            return


class Kills:
    def __init__(self, folder):
        self.flags = ("--ctx", 2048, "--parallel", CLIENTS, "--exact", "--cache", folder / "pages", "--cache-size", 1)
        self.rng = random.Random(1)
        self.bodies = list(conversations(self.rng))
        self.cached = self.discarded = self.slowest = 0

    def wanted(self):
        with Server(SMOLLM, *self.flags[:-4], "--cache", "off") as server:
            return [answer(server, body)[0] for body in self.bodies]

    def round(self, wanted):
        """One life of the server. Returns what was wrong in it."""
        started = time.monotonic()
        with Server(SMOLLM, *self.flags) as server:
            self.slowest = max(self.slowest, time.monotonic() - started)
            for i in self.rng.sample(range(QUESTIONS), 2):
                got, cached = answer(server, self.bodies[i])
                self.cached += cached
                if got != wanted[i]:
                    return f"question {i}: {wanted[i]!r}, now {got!r}"
            self.discarded += int(server.metric("disk_cache_pages_discarded_total"))
            clients = [threading.Thread(target=disturb, args=(server, self.bodies, random.Random(self.rng.random())))
                       for _ in range(CLIENTS)]
            for client in clients:
                client.start()
            time.sleep(self.rng.random() * self.rng.choice([0.02, 0.3, 1.5]))
            server.process.send_signal(signal.SIGKILL)
            for client in clients:
                client.join()
        return None


def main(count):
    with tempfile.TemporaryDirectory() as folder:
        kills = Kills(pathlib.Path(folder))
        wanted = kills.wanted()
        wrong = [told for told in (kills.round(wanted) for _ in range(count)) if told]
    print(f"{count} kills: {kills.cached} tokens from the cache, {kills.discarded} damaged pages, slowest start "
          f"{kills.slowest:.1f} s, {len(wrong)} wrong answers")
    for told in wrong[:3]:
        print("WRONG:", told)
    return int(bool(wrong) or kills.discarded > 0 or kills.slowest > 10)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
