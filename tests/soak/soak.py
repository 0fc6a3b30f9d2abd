"""soak.py SECONDS: clients of all dialects at once, some of which go in the middle, for a long time (`make soak`).

Every answer is compared with the one the same request got when it was alone. At the end memory must be what it was after a
quarter of the time, within 2 %, and no file may be open that was not before.
"""
import http.client
import json
import pathlib
import random
import statistics
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from common import SMOLLM
from server import TEMPLATE, Server

CLIENTS, ALLOWED = 6, 0.02
METRICS = ["num_preemptions_total", "prefix_cache_hits_total", "disk_cache_pages"]
WORDS = "sea sky stone river bread letter engine garden winter music paper silver".split()
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}


def requests(rng):
    """(path, body, what of the answer is its text) for each kind of client."""
    def said(text):
        return [{"role": "user", "content": text}]

    def sampling(body, i):
        return {**body, "temperature": 1, "seed": i} if i % 2 else body

    made = []
    for i in range(8):
        text = f"Tell me about {rng.choice(WORDS)} and {rng.choice(WORDS)}. " * rng.choice([1, 5, 40])
        most = rng.choice([4, 16, 48])
        made.append(("/v1/chat/completions", sampling({"messages": said(text), "max_tokens": most}, i),
                     lambda a: [c["message"]["content"] for c in a["choices"]]))
        made.append(("/v1/completions", sampling({"prompt": [text, text[:20]], "max_tokens": most}, i),
                     lambda a: [c["text"] for c in a["choices"]]))
        made.append(("/v1/messages", {"model": "smol", "messages": said(text), "max_tokens": most, "temperature": 0},
                     lambda a: [b.get("text") for b in a["content"]]))
        made.append(("/v1/responses", {"input": text, "max_output_tokens": most, "temperature": 0},
                     lambda a: [p["text"] for o in a["output"] for p in o.get("content", [])]))
        made.append(("/v1/embeddings", {"input": [text, text[5:40]]}, lambda a: [d["embedding"] for d in a["data"]]))
        made.append(("/v1/chat/completions",
                     {"messages": said(text[:60]), "max_tokens": 100, "tool_choice": "required", "parallel_tool_calls": False,
                      "tools": [{"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}]},
                     lambda a: [c["function"] for c in a["choices"][0]["message"].get("tool_calls") or []]))
    return made


class Soak:
    def __init__(self, server, seconds):
        self.server, self.seconds, self.end = server, seconds, 0
        self.made = requests(random.Random(1))
        self.wrong, self.counts, self.lock = [], {"whole": 0, "streamed": 0, "cut off": 0, "told to wait": 0}, threading.Lock()

    def text(self, i):
        path, body, text = self.made[i]
        status, answer = self.server.ask(path, body)
        if status != 200:
            raise RuntimeError(f"{status}: {answer}")
        return text(answer)

    def count(self, what):
        with self.lock:
            self.counts[what] += 1

    def client(self, number, wanted):
        rng = random.Random(number)
        while time.monotonic() < self.end and len(self.wrong) < 10:
            i = rng.randrange(len(self.made))
            path, body, _ = self.made[i]
            try:
                if rng.random() < 0.3:
                    self.leave(rng, path, body)
                elif path == "/v1/chat/completions" and "tools" not in body and rng.random() < 0.5:
                    self.stream(i, wanted)
                else:
                    got = self.text(i)
                    self.count("whole")
                    if got != wanted[i]:
                        self.wrong.append((path, body, wanted[i], got))
            except Exception as error:  # a thread that dies would be a client less, and no failure
                if "429" in str(error):
                    self.count("told to wait")
                    time.sleep(0.5)
                else:
                    self.wrong.append((path, body, repr(error)))

    def stream(self, i, wanted):
        path, body, _ = self.made[i]
        text = ""
        for event in self.server.events(path, {**body, "stream": True}):
            for choice in event["choices"]:
                text += choice["delta"].get("content") or ""
        self.count("streamed")
        if [text] != wanted[i]:
            self.wrong.append((path, body, wanted[i], text))

    def leave(self, rng, path, body):
        """Goes at any moment: before the answer, or in the middle of it."""
        if path != "/v1/embeddings":
            body = {**body, "stream": rng.random() < 0.7}
        address = self.server.url.removeprefix("http://")
        connection = http.client.HTTPConnection(address, timeout=120)
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        time.sleep(rng.random() * rng.choice([0.01, 0.3, 2]))
        connection.close()
        self.count("cut off")

    def run(self):
        wanted = [self.text(i) for i in range(len(self.made))]
        before = self.files()
        threads = [threading.Thread(target=self.client, args=(n, wanted)) for n in range(CLIENTS)]
        start, memory = time.monotonic(), []
        self.end = start + self.seconds
        for thread in threads:
            thread.start()
        while any(t.is_alive() for t in threads):
            memory.append(((time.monotonic() - start) / self.seconds, self.memory()))
            time.sleep(0.5)
        for thread in threads:
            thread.join()
        until = time.monotonic() + 30
        while self.files() > before and time.monotonic() < until:
            time.sleep(0.5)
        return memory, before, self.files()

    def files(self):
        return len(list(pathlib.Path(f"/proc/{self.server.process.pid}/fd").iterdir()))

    def memory(self):
        """Bytes of its own: what is mapped from files comes and goes as the system likes."""
        for line in pathlib.Path(f"/proc/{self.server.process.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("no RssAnon in /proc")


def main(seconds):
    with tempfile.TemporaryDirectory() as folder:
        template = pathlib.Path(folder, "tools.jinja")
        template.write_text(TEMPLATE)
        with open(pathlib.Path(folder, "log"), "w") as log, Server(
            SMOLLM, "--ctx", "1024", "--parallel", "4", "--model-name", "smol", "--exact", "--chat-template", template,
                    "--cache", pathlib.Path(folder, "pages"), "--cache-size", "1", "--responses",
            pathlib.Path(folder, "responses.db"), stderr=log) as server:
            soak = Soak(server, seconds)
            memory, files_before, files_after = soak.run()
            stats = {name: server.metric(name) for name in METRICS}
            server.process.terminate()
            code = server.process.wait(120)  # a sanitizer's own where it has found something
        said = pathlib.Path(folder, "log").read_text()
    early = statistics.median(m for at, m in memory if 0.25 <= at < 0.5)
    late = statistics.median(m for at, m in memory if at >= 0.75)
    growth = late / early - 1
    print(f"{seconds} s: " + ", ".join(f"{n} {what}" for what, n in soak.counts.items()))
    print(", ".join(f"{name} {value:.0f}" for name, value in stats.items()))
    print(f"memory {early / 2**20:.0f} MiB, then {late / 2**20:.0f} MiB ({growth:+.1%}); "
          f"{files_before} open files, then {files_after}; {len(soak.wrong)} wrong answers")
    for wrong in soak.wrong[:3]:
        print("WRONG:", *wrong, sep="\n  ")
    if code:
        print(f"the server ended with {code}:", said[-5000:], sep="\n")
    return 1 if code or soak.wrong or abs(growth) > ALLOWED and late > early or files_after > files_before else 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
