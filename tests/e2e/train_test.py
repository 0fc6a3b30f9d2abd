"""minke train: a model is trained, killed, resumed and served; mistakes are named."""
import json
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from common import MINKE, Case, environment, write_texts

CONFIG = {
    "architectures": ["DeepseekV32ForCausalLM"], "hidden_size": 32, "intermediate_size": 64,
    "moe_intermediate_size": 16, "num_hidden_layers": 2, "first_k_dense_replace": 1, "n_routed_experts": 8,
    "num_experts_per_tok": 2, "n_shared_experts": 1, "n_group": 1, "topk_group": 1, "topk_method": "noaux_tc",
    "scoring_func": "sigmoid", "norm_topk_prob": True, "routed_scaling_factor": 2.5, "num_attention_heads": 4,
    "num_key_value_heads": 4, "q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8, "v_head_dim": 8, "index_n_heads": 4, "index_head_dim": 16, "index_topk": 8,
    "num_nextn_predict_layers": 1, "vocab_size": 300, "rms_norm_eps": 1e-6, "rope_theta": 10000,
    "max_position_embeddings": 256}


def run_config(**changes):
    stage = {"name": "main", "data": "data", "steps": 60, "sequence": 64, "batch": 8, "pass": 4,
             "rate": 5e-3, "warmup": 10, "final_rate": 1e-3, "indexer": "none"}
    stage.update(changes.pop("stage", {}))
    return {"model": {"config": CONFIG, "deviation": 0.02}, "output": "run", "checkpoint_steps": 10,
            "format": "f32", "tokenizer": "tokenizer/tokenizer.json", "stages": [stage], **changes}


class Train(Case):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        tokenizer = self.folder / "tokenizer"
        texts = write_texts(self.folder / "texts")
        self.minke("tokenizer", "train", texts, "-o", tokenizer, "--vocab", 300)
        self.minke("data", texts, "--tokenizer", tokenizer, "-o", self.folder / "data", "--val", 0.1)

    def write(self, name="config.json", **changes):
        path = self.folder / name
        path.write_text(json.dumps(run_config(**changes)))
        return path

    def log(self, output="run"):
        return [json.loads(line) for line in (self.folder / output / "log.jsonl").read_text().splitlines()]

    def test_dry_run_says_what_it_takes_and_leaves_nothing(self):
        config = self.write()
        plan = self.json("train", config, "--dry-run", "--json")
        self.assertEqual(plan["tokens"], 60 * 8 * 64)
        self.assertGreater(plan["memory"]["total"], plan["parameters"] * 16)
        self.assertGreater(plan["seconds"], 0)
        self.assertGreater(plan["data_bytes"], 1000)
        text, _ = self.minke("train", config, "--dry-run")
        for word in ("parameters", "memory", "data", "tokens/s", "time"):
            self.assertIn(word, text)
        self.assertFalse((self.folder / "run").exists())

    def test_a_killed_run_goes_on_to_the_same_model(self):
        stage = {"evaluate_steps": 30}
        whole = self.write(output="whole", stage=stage)
        killed = self.write("killed.json", output="killed", stage=stage)
        self.minke("train", whole)
        for delay in (0.3, 0.5, 0.7):
            child = subprocess.Popen([MINKE, "train", killed, "--resume"], env=environment(), stdout=subprocess.DEVNULL)
            time.sleep(delay)
            child.kill()
            child.wait()
        child = subprocess.Popen([MINKE, "train", killed, "--resume"], env=environment(), stdout=subprocess.DEVNULL,
                                 stderr=subprocess.PIPE)
        time.sleep(0.4)
        child.send_signal(signal.SIGTERM)
        error = child.communicate(timeout=60)[1].decode()
        name = pathlib.Path("model") / "model.safetensors"
        if not (self.folder / "killed" / name).is_file():  # else it was through before it was told to end
            self.assertEqual(child.returncode, 130, error)
            self.assertIn("--resume goes on", error)
        self.minke("train", killed, "--resume")
        self.assertEqual((self.folder / "whole" / name).read_bytes(), (self.folder / "killed" / name).read_bytes())
        for output in ("whole", "killed"):
            losses = [line["loss"] for line in self.log(output) if "loss" in line]
            self.assertEqual(len(losses), 60)
            self.assertLess(sum(losses[-5:]) / 5, 0.75 * losses[0])
            held_out = [line["held_out_loss"] for line in self.log(output) if "held_out_loss" in line]
            self.assertEqual(len(held_out), 2)
            self.assertLess(held_out[1], held_out[0])
        same = ("step", "loss", "norm", "held_out_loss", "expert_load")
        for a, b in zip(self.log("whole"), self.log("killed")):
            self.assertEqual([a.get(k) for k in same], [b.get(k) for k in same])
        self.assertIn("<svg", (self.folder / "whole" / "report.html").read_text())

    def test_the_trained_model_is_inspected_and_converted_like_any_other(self):
        self.minke("train", self.write(stage={"steps": 3}))
        model = self.folder / "run" / "model"
        self.assertIn("deepseek_v32", self.minke("inspect", model)[0])
        self.minke("convert", model, self.folder / "model.gguf")
        self.assertIn("deepseek_v32", self.minke("inspect", self.folder / "model.gguf")[0])

    def test_mistakes_are_named(self):
        config = self.write(stage={"wramup": 3})
        self.fails("train", config, says=["stages[0]", "wramup"])
        self.fails("train", self.write(stage={"sequence": 512}), says=["sequence", "256"])
        self.fails("train", self.write(stage={"data": "nowhere"}), says="nowhere")
        config.write_text("{")
        self.fails("train", config, says="config.json")
        self.fails("train", self.folder / "none.json", says="none.json")
        config = self.write(stage={"steps": 2})
        self.minke("train", config)
        self.fails("train", config, says=["holds checkpoints", "--resume"])
        self.fails("train", self.write(stage={"steps": 3}), "--resume", says="another run")
        broken = self.folder / "shards"
        shutil.copytree(self.folder / "data", broken)
        shard = next(broken.glob("train-*.tokens"))
        shard.write_bytes(shard.read_bytes()[:-9])
        self.fails("train", self.write(output="other", stage={"data": str(broken)}), says=shard.name)
        wild = self.write(output="wild", stage={"rate": 9.0, "clip": 0, "warmup": 0, "final_rate": 9.0, "beta2": 0.1})
        done = subprocess.run([MINKE, "train", wild], env=environment(), capture_output=True, timeout=120)
        if done.returncode:
            self.assertIn(b"training diverges", done.stderr)


if __name__ == "__main__":
    unittest.main()
