"""The programs that bench/run measures: each gives tokens per second of a prompt and of decoding, at each depth."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
MINKE = os.environ.get("MINKE", ROOT / "build" / "release" / "minke")
PEERS = ROOT / "build" / "peers"
ROW = re.compile(r"^\|\s*(\d+) \|\s*(\d+) \|\s*(\d+) \|\s*[\d.]+ \|\s*([\d.]+) \|\s*[\d.]+ \|\s*([\d.]+) \|")


class Failed(Exception):
    """What a program said when it could not be measured."""


def output_of(name, command, **options):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, errors="replace", **options)
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise Failed(f"{name} ended with {done.returncode}: {' '.join(said)}")
    return done.stdout, done.stderr


class Minke:
    def __init__(self, program=MINKE, flags=()):
        self.program, self.flags = program, list(flags)
        self.name = " ".join(["minke", *self.flags])

    def measure(self, model, plan):
        """A dict by depth; each has `prefill` and `decode` in tokens a second, and all that `minke bench` says."""
        out, _ = output_of(self.name, [self.program, "bench", model, "-p", plan.prompt, "-n", plan.decode, "-r", 1,
                                    "-d", ",".join(map(str, plan.depths)), "-t", plan.threads, "--json", *self.flags])
        said = json.loads(out)
        return {r["depth"]: {"prefill": r["prefill_tok_s"], "decode": r["decode_tok_s"], "isa": said["isa"],
                             "file_bytes": said["weights"]["bytes"], **r} for r in said["results"]}


class SweepBench:
    """llama-sweep-bench of ik_llama.cpp: from an empty cache on, a prompt and a quarter as many tokens at each multiple."""

    def __init__(self, name, program):
        self.name, self.program = name, program

    def measure(self, model, plan):
        context = max(plan.depths) + 2 * plan.prompt  # its decoding stands behind the prompt
        with tempfile.TemporaryDirectory() as folder:  # it leaves a log where it runs
            both = output_of(self.name, [self.program, "-m", model.resolve(), "-c", context, "-b", max(plan.prompt, 2048),
                                         "-ub", plan.prompt, "-t", plan.threads, "-wb"], cwd=folder)
        found = {}
        for row in filter(None, map(ROW.match, "\n".join(both).splitlines())):  # its table is in its log
            if int(row[3]) in plan.depths:
                found[int(row[3])] = {"prefill": float(row[4]), "decode": float(row[5])}
        if not found:
            raise Failed(f"{self.name} printed no row for depths {plan.depths}: they are to be multiples of the prompt")
        return found


class NodeLlamaCpp:
    """llama.cpp as the npm package node-llama-cpp has it, built beforehand."""
    name = "llama.cpp"

    def install(self):
        """None, or why it cannot be had."""
        if (PEERS / "node_modules" / "node-llama-cpp").is_dir() and shutil.which("node"):
            return None
        npm = shutil.which("npm")
        if not npm:
            return "there is no npm to install it with"
        PEERS.mkdir(parents=True, exist_ok=True)
        (PEERS / "package.json").write_text('{"private": true, "type": "module"}\n')
        done = subprocess.run([npm, "install", "--no-audit", "--no-fund", "node-llama-cpp"], cwd=PEERS,
                              env={**os.environ, "NODE_LLAMA_CPP_SKIP_DOWNLOAD": "true"}, capture_output=True, text=True)
        return None if done.returncode == 0 else f"npm cannot install it: {done.stderr.strip().splitlines()[-1:]}"

    def run(self, model, plan, depth, sequences):
        script = PEERS / "llamacpp.mjs"  # node looks for packages where the script lies
        shutil.copy(pathlib.Path(__file__).with_name("llamacpp.mjs"), script)
        out, _ = output_of(self.name, ["node", script, model, plan.prompt, plan.decode, depth, plan.threads, sequences])
        return json.loads(out.splitlines()[-1])

    def measure(self, model, plan):
        return {depth: self.run(model, plan, depth, 1) for depth in plan.depths}

    def measure_many(self, model, plan):
        """`decode` and `run`: tokens a second of plan.streams sequences once all prompts are in, and of the whole run."""
        return self.run(model, plan, 0, plan.streams)


def peer_of(text):
    """NAME=PROGRAM, PROGRAM being a llama-sweep-bench."""
    name, _, program = text.partition("=")
    if not program or not os.access(program, os.X_OK):
        raise Failed(f"--peer {text}: NAME=PROGRAM is asked for, PROGRAM being a llama-sweep-bench that can be run")
    return SweepBench(name, pathlib.Path(program).resolve())
