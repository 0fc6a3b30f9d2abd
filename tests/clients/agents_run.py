"""agents_run.py [--agents NAME,...] [--prompts N] [--model FILE]: coding agents against `minke serve` (`make test-clients`).

Each agent answers the prompts, not interactively, in a folder with a few files. It must end without an error; every call that
it was given must name a tool it had offered, with arguments that parse; and where it has tools, three calls must have been made.
What each one sent, field by field, is written to build/clients/recorded, and a summary is printed.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import agents
from common import MODELS, ROOT
from recorder import Recorder
from server import Server

PROMPTS = [
    "Say hello in one word.",
    "Read the file notes.txt with your tool and tell me the secret word in it.",
    "Use your tool to list the files of this folder.",
    "Read the file add.py and say what its function does.",
    "Create a file hello.txt that contains the word hello.",
    "Read hello.txt and tell me what is in it.",
    "Which files are in this folder? Use a tool.",
    "Read numbers.txt and add its numbers.",
    "Write a Python function that doubles a number to double.py.",
    "Say goodbye in one word.",
]
FILES = {"notes.txt": "The secret word is heron.\n", "add.py": "def add(a, b):\n    return a + b\n", "numbers.txt": "1\n2\n4\n"}
CONTEXT, SECONDS = 32768, 1800
COMPLETIONS = ["/v1/chat/completions", "/v1/responses", "/v1/messages"]


def calls_in(body):
    """(name, arguments) of the calls in the conversation that a request repeats, and the names it offers."""
    offered = set()
    for tool in body.get("tools") or []:
        for one in tool.get("tools") or [tool]:
            offered.add((one.get("function") or one).get("name"))
    calls = []
    for message in body.get("messages") or []:
        if message["role"] != "assistant":
            continue
        for call in message.get("tool_calls") or []:
            calls.append((call["function"]["name"], call["function"]["arguments"]))
        for block in message["content"] if isinstance(message.get("content"), list) else []:
            if block.get("type") == "tool_use":
                calls.append((block["name"], json.dumps(block["input"])))
    for item in body["input"] if isinstance(body.get("input"), list) else []:
        if item.get("type") == "function_call":
            calls.append((item["name"], item["arguments"]))
    return calls, offered


def check(agent, recorder):
    """Faults, and the number of calls."""
    faults, seen = [], set()
    answered = 0
    for _, path, body, status in recorder.requests:
        if path.split("?")[0] not in COMPLETIONS:
            continue
        if status != 200:
            faults.append(f"{path}: status {status}")
            continue
        answered += 1
        calls, offered = calls_in(body)
        for name, arguments in calls:
            seen.add((name, arguments))
            if name not in offered:
                faults.append(f"a call of {name}, which was not offered")
            try:
                if not isinstance(json.loads(arguments), dict):
                    faults.append(f"arguments of {name} are no object: {arguments[:80]}")
            except ValueError:
                faults.append(f"arguments of {name} do not parse: {arguments[:80]}")
    if answered == 0:
        faults.append("nothing was asked")
    return faults, len(seen)


def run(agent, server, prompts):
    why_not = agent.install()
    if why_not:
        print(f"{agent.name}: skipped: {why_not}")
        return True
    recorder = Recorder(server.url)
    faults = []
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        home, work = pathlib.Path(folder, "home"), pathlib.Path(folder, "work")
        home.mkdir()
        work.mkdir()
        for name, text in FILES.items():
            (work / name).write_text(text)
        for prompt in prompts:
            try:
                done = agent.ask(prompt, home, work, recorder.url, SECONDS)
            except subprocess.TimeoutExpired:
                faults.append(f"no answer in {SECONDS} s to: {prompt}")
                continue
            print(f"--- {agent.name}: {prompt}\n{done.stdout.strip()[-600:]}", flush=True)
            if done.returncode != 0:
                faults.append(f"exit code {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}")
    recorder.end()
    found, calls = check(agent, recorder)
    faults += found
    if agent.tools and len(prompts) == len(PROMPTS) and calls < 3:
        faults.append(f"{calls} tool calls, at least 3 were to be made")
    folder = ROOT / "build" / "clients" / "recorded"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{agent.name}.json").write_text(json.dumps(recorder.fields(), indent=1))
    print(f"{agent.name}: {len(prompts)} prompts, {len(recorder.requests)} requests, {calls} different calls, "
          f"{time.monotonic() - start:.0f} s" + "".join(f"\n  FAULT: {f}" for f in faults), flush=True)
    return not faults


def main():
    names = [a.name for a in agents.AGENTS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", default=",".join(names))
    parser.add_argument("--prompts", type=int, default=len(PROMPTS))
    parser.add_argument("--model", default=MODELS / "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf", type=pathlib.Path)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, open(pathlib.Path(folder, "log"), "w") as log:
        with Server(flags.model, "--ctx", CONTEXT, "--parallel", "2", "--model-name", agents.MODEL, "--alias", "*", "--cache",
                    pathlib.Path(folder, "pages"), stderr=log) as server:
            right = [run(a, server, PROMPTS[:flags.prompts]) for a in agents.AGENTS if a.name in flags.agents.split(",")]
    return 0 if all(right) else 1


if __name__ == "__main__":
    sys.exit(main())
