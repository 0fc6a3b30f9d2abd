"""minke imatrix, quantize --importance and kl: what is collected helps on text it has not seen, and mistakes are named."""
import pathlib
import tempfile
import unittest

from common import GOLDEN, ROOT, SMOLLM, Case, needs_smollm

SEEN, HELD_OUT = ROOT / "tests" / "real" / "text.txt", GOLDEN / "real" / "text.txt"


class Folder(Case):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.matrix = self.folder / "m.gguf"


@needs_smollm
class RealModel(Folder):
    def test_importance_lowers_the_divergence_on_other_text(self):
        done = self.json("imatrix", SMOLLM, SEEN, "-o", self.matrix, "--tokens", 600, "--ctx", 256, "--json")
        self.assertEqual((done["tokens"], done["windows"], done["window"]), (600, 3, 256))
        self.assertEqual(done["tensors"], 30 * 7 + 1)

        def divergence(model):
            return self.json("kl", SMOLLM, model, HELD_OUT, "--ctx", 256, "--tokens", 400, "--json")

        # Rows of 1536 only: the others fill no blocks of 256.
        rules = ["--type", "ffn_down=Q2_K,default=keep", "--allow-requantize", "--json"]
        self.json("quantize", SMOLLM, self.folder / "without.gguf", *rules)
        with_it = self.json("quantize", SMOLLM, self.folder / "with.gguf", *rules, "--importance", self.matrix)
        self.assertEqual(with_it["without_importance"], [])
        plain, weighted = (divergence(self.folder / f"{name}.gguf") for name in ("without", "with"))
        self.assertLess(weighted["kl"]["mean"], 0.9 * plain["kl"]["mean"])
        self.assertEqual(weighted["a"], plain["a"])
        self.assertEqual(weighted["b"]["model"], str(self.folder / "with.gguf"))
        for d in (plain, weighted):
            self.assertTrue(0 < d["kl"]["median"] < d["kl"]["p99"] <= d["kl"]["max"], d)
            self.assertTrue(0 < d["kl"]["standard_error"] < d["kl"]["mean"], d)
            self.assertTrue(0.3 < d["same_top"] < 1, d)

        # The older format says the same.
        self.minke("imatrix", SMOLLM, SEEN, "-o", self.folder / "m.dat", "--tokens", 600, "--ctx", 256)
        self.json("quantize", SMOLLM, self.folder / "old.gguf", *rules, "--importance", self.folder / "m.dat")
        old, new = ((self.folder / f"{name}.gguf").read_bytes() for name in ("old", "with"))
        self.assertEqual(old[-(1 << 20):], new[-(1 << 20):])

    def test_a_model_from_itself(self):
        same = self.json("kl", SMOLLM, SMOLLM, HELD_OUT, "--tokens", 200, "--ctx", 128, "--json")
        self.assertEqual((same["kl"]["mean"], same["kl"]["max"], same["same_top"]), (0, 0, 1))
        alone = self.json("perplexity", SMOLLM, HELD_OUT, "--tokens", 200, "--ctx", 128, "--json")
        self.assertEqual((same["a"]["nll"], same["tokens"]), (alone["nll"], alone["tokens"]))
        text, _ = self.minke("kl", SMOLLM, SMOLLM, HELD_OUT, "--tokens", 200, "--ctx", 128)
        for part in ["KL divergence   0.000000", "99th percentile", "100.00", "of A", "of B"]:
            self.assertIn(part, text)

    def test_mistakes_are_named(self):
        self.fails("kl", SMOLLM, GOLDEN / "models" / "llama", HELD_OUT, says="llama")
        self.fails("kl", SMOLLM, SMOLLM, self.folder / "no.txt", says="no.txt")
        self.matrix.write_text("mine")
        self.fails("imatrix", SMOLLM, SEEN, "-o", self.matrix, says=["m.gguf", "--force"])
        self.assertEqual(self.matrix.read_text(), "mine")
        self.fails("imatrix", SMOLLM, SEEN, "-o", self.folder / "no" / "m.gguf", says="is no folder")
        (self.folder / "empty.txt").write_text("")
        self.fails("imatrix", SMOLLM, self.folder / "empty.txt", "-o", self.folder / "n.gguf", says="empty.txt")
        self.assertEqual(sorted(p.name for p in self.folder.iterdir()), ["empty.txt", "m.gguf"])
        quantize = ["quantize", SMOLLM, self.folder / "out.gguf", "--type", "Q4_0", "--allow-requantize", "--importance"]
        self.fails(*quantize, self.matrix, says="m.gguf")
        self.fails(*quantize, self.folder / "none.gguf", says="none.gguf")
        self.fails(*quantize, SMOLLM, says="is no importance matrix")
        self.old_file(1000)
        self.fails(*quantize, self.folder / "old.dat", says=["old.dat", "'blk.0.ffn_down.weight'", "1000", "another model"])

    def old_file(self, width):
        """Importance of one tensor, all columns alike."""
        name = b"blk.0.ffn_down.weight"
        numbers = [n.to_bytes(4, "little") for n in (1, len(name), 1, width)]
        (self.folder / "old.dat").write_bytes(b"".join([*numbers[:2], name, *numbers[2:]]) + b"\0\0\x80\x3f" * width)

    def test_what_has_no_importance_is_said(self):
        self.old_file(1536)
        _, err = self.minke("quantize", SMOLLM, self.folder / "out.gguf", "--type", "ffn_down=Q4_0,attn_q=Q4_0,default=keep",
                            "--allow-requantize", "--importance", self.folder / "old.dat", "--dry-run")
        self.assertRegex(err, r"warning: no importance for 'blk\.0\.attn_q\.weight', .* and \d+ more")


if __name__ == "__main__":
    unittest.main()
