"""minke convert: folders to GGUF and back, what it refuses, and being interrupted."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from common import GOLDEN, MINKE, SMOLLM, Case, default_interrupt, environment, needs_smollm

MODELS = sorted(p for p in (GOLDEN / "models").iterdir() if p.is_dir())
PROMPT = "The capital of France is"


class Folder(Case):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def verified(self, model, golden):
        rows = self.json("verify", model, golden / "golden.safetensors", "--json")
        self.assertTrue(all(row["ok"] for row in rows), rows)


class GoldenModels(Folder):
    def test_there_and_back(self):
        for model in MODELS:
            gguf, back = self.folder / f"{model.name}.gguf", self.folder / model.name
            types = ["--type", "F32"] if model.name.endswith("fp8") else []
            done = self.json("convert", model, gguf, "--json", *types)
            self.assertTrue(done["written"])
            self.assertEqual(done["container"], "gguf")
            self.verified(gguf, model)
            done = self.json("convert", gguf, back, "--shard-size", "300KB", "--json", *types)
            self.assertGreater(done["files"], 1)
            self.verified(back, model)
            shape, same = (self.json("inspect", m, "--json") for m in (model, back))
            self.assertEqual(shape["parameters"], same["parameters"])
            self.assertEqual(sorted(p.name for p in self.folder.iterdir() if "unfinished" in p.name), [])

    def test_a_dry_run_writes_nothing(self):
        text, _ = self.minke("convert", GOLDEN / "models" / "deepseek_v3", self.folder / "a.gguf", "--dry-run")
        self.assertIn("blk.1.ffn_up_exps.weight", text)
        self.assertIn("expert_up and 15 more", text)
        self.assertIn("nothing was written", text)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_without_mtp(self):
        model = GOLDEN / "models" / "deepseek_v3_mtp"
        _, err = self.minke("convert", model, self.folder / "a.gguf")
        self.assertIn("no tokenizer.json", err)
        _, err = self.minke("convert", model, self.folder / "b.gguf", "--no-mtp")
        self.assertIn("left out", err)
        self.assertLess((self.folder / "b.gguf").stat().st_size, (self.folder / "a.gguf").stat().st_size)

    def test_refusals(self):
        llama, out = GOLDEN / "models" / "llama", self.folder / "out.gguf"
        self.fails("convert", llama, self.folder / "other", says=["other", ".gguf"])
        self.fails("convert", llama, out, "--type", "Q9", says=["'Q9'", "Q4_K"], code=2)
        self.fails("convert", llama, out, "--type", "nose=F16", says="'nose'", code=2)
        self.fails("convert", llama, self.folder / "no" / "out.gguf", says="no/out.gguf")
        self.fails("convert", self.folder / "nowhere", out, says="nowhere")
        self.fails("convert", llama, says="TO", code=2)
        out.write_text("mine")
        self.fails("convert", llama, out, says=["out.gguf", "--force"])
        self.assertEqual(out.read_text(), "mine")
        self.minke("convert", llama, out, "--force")
        self.fails("convert", out, self.folder / "again.gguf", says="minke quantize")
        self.fails("convert", out, self.folder / "f", "--type", "Q8_0", says="Q8_0", code=2)
        self.minke("convert", out, f"{self.folder}/f/")
        self.fails("convert", out, self.folder / "f", says="--force")
        self.assertEqual(sorted(p.name for p in self.folder.iterdir()), ["f", "out.gguf"])

    def test_missing_shards_and_unknown_tensors(self):
        model = self.folder / "model"
        shutil.copytree(GOLDEN / "models" / "deepseek_v3", model)
        (model / "model-00002-of-00002.safetensors").unlink()
        self.fails("convert", model, self.folder / "a.gguf", says="model-00002-of-00002.safetensors")
        shutil.copy(GOLDEN / "models" / "deepseek_v3" / "model-00002-of-00002.safetensors", model)
        config = json.loads((model / "config.json").read_text())
        config["num_hidden_layers"] = 2
        (model / "config.json").write_text(json.dumps(config))
        self.fails("convert", model, self.folder / "a.gguf", says="model.layers.2.")
        self.assertEqual(sorted(p.name for p in self.folder.iterdir()), ["model"])

    def test_a_full_disk(self):
        """A limit for the size of files stands in for it; what was written is taken up without it."""
        gguf = self.folder / "a.gguf"
        model = GOLDEN / "models" / "llama4"
        done = subprocess.run(["bash", "-c", f"trap '' XFSZ; ulimit -f 300; exec {MINKE} convert {model} {gguf}"],
                              capture_output=True, env=environment(), timeout=60)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(b"cannot write", done.stderr)
        self.assertIn(b"the same command again", done.stderr)
        self.assertFalse(gguf.exists())
        again = self.json("convert", model, gguf, "--json")
        self.assertGreater(again["kept_bytes"], 100_000)
        self.verified(gguf, model)


@needs_smollm
class RealModel(Folder):
    def answer(self, model):
        # Folders and GGUF files have the numbers of a head in different orders, so sums round differently; a
        # bf16 cache would make more of that than the last bits.
        return self.json("run", model, PROMPT, "--json", "-n", 24, "--kv", "f32")

    def test_the_same_answers(self):
        before = self.answer(SMOLLM)
        back, gguf = self.folder / "smollm", self.folder / "smollm.gguf"
        self.minke("convert", SMOLLM, back, "--type", "F32", "--shard-size", "200MB")
        self.assertTrue((back / "model.safetensors.index.json").is_file())
        self.assertEqual(self.json("inspect", back, "--json")["licence"], "apache-2.0")
        self.minke("convert", back, gguf)
        folder, whole = self.answer(back), self.answer(gguf)
        self.assertEqual(folder["text"], whole["text"])
        text = "Grüße, 世界 🙂 1234\n\tif x:  pass<|im_end|>"
        ids = [self.json("tokenize", m, text, "--json")["ids"] for m in (SMOLLM, back, gguf)]
        self.assertEqual(ids[0], ids[1])
        self.assertEqual(ids[0], ids[2])
        self.assertEqual(before["prompt_tokens"], whole["prompt_tokens"])
        perplexity = [self.json("perplexity", m, GOLDEN / "real" / "text.txt", "--tokens", 256, "--ctx", 256,
                                "--activations", "f32", "--kv", "f32", "--json")["perplexity"]
                      for m in (SMOLLM, back, gguf)]
        self.assertAlmostEqual(perplexity[1], perplexity[2], places=3)
        self.assertAlmostEqual(perplexity[0], perplexity[1], places=3)

    def interrupted(self, how):
        """Ends a conversion in the middle, and takes it up."""
        out = self.folder / "out"
        child = subprocess.Popen([MINKE, "convert", str(SMOLLM), str(out), "--type", "F32", "-t", "1"],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=default_interrupt,
                                 env=environment())
        journal = self.folder / "out.unfinished" / "journal"
        deadline = time.time() + 60
        while time.time() < deadline and child.poll() is None:
            if journal.is_file() and journal.read_bytes().count(b"\n") > 2:
                break
            time.sleep(0.002)
        child.send_signal(how)
        _, err = child.communicate(timeout=60)
        self.assertNotEqual(child.returncode, 0)
        self.assertFalse(out.exists())
        return child.returncode, err.decode()

    def test_killed_and_taken_up(self):
        self.minke("convert", SMOLLM, self.folder / "whole", "--type", "F32")
        self.interrupted(signal.SIGKILL)
        done = self.json("convert", SMOLLM, self.folder / "out", "--type", "F32", "--json")
        self.assertGreater(done["kept_bytes"], 100 << 20)
        self.assertLess(done["kept_bytes"], done["bytes"])
        for file in ["model.safetensors", "config.json", "tokenizer.json"]:
            self.assertEqual((self.folder / "out" / file).read_bytes(), (self.folder / "whole" / file).read_bytes())
        self.assertFalse((self.folder / "out.unfinished").exists())

    def test_stopped_and_taken_up(self):
        code, err = self.interrupted(signal.SIGINT)
        self.assertEqual(code, 130)
        self.assertIn("the same command goes on from there", err)
        done = self.json("convert", SMOLLM, self.folder / "out", "--type", "F32", "--json")
        self.assertGreater(done["kept_bytes"], 100 << 20)


if __name__ == "__main__":
    unittest.main()
