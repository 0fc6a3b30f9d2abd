"""minke tokenizer train and data: what they write is what their pages say, the same each time, and mistakes are named."""
import gzip
import json
import math
import pathlib
import random
import shutil
import subprocess
import tempfile
import unittest

from common import ROOT, Case
from token_shards import KneserNey, read_shard, tokens

try:
    import tokenizers
except ImportError:
    tokenizers = None

PAGES = sorted((ROOT / "docs").glob("*.md"))


class Folder(Case):
    @classmethod
    def setUpClass(cls):
        cls.shared = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.shared.cleanup)
        cls.tokenizer = pathlib.Path(cls.shared.name) / "tokenizer"
        Case().minke("tokenizer", "train", ROOT / "docs", "-o", cls.tokenizer, "--vocab", 600)

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def lines(self, name, objects):
        path = self.folder / name
        path.write_text("".join(json.dumps(o, ensure_ascii=False) + "\n" for o in objects), encoding="utf-8")
        return path

    def data(self, *args):
        return self.json("data", *args, "--tokenizer", self.tokenizer, "-o", self.folder / "out", "--force", "--json")

    def decoded(self, name="train-00000"):
        """Texts of a shard's documents, special tokens written out."""
        return [self.minke("tokenize", self.tokenizer, "--decode", " ".join(map(str, d)))[0]
                for d in tokens(self.folder / "out" / f"{name}.tokens")]


BOS, EOS = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"


class Tokenizers(Folder):
    def test_the_same_whatever_the_threads(self):
        for threads in (1, 3):
            done = self.json("tokenizer", "train", ROOT / "docs", "-o", self.folder / str(threads), "--vocab", 600, "-t", threads,
                             "--json")
            self.assertEqual(done["tokens"], 600)
            for name in ("tokenizer.json", "tokenizer_config.json"):
                self.assertEqual((self.folder / str(threads) / name).read_bytes(), (self.tokenizer / name).read_bytes())

    def texts(self):
        alphabet = " \n\tabcdefghi'\"ABC0123456789.,;:!?()[]{}<>|/\\_-+=éßñ中文日本語한국어🙂\u0301\u200d"
        rng = random.Random(1)
        return [page.read_text()[:5000] for page in PAGES[:4]] + [
            "".join(rng.choice(alphabet) for _ in range(rng.randrange(1, 200))) for _ in range(40)]

    def test_texts_come_back(self):
        for text in self.texts()[:10]:
            ids = self.minke("tokenize", self.tokenizer, "--added", "none", input=text.encode())[0]
            self.assertEqual(self.minke("tokenize", self.tokenizer, "--decode", input=ids.encode())[0], text)

    @unittest.skipUnless(tokenizers, "the Python package tokenizers is not installed")
    def test_hf_tokenizers_gives_the_same_ids(self):
        for pre, family in [("deepseek-v3", "deepseek"), ("qwen2", "chatml"), ("llama-bpe", "llama3"), ("gpt-2", "plain")]:
            folder = self.folder / pre
            self.minke("tokenizer", "train", ROOT / "docs", "-o", folder, "--vocab", 700, "--pre", pre, "--tokens", family)
            theirs = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
            for text in self.texts():
                ids = self.json("tokenize", folder, "--json", input=text.encode())["ids"]
                self.assertEqual(theirs.encode(text, add_special_tokens=False).ids, ids, (pre, text))

    @unittest.skipUnless(tokenizers, "the Python package tokenizers is not installed")
    def test_hf_tokenizers_learns_the_same_merges(self):
        # Lines as their trainer takes them.
        lines = [line + "\n" for page in PAGES for line in page.read_text().splitlines()]
        files = [self.folder / f"{i:05}.txt" for i in range(len(lines))]
        for path, line in zip(files, lines):
            path.write_text(line)
        self.minke("tokenizer", "train", *files, "-o", self.folder / "t", "--vocab", 1000, "--pre", "gpt-2", "--tokens", "plain",
                   "--min-count", 1)
        ours = json.loads((self.folder / "t" / "tokenizer.json").read_text())["model"]
        theirs = tokenizers.Tokenizer(tokenizers.models.BPE())
        theirs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        theirs.train_from_iterator(lines, tokenizers.trainers.BpeTrainer(
            vocab_size=len(ours["vocab"]), initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
        learned = json.loads(theirs.to_str())["model"]
        merges = [m if isinstance(m, str) else " ".join(m) for m in learned["merges"]]
        self.assertEqual(ours["merges"], merges)
        self.assertEqual(ours["vocab"], learned["vocab"])

    def test_special_tokens(self):
        self.minke("tokenizer", "train", ROOT / "docs", "-o", self.folder / "t", "--vocab", 400, "--tokens", "chatml", "--special",
                   "<|tool|>", "--special", "<|x|>")
        text = "<|im_start|>user<|tool|><|x|>"
        ids = self.json("tokenize", self.folder / "t", text, "--json")["ids"]
        self.assertEqual([ids[0], ids[-2], ids[-1]], [393, 398, 399])
        config = json.loads((self.folder / "t" / "tokenizer_config.json").read_text())
        self.assertEqual((config["eos_token"], config["bos_token"]), ("<|endoftext|>", None))
        self.assertIn("<|im_start|>", config["chat_template"])

    def test_mistakes_are_named(self):
        train = ["tokenizer", "train", ROOT / "docs", "-o", self.folder / "t", "--vocab"]
        self.fails(*train, 270, says=["--vocab", "270", "256 bytes"], code=2)
        self.fails(*train, 500, "--pre", "no", says=["--pre", "deepseek-v3"], code=2)
        self.fails(*train, 500, "--tokens", "no", says=["--tokens", "chatml"], code=2)
        self.fails(*train, 500, "--special", "<think>", says=["--special", "<think>"], code=2)
        self.fails("tokenizer", "train", self.folder / "no.txt", "-o", self.folder / "t", "--vocab", 500, says="no.txt")
        self.fails("tokenizer", "train", ROOT / "docs", "-o", self.tokenizer, "--vocab", 500, says=["tokenizer.json", "--force"])
        self.assertEqual(list(self.folder.iterdir()), [])
        _, err = self.minke("tokenizer", code=2)
        self.assertIn("minke tokenizer --help", err)


class Data(Folder):
    def test_documents_come_back(self):
        (self.folder / "in").mkdir()
        (self.folder / "in" / "a.txt").write_text("First <|x|> <｜User｜>")
        (self.folder / "in" / ".hidden").write_text("hidden")
        self.lines("in/b.jsonl", [{"text": "Second", "source": "here", "license": "MIT"}, {"text": " \n"}, {"text": "Zwölf 中文"}])
        with gzip.open(self.folder / "in" / "c.jsonl.gz", "wt") as out:
            out.write('\n{"text": "Third"}\r\n{"text": "Fourth"}')
        done = self.data(self.folder / "in", "--val", 0, "--source", "there", "--license", "CC0-1.0")
        texts = ["First <|x|> <｜User｜>", "Second", "Zwölf 中文", "Third", "Fourth"]
        self.assertEqual(sorted(self.decoded()), sorted(BOS + t + EOS for t in texts))
        self.assertEqual((done["documents"]["read"], done["documents"]["blank"], done["val"]), (5, 1, None))
        self.assertEqual(done["origins"], [{"source": "here", "license": "MIT", "documents": 1, "bytes": 6},
                                           {"source": "there", "license": "CC0-1.0", "documents": 4, "bytes": done["bytes"] - 6}])
        header, documents = read_shard(self.folder / "out" / "train-00000.tokens")
        self.assertEqual(header, {"vocab": 600, "row": 0, "index": 0, "count": 1})
        self.assertEqual(sum(map(len, documents)), done["train"]["tokens"])
        manifest = json.loads((self.folder / "out" / "data.json").read_text())
        self.assertEqual(manifest, {k: v for k, v in done.items() if k not in ("folder", "seconds")})

    @unittest.skipUnless(shutil.which("zstd"), "there is no zstd")
    def test_zstd_and_separators(self):
        (self.folder / "a.txt").write_text("one\n%%\ntwo\n%%\nthree\n")
        subprocess.run(["zstd", "-q", "--rm", self.folder / "a.txt"], check=True)
        self.data(self.folder / "a.txt.zst", "--separator", r"\n%%\n", "--val", 0)
        self.assertEqual(sorted(self.decoded()), [f"{BOS}{t}{EOS}" for t in ("one", "three\n", "two")])

    def test_the_same_whatever_the_threads_and_held_out_is_held_out(self):
        texts = [{"text": page.read_text()[i:i + 500]} for page in PAGES for i in range(0, 5000, 500)]
        path = self.lines("a.jsonl", texts)
        files = {}
        for threads in (1, 3):
            done = self.data(path, "--val", 0.2, "--fim", 0.5, "-t", threads, "--shard-tokens", 5000, "--dedup", "near")
            files[threads] = {p.name: p.read_bytes() for p in (self.folder / "out").iterdir()}
        self.assertEqual(files[1], files[3])
        self.assertGreater(len(done["train"]["files"]), 2)
        share = done["val"]["tokens"] / (done["val"]["tokens"] + done["train"]["tokens"])
        self.assertTrue(0.2 <= share < 0.23, share)
        self.assertTrue(0.3 < done["documents"]["fim"] / done["documents"]["kept"] < 0.7)
        # Each document is in one of the two.
        self.assertEqual(done["train"]["documents"] + done["val"]["documents"], done["documents"]["kept"])
        other = self.data(path, "--val", 0.2, "--seed", 1)
        self.assertNotEqual(files[1]["train-00000.tokens"], (self.folder / "out" / "train-00000.tokens").read_bytes())
        self.assertEqual(other["documents"]["kept"], done["documents"]["kept"] + done["documents"]["near_duplicates"])

    def test_fill_in_the_middle(self):
        text = "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich."
        self.data(self.lines("a.jsonl", [{"text": text}]), "--fim", 1, "--val", 0)
        before, hole, end = "<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"
        (found,) = self.decoded()
        rest = found.removeprefix(BOS + before).removesuffix(EOS)
        prefix, rest = rest.split(hole)
        suffix, middle = rest.split(end)
        self.assertEqual(prefix + middle + suffix, text)

    def test_duplicates(self):
        page = PAGES[0].read_text()[:4000]
        near = page.replace("the", "teh", 3) + " And a few more words."
        path = self.lines("a.jsonl", [{"text": page}, {"text": " " + page.replace(" ", "\n") + "\n"}, {"text": near},
                                      {"text": PAGES[1].read_text()[:4000]}])
        for dedup, exact, nearly in [("none", 0, 0), ("exact", 1, 0), ("near", 1, 1)]:
            documents = self.data(path, "--dedup", dedup, "--val", 0)["documents"]
            self.assertEqual((documents["exact_duplicates"], documents["near_duplicates"]), (exact, nearly), dedup)
            self.assertEqual(documents["kept"], 4 - exact - nearly)

    def test_conversations(self):
        path = self.lines("a.jsonl", [{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."},
                                                    {"role": "user", "content": "Bye"}, {"role": "assistant", "content": "Bye."}]}])
        self.minke("tokenizer", "train", ROOT / "docs", "-o", self.folder / "t", "--vocab", 400, "--tokens", "chatml")
        done = self.json("data", path, "--tokenizer", self.folder / "t", "-o", self.folder / "sft", "--chat", "--seq", 64, "--val", 0,
                         "--json")
        header, documents = read_shard(self.folder / "sft" / "train-00000.tokens")
        self.assertEqual((header["row"], sum(map(len, documents))), (64, 64))

        def text(ids):
            return self.minke("tokenize", self.folder / "t", "--decode", " ".join(map(str, ids)))[0]

        chat, padding = documents
        self.assertEqual(text([t for t, _ in chat]), "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello.<|im_end|>\n"
                         "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\nBye.<|im_end|>\n")
        self.assertEqual(text([t for t, learned in chat if learned]), "Hello.<|im_end|>Bye.<|im_end|>")
        self.assertFalse(any(learned for _, learned in padding))
        self.assertEqual(done["train"]["learned"], sum(learned for _, learned in chat))
        self.fails("data", path, "--tokenizer", self.folder / "t", "-o", self.folder / "no", says=["a.jsonl line 1", "--chat"])

    def test_mistakes_are_named_and_nothing_is_left(self):
        bad, out = self.folder / "bad.jsonl", self.folder / "out"
        bad.write_bytes(b'{"text": "good"}\n{"text": "b\xff"}\n{"text": 1}\n[]\n{"text"\n')
        args = ["--tokenizer", self.tokenizer, "-o", out]
        self.fails("data", bad, *args, says=["bad.jsonl line 2", "not UTF-8 at byte 28", "--skip-invalid"])
        done = self.data(bad, "--skip-invalid", "--val", 0)
        self.assertEqual((done["documents"]["skipped"], done["documents"]["kept"]), (4, 1))
        self.fails("data", bad, *args, says=["out", "--force"])
        for data, says in [(b'{"text": 1}\n', "line 1"), (b"{\n", "is no JSON"), (b"", "no document")]:
            bad.write_bytes(data)
            self.fails("data", bad, *args, "--force", says=says)
        (self.folder / "cut.txt.gz").write_bytes(gzip.compress(PAGES[0].read_bytes())[:-20])
        self.fails("data", self.folder / "cut.txt.gz", *args, "--force", says=["cut.txt.gz", "cut short"])
        self.fails("data", PAGES[0], "--tokenizer", self.folder / "none", "-o", out, "--force", says="none")
        self.fails("data", *args, says="FILES", code=2)
        self.assertEqual(sorted(p.name for p in self.folder.iterdir()), ["bad.jsonl", "cut.txt.gz", "out"])
        self.assertEqual(self.decoded(), [BOS + "good" + EOS])

    def test_kneser_ney_is_what_its_formulas_say(self):
        texts = [{"text": page.read_text()[i:i + 900]} for page in PAGES for i in range(0, 5400, 900)]
        self.data(self.lines("a.jsonl", texts), "--val", 0.1)
        train, val = (tokens(self.folder / "out" / f"{name}-00000.tokens") for name in ("train", "val"))
        for order in (1, 2, 5):
            model = KneserNey(train, order, 600)
            nll = [-math.log(model.probability(d[:i], d[i])) for d in val for i in range(1, len(d))]
            done = self.json("data", "ngram", self.folder / "out", "--order", order, "--json")
            self.assertEqual(done["tokens"], len(nll))
            self.assertAlmostEqual(done["nll"], sum(nll) / len(nll), places=9)
            for n in range(1, order + 1):
                self.assertEqual(done["orders"][n - 1]["ngrams"], len(model.counts[n]))
                for ours, theirs in zip(done["orders"][n - 1]["discounts"], model.discounts[n][1:]):
                    self.assertAlmostEqual(ours, theirs, places=9)
        some = self.json("data", "ngram", self.folder / "out", "--seen", 3, "--seq", 128, "--json")
        self.assertTrue(3 * 128 < some["training_tokens"] <= 3 * 129)
        self.assertGreater(some["nll"], done["nll"])
        self.fails("data", "ngram", self.folder, says="no token shards")


if __name__ == "__main__":
    unittest.main()
