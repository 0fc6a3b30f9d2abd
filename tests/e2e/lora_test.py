"""Adapters: minke train makes them, and run, serve and perplexity work with them beside any form of their model."""
import json
import pathlib
import shutil
import struct
import tempfile
import unittest

from common import Case, write_texts
from server import Server

CONFIG = {
    "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 300, "rms_norm_eps": 1e-5, "rope_theta": 10000,
    "max_position_embeddings": 256, "tie_word_embeddings": True}
STAGE = {"name": "base", "data": "data", "steps": 80, "sequence": 64, "batch": 8, "rate": 5e-3, "warmup": 10}
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class Lora(Case):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        case = cls()
        tokenizer = cls.folder / "tokenizer"
        texts = write_texts(cls.folder / "texts")
        case.minke("tokenizer", "train", texts, "-o", tokenizer, "--vocab", 300)
        case.minke("data", texts, "--tokenizer", tokenizer, "-o", cls.folder / "data")
        other = cls.folder / "other.txt"
        other.write_text("to be or not to be\n" * 200)
        case.minke("data", other, "--tokenizer", tokenizer, "-o", cls.folder / "other")
        cls.text = cls.folder / "text.txt"
        cls.text.write_text("to be or not to be\n" * 20)
        case.train("base", {"config": CONFIG, "deviation": 0.02}, STAGE)
        cls.base = cls.folder / "base" / "model"
        lora = {"rank": 4, "alpha": 8, "targets": ALL}
        case.train("tuned", {"from": "base/model"}, {**STAGE, "data": "other", "steps": 120, "lora": lora})
        cls.adapter, cls.merged = cls.folder / "tuned" / "adapter", cls.folder / "tuned" / "model"

    def train(self, output, model, stage):
        """Written as TOML, which is read as JSON is."""
        lora = stage.get("lora")
        lines = [f"{key} = {json.dumps(value)}" for key, value in stage.items() if key != "lora"]
        config = json.dumps(model["config"]) if "config" in model else ""
        path = self.folder / f"{output}.toml"
        if config:
            (self.folder / "config.json").write_text(config)
        path.write_text("\n".join([
            f'output = "{output}"', 'format = "f32"', 'tokenizer = "tokenizer/tokenizer.json"', "[model]",
            *([f'config = "config.json"', f"deviation = {model['deviation']}"] if config else [f'from = "{model["from"]}"']),
            "[[stages]]", *lines,
            *(["[stages.lora]", *(f"{key} = {json.dumps(value)}" for key, value in lora.items())] if lora else [])]) + "\n")
        self.minke("train", path)

    def perplexity(self, model, *flags):
        return self.json("perplexity", model, self.text, "--ctx", 64, "--json", *flags)["perplexity"]

    def answer(self, model, *flags):
        return self.minke("run", model, "--raw", "--max-tokens", 40, "--temperature", 0, "to be or", *flags)[0]

    def test_an_adapter_is_the_merged_model(self):
        exact = ("--activations", "f32", "--kv", "f32")
        base, merged = self.perplexity(self.base, *exact), self.perplexity(self.merged, *exact)
        self.assertLess(merged, 0.5 * base)
        self.assertAlmostEqual(self.perplexity(self.base, "--lora", self.adapter, *exact) / merged, 1, places=4)
        self.assertEqual(self.answer(self.base, "--lora", self.adapter, *exact), self.answer(self.merged, *exact))
        self.assertNotEqual(self.answer(self.base, *exact), self.answer(self.merged, *exact))

    def test_beside_a_gguf_file_in_eight_bits(self):
        gguf = self.folder / "base.gguf"
        self.minke("convert", self.base, gguf, "--type", "Q8_0")
        adapted = self.perplexity(gguf, "--lora", self.adapter)
        self.assertAlmostEqual(adapted / self.perplexity(self.merged), 1, delta=0.05)
        for threads in (1, 2):
            self.assertEqual(self.perplexity(gguf, "--lora", self.adapter, "--threads", threads), adapted)

    def test_the_server_answers_with_it_under_the_models_name(self):
        body = {"prompt": "to be or", "max_tokens": 40, "temperature": 0}
        with Server(self.base, "--lora", self.adapter) as server:
            adapted = server.ask("/v1/completions", body)[1]["choices"][0]["text"]
            names = [model["id"] for model in server.ask("/v1/models")[1]["data"]]
        with Server(self.base) as server:
            self.assertNotEqual(server.ask("/v1/completions", body)[1]["choices"][0]["text"], adapted)
            self.assertEqual([model["id"] for model in server.ask("/v1/models")[1]["data"]], names)

    def test_pages_on_disk_are_not_anothers(self):
        body = {"prompt": "to be or not to be\n" * 12, "max_tokens": 8, "temperature": 0}
        with tempfile.TemporaryDirectory() as cache:
            def ask(*flags):
                with Server(self.base, "--cache", cache, *flags) as server:
                    answer = server.ask("/v1/completions", body)[1]
                    server.process.terminate()  # which writes the pages that wait to be
                    server.process.wait(30)
                return answer["choices"][0]["text"], answer["usage"].get("prompt_tokens_details", {}).get("cached_tokens", 0)
            plain, cached = ask()
            self.assertEqual(cached, 0)
            adapted, cached = ask("--lora", self.adapter)
            self.assertEqual(cached, 0)
            self.assertGreater(ask("--lora", self.adapter)[1], 0)
            self.assertEqual(ask("--lora", self.adapter)[0], adapted)
            self.assertEqual(ask()[0], plain)

    def test_inspect_counts_it(self):
        made = [self.json("inspect", self.base, *flags, "--json")["memory"]["made_at_load"] for flags in ([], ["--lora", self.adapter])]
        self.assertGreater(made[1] - made[0], 2 * 4 * 4 * 64)
        self.minke("bench", self.base, "--lora", self.adapter, "-p", 16, "-n", 4, "-r", 1)

    def test_what_is_wrong_is_named(self):
        def fails(adapter, says):
            self.fails("run", self.base, "--raw", "a", "--lora", adapter, says=says)

        fails(self.folder / "nowhere", ["nowhere", "is no folder"])
        fails(self.base, "adapter_config.json")
        broken = self.folder / "broken"

        def changed(**fields):
            shutil.rmtree(broken, ignore_errors=True)
            shutil.copytree(self.adapter, broken)
            config = json.loads((broken / "adapter_config.json").read_text())
            (broken / "adapter_config.json").write_text(json.dumps({**config, **fields}))
            return broken

        fails(changed(use_dora=True), ["adapter_config.json", "use_dora"])
        fails(changed(modules_to_save=["lm_head"]), "modules_to_save")
        fails(changed(r=8), ["adapter_model.safetensors", "[8, 64]", "base/model"])
        fails(changed(target_modules=["q_proj", "lm_head"]), ["target_modules", "lm_head"])
        weights = changed() / "adapter_model.safetensors"
        whole = weights.read_bytes()
        weights.write_bytes(whole[:-5])
        fails(broken, "adapter_model.safetensors")
        header = struct.unpack("<Q", whole[:8])[0]
        weights.write_bytes(whole[:8 + header] + b"\xff" * (len(whole) - 8 - header))
        fails(broken, "not finite")

    def test_a_config_in_toml_names_its_mistakes(self):
        config = self.folder / "wrong.toml"
        config.write_text('output = "x"\n[model]\nfrom = "base/model"\n[[stages]]\nname = "a"\nwramup = 3\n')
        self.fails("train", config, says=["stages[0]"])
        config.write_text((self.folder / "base.toml").read_text() + "wramup = 3\n")
        self.fails("train", config, says=["wrong.toml: stages[0]", "wramup"])
        config.write_text("output = \n")
        self.fails("train", config, says="wrong.toml:1")
        config.write_text((self.folder / "tuned.toml").read_text().replace('"down_proj"', '"downproj"'))
        self.fails("train", config, says=["targets", "downproj", "down_proj"])


if __name__ == "__main__":
    unittest.main()
