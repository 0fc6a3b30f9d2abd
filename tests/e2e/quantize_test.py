"""minke quantize: small files of every architecture, a real model, and what it refuses."""
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from common import GOLDEN, MINKE, ROOT, SMOLLM, Case, default_interrupt, needs_smollm

CORPUS = ROOT / "tests" / "fuzz" / "corpus" / "load"
TEXT = GOLDEN / "real" / "text.txt"


class Folder(Case):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.out = self.folder / "out.gguf"


class SmallFiles(Folder):
    def test_every_architecture_stays_readable(self):
        for name in ["llama", "llama4", "deepseek2", "deepseek2_legacy", "deepseek32"]:
            source = CORPUS / f"{name}.gguf"
            done = self.json("quantize", source, self.out, "--type", "experts=Q4_0,default=Q8_0", "--force", "--json")
            self.assertTrue(done["written"])
            self.assertEqual(self.json("inspect", self.out, "--json")["parameters"],
                             self.json("inspect", source, "--json")["parameters"])

    def test_a_dry_run_writes_nothing(self):
        source = CORPUS / "deepseek32.gguf"
        plan = self.json("quantize", source, self.out, "--type", "Q8_0", "--dry-run", "--json")
        self.assertFalse(plan["written"])
        text, err = self.minke("quantize", source, self.out, "--type", "Q8_0", "--dry-run")
        self.assertIn("nothing was written", text)
        self.assertIn("token_embd.weight", text)
        self.assertEqual(err, "")
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_refusals(self):
        source = self.folder / "source.gguf"
        shutil.copy(CORPUS / "llama.gguf", source)
        self.fails("quantize", source, self.out, says="--type", code=2)
        self.fails("quantize", source, self.out, "--type", "Q4_K_M", says=["'Q4_K_M'", "Q4_K, "], code=2)
        self.fails("quantize", source, self.out, "--type", "nose=Q4_K", says=["'nose'", "experts"], code=2)
        self.fails("quantize", source, source, "--type", "Q8_0", "--force", says=["source.gguf", "is the file that is read"])
        self.fails("quantize", source, self.folder, "--type", "Q8_0", says="is a folder")
        self.fails("quantize", GOLDEN / "models" / "llama", self.out, "--type", "Q8_0", says=["llama", "minke convert"])
        self.fails("quantize", CORPUS / "llama_q8_0.gguf", self.out, "--type", "Q4_0", says="--allow-requantize")
        self.fails("quantize", source, self.folder / "no" / "out.gguf", "--type", "Q8_0", says="out.gguf")
        self.out.write_text("mine")
        self.fails("quantize", source, self.out, "--type", "Q8_0", says=["out.gguf", "--force"])
        self.assertEqual(self.out.read_text(), "mine")
        self.assertEqual(source.read_bytes(), (CORPUS / "llama.gguf").read_bytes())
        self.minke("quantize", source, self.out, "--type", "Q8_0", "--force")
        self.assertEqual(sorted(p.name for p in self.folder.iterdir()), ["out.gguf", "source.gguf"])


@needs_smollm
class RealModel(Folder):
    # Rows of 576 and 1536: some fill blocks of 256, most only those of 32.
    def test_perplexity_follows_the_format(self):
        def perplexity(model):
            return self.json("perplexity", model, TEXT, "--tokens", 256, "--ctx", 256, "--json")["perplexity"]

        before = perplexity(SMOLLM)
        for rules, most in [("Q8_0", 1.02), ("Q4_K", 1.3), ("embd=Q8_0,ffn_down=Q3_K,default=IQ4_XS", 2)]:
            done = self.json("quantize", SMOLLM, self.out, "--type", rules, "--allow-requantize", "--force", "--json")
            self.assertEqual(done["rules"], rules)
            self.assertLess(abs(self.out.stat().st_size - done["bytes"]), 4 << 20)
            self.assertTrue(all(0 < error < 0.3 for error in done["relative_rms_error"].values()), done)
            self.assertLess(perplexity(self.out), before * most, rules)
            self.assertGreater(perplexity(self.out), before * 0.9, rules)
        answer = self.json("run", self.out, "The capital of France is", "--json", "-n", 4)
        self.assertEqual(answer["output_tokens"], 4)

    def test_says_where_another_format_was_taken(self):
        text, _ = self.minke("quantize", SMOLLM, self.out, "--type", "Q4_K", "--allow-requantize", "--dry-run")
        self.assertRegex(text, r"\d+ tensors are Q5_0 instead of Q4_K: rows of 576")

    def test_interrupted_leaves_nothing(self):
        child = subprocess.Popen([MINKE, "quantize", str(SMOLLM), str(self.out), "--type", "Q2_K", "--allow-requantize",
                                  "-t", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=default_interrupt)
        deadline = time.time() + 30
        while not os.listdir(self.folder) and time.time() < deadline:
            time.sleep(0.01)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=60)
        self.assertEqual((child.returncode, err), (130, b""))
        self.assertEqual(os.listdir(self.folder), [])


if __name__ == "__main__":
    unittest.main()
