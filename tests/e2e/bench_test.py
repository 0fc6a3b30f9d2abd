"""bench/run and bench/train: Minke beside a peer whose rates are known, on small models."""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

from common import MINKE, ROOT, environment

# Prints what llama-sweep-bench prints; the deeper, the slower.
PEER = """#!/bin/sh
echo '|    PP |     TG |   N_KV |   T_PP s | S_PP t/s |   T_TG s | S_TG t/s |'
echo '|-------|--------|--------|----------|----------|----------|----------|'
echo '|    64 |     16 |      0 |    1.000 |    64.00 |    1.000 |    16.00 |'
echo '|    64 |     16 |     64 |    2.000 |    32.00 |    2.000 |     8.00 |'
"""
MODEL = ROOT / "tests" / "fuzz" / "corpus" / "load" / "llama.gguf"


class Bench(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.peer = self.folder / "peer"
        self.peer.write_text(PEER)
        self.peer.chmod(0o755)

    def run_bench(self, *args, script="run"):
        return subprocess.run([sys.executable, ROOT / "bench" / script, *map(str, args)], capture_output=True, text=True,
                              env=environment(MINKE=MINKE), timeout=120)

    def test_tables_figures_and_charts(self):
        out = self.folder / "out"
        done = self.run_bench(MODEL, "--prompt", 64, "--decode", 16, "--depths", "0,64", "--rounds", 2, "--threads", 1,
                                 "--peer", f"sweep={self.peer}", "--output", out)
        self.assertEqual(done.returncode, 0, done.stderr)
        rounds = json.loads((out / "results.json").read_text())["rounds"][MODEL.name]
        for depth, decode in (("0", 16), ("64", 8)):
            self.assertEqual([r["decode"] for r in rounds[depth]["sweep"]], [decode, decode])
            self.assertEqual(len(rounds[depth]["minke"]), 2)
        self.assertEqual(sum("x " in line for line in done.stdout.splitlines() if " sweep " in line), 2)
        for name in ("depth.svg", "roofline.svg"):
            xml.etree.ElementTree.parse(out / name)

    def test_a_peer_that_fails_is_said(self):
        self.peer.write_text("#!/bin/sh\necho no such model >&2\nexit 3\n")
        done = self.run_bench(MODEL, "--prompt", 64, "--decode", 4, "--rounds", 1, "--threads", 1,
                                 "--peer", f"sweep={self.peer}", "--output", self.folder / "out")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("sweep ended with 3: no such model", done.stderr)

    def test_what_is_not_there_is_named(self):
        for args, says in (([self.folder / "none.gguf"], "none.gguf"), ([MODEL, "--peer", "x=/none"], "x=/none")):
            done = self.run_bench(*args)
            self.assertEqual(done.returncode, 1)
            self.assertIn(says, done.stderr)

    def test_training_steps(self):
        self.peer.write_text("""#!/bin/sh\n[ "$1" = -c ] || echo '{"tokens_per_second": 10}'\n""")
        out = self.folder / "out"
        train = ["--only", "V3 ", "--rounds", 1, "--threads", 1, "--output", out]
        done = self.run_bench(*train, "--python", self.peer, script="train")
        self.assertEqual(done.returncode, 0, done.stderr)
        (name, found), = json.loads((out / "train.json").read_text())["rounds"].items()
        ratio = found["minke"][0]["tokens_per_second"] / 10
        self.assertIn(f"x {ratio:.2f}", next(line for line in done.stdout.splitlines() if line.startswith(name)))
        self.peer.write_text("#!/bin/sh\nexit 1\n")
        done = self.run_bench("--only", "V4", "--python", self.peer, script="train")
        self.assertIn("the shapes are Llama", done.stderr)
        done = self.run_bench(*train, "--python", self.peer, script="train")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("has no torch and transformers", done.stderr)


if __name__ == "__main__":
    unittest.main()
