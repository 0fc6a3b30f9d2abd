"""Every command: what it prints, as text and as JSON, how it fails, and with which exit code."""
import ctypes
import json
import os
import pathlib
import pty
import resource
import signal
import subprocess
import tempfile
import time
import unittest

from common import GOLDEN, MINKE, SMOLLM, Case, counts_memory, default_interrupt, environment, needs_smollm

COMMANDS = ["run", "chat", "pull", "models", "inspect", "tokenize", "render", "perplexity", "bench", "verify", "quantize", "convert", "imatrix", "kl", "serve"]
GOLDEN_MODELS = sorted(p for p in (GOLDEN / "models").iterdir() if p.is_dir())
QWEN = GOLDEN / "tokenizer" / "qwen2"


class Usage(Case):
    def test_help_has_examples(self):
        out, _ = self.minke("--help")
        for command in COMMANDS:
            self.assertIn(command, out)
            text, err = self.minke(command, "--help")
            self.assertIn("Examples:\n  ", text, command)
            self.assertIn(f"minke {command} ", text.split("Examples:")[1])
            self.assertEqual(err, "")

    def test_version(self):
        self.assertRegex(self.minke("--version")[0], r"^minke \d+\.\d+\.\d+\n$")

    def test_usage_errors_end_with_2(self):
        self.fails(says="which command", code=2)
        self.fails("dance", says="no command 'dance'", code=2)
        for command in ["run", "chat", "inspect", "tokenize", "render", "perplexity", "bench", "verify", "quantize"]:
            self.fails(command, says=["MODEL is required", "minke pull"], code=2)
        self.fails("pull", says="NAME is required", code=2)
        self.fails("pull", "not a name", says="ORG/NAME", code=2)
        for flags, says in [
            (["--isa", "mmx"], "unknown instruction set 'mmx'"),
            (["--threads", "0"], "--threads"),
            (["--temperature", "-1"], "--temperature: -1 is out of range"),
            (["--top-p", "0"], "--top-p"),
            (["--logit-bias", "7"], "--logit-bias"),
            (["--template-kwargs", "[1]"], "--template-kwargs"),
            (["--nonsense"], "--nonsense"),
            (["--logprobs", "2"], "--json"),
            (["--activations", "f17"], "--activations"),
        ]:
            self.fails("run", "MODEL", "hello", *flags, says=says, code=2)
        self.fails("verify", "M", "G", "--feed", "spoon", says=["--feed", "ragged:SEED"], code=2)
        self.fails("run", "M", "a", "--file", "b", says="--file", code=2)

    def test_what_is_not_there_is_named(self):
        for args in (["run", "nowhere.gguf", "hello"], ["inspect", "nowhere.gguf"], ["chat", "nowhere.gguf"],
                     ["tokenize", "nowhere.gguf", "a"], ["bench", "nowhere.gguf"]):
            self.fails(*args, says=["nowhere.gguf", "minke pull"])
        self.fails("run", "some/model", "hello", says="`minke pull some/model` fetches it")

    def test_a_folder_without_weights_is_named(self):
        with tempfile.TemporaryDirectory() as folder:
            self.fails("run", folder, "hello", says=folder)


class GoldenModels(Case):
    def test_inspect(self):
        for model in GOLDEN_MODELS:
            shape = self.json("inspect", model, "--json")
            config = json.loads((model / "config.json").read_text())
            self.assertEqual(shape["hidden_size"], config["hidden_size"])
            self.assertEqual(shape["vocabulary"], config["vocab_size"])
            self.assertLessEqual(shape["active_parameters"], shape["parameters"])
            self.assertGreater(shape["memory"]["total"], shape["weight_bytes"])
            text, _ = self.minke("inspect", model, "--ctx", 64)
            for row in ["architecture", "parameters", "active per token", "context", "formats", "tokenizer", "licence",
                        "memory, --ctx 64"]:
                self.assertIn(row, text)

    def test_verify(self):
        for model in GOLDEN_MODELS:
            rows = self.json("verify", model, model / "golden.safetensors", "--json")
            self.assertTrue(all(row["ok"] for row in rows), rows)
            self.assertIn("logits", [row["tensor"] for row in rows])

    def test_verify_fails_beyond_the_tolerance(self):
        model = GOLDEN / "models" / "llama"
        out, _ = self.minke("verify", model, model / "golden.safetensors", "--tolerance", "1e-12", code=1)
        self.assertIn("BEYOND", out)
        other = GOLDEN / "models" / "qwen2" / "golden.safetensors"
        self.minke("verify", model, other, code=1)

    def test_bench(self):
        result = self.json("bench", GOLDEN / "models" / "llama", "-p", 16, "-n", 4, "-d", "0,32", "-r", 1, "--json")
        self.assertEqual([r["depth"] for r in result["results"]], [0, 32])
        for row in result["results"]:
            for key in ["prefill_tok_s", "decode_tok_s", "prefill_share", "decode_share", "limit_read_gb_s"]:
                self.assertGreater(row[key], 0)
        self.assertGreater(result["weights"]["bytes"], 0)
        self.assertEqual(result["weights"]["locked"], 0)
        several = self.json("bench", GOLDEN / "models" / "deepseek_v3", "-p", 0, "-n", 4, "-s", 3, "-d", "0,70", "-r", 1, "--json")
        self.assertEqual(several["sequences"], 3)
        for row in several["results"]:
            self.assertGreater(row["decode_tok_s"], 0)
            self.assertEqual(row["prefill_tok_s"], 0)

    def test_run_says_what_is_missing(self):
        self.fails("run", GOLDEN / "models" / "llama", "hello", says="tokenizer.json")

    def test_r2_preset(self):
        r2 = self.json("inspect", "preset:r2", "--json")
        self.assertEqual(r2["parameters"], 671_877_944_064)
        self.assertEqual(r2["active_parameters"], 38_403_822_336)
        self.assertEqual(r2["active_without_embedding"], 37_477_143_296)
        self.assertEqual(r2["mtp_parameters"], 11_624_027_648)
        self.assertEqual(r2["cache_parts_bf16"], {"latent": 70_272, "indexer": 15_616, "padding": 0})
        self.assertEqual(r2["cache_bytes_262144_bf16"], 61 * (1152 + 256) * 262_144)
        self.assertIn("18.42 GB", self.minke("inspect", "preset:r2")[0])
        self.fails("inspect", "preset:r9", says="r9")


class Tokenize(Case):
    def test_golden_cases_both_ways(self):
        forms = {"ids": "all", "ids_special_as_text": "not-special", "ids_no_added": "none"}
        cases = [json.loads(line) for line in (QWEN / "cases.jsonl").read_text().split("\n") if line]
        seen = set()
        for case in [c for c in cases if "ids_no_added" in c][:6] + cases[:6]:
            for form in forms:
                if form not in case:
                    continue
                seen.add(form)
                tokens = self.json("tokenize", QWEN, "--added", forms[form], "--json", input=case["text"].encode())
                self.assertEqual(tokens["ids"], case[form], case["text"])
            ids = " ".join(map(str, case["ids"]))
            self.assertEqual(self.minke("tokenize", QWEN, ids, "--decode")[0], case["decoded"])
        self.assertEqual(seen, set(forms))

    def test_pieces_join_to_the_text(self):
        text = "Grüße, 世界 🙂\n\tif x:  pass"
        tokens = self.json("tokenize", QWEN / "tokenizer.json.gz" if (QWEN / "tokenizer.json.gz").exists()
                           else QWEN / "tokenizer.json", "--json", text)
        self.assertEqual(tokens["text"], text)
        self.assertEqual(self.minke("tokenize", QWEN, "--decode", input=json.dumps(tokens).encode())[0], text)
        self.assertEqual(len(tokens["pieces"]), len(tokens["ids"]))
        table, _ = self.minke("tokenize", QWEN, "--table", text)
        self.assertEqual(len(table.splitlines()), len(tokens["ids"]))

    def test_half_a_character_comes_back_byte_for_byte(self):
        ids, _ = self.minke("tokenize", QWEN, "🙂𝄞")
        parts = ids.split()
        raw = b"".join(subprocess.run([MINKE, "tokenize", str(QWEN), "--decode", i], capture_output=True, check=True).stdout
                       for i in parts)
        self.assertEqual(raw.decode(), "🙂𝄞")

    def test_mistakes_are_named(self):
        self.fails("tokenize", QWEN, "--decode", "1 two", says="'two' is no token id")
        self.fails("tokenize", QWEN, "--decode", "99999999", says="99999999")
        self.fails("tokenize", QWEN, input=b"ab\xff", says="not UTF-8 at byte 2")

    @needs_smollm
    def test_typed_control_tokens_stay_text(self):
        added = self.json("tokenize", SMOLLM, "<|im_end|>", "--json")["ids"]
        typed = self.json("tokenize", SMOLLM, "<|im_end|>", "--added", "none", "--json")
        self.assertEqual(len(added), 1)
        self.assertNotIn(added[0], typed["ids"])
        self.assertEqual(typed["text"], "<|im_end|>")
        with tempfile.TemporaryDirectory() as folder:
            messages = pathlib.Path(folder, "m.json")
            messages.write_text(json.dumps([{"role": "user", "content": "a<|im_end|>b"}]))
            shown = self.json("render", SMOLLM, messages, "--json")
        self.assertIn(["given", "a<|im_end|>b"], shown["pieces"])
        plain = "".join(text for _, text in shown["pieces"])
        self.assertEqual(shown["text"], plain)
        everywhere = self.json("tokenize", SMOLLM, plain, "--json")["ids"]
        self.assertEqual(everywhere.count(added[0]), shown["ids"].count(added[0]) + 1)


@needs_smollm
class SmolLM(Case):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def test_inspect(self):
        shape = self.json("inspect", SMOLLM, "--ctx", 2048, "--json")
        self.assertEqual(shape["architecture"], "llama")
        self.assertEqual(shape["parameters"], 134_515_008)
        self.assertEqual(shape["licence"], "apache-2.0")
        self.assertEqual(shape["memory"]["context"], 2048)
        self.assertLessEqual(shape["page_cache"]["huge_pages"], shape["page_cache"]["bytes"])
        self.assertLessEqual(shape["page_cache"]["bytes"], SMOLLM.stat().st_size)

    @counts_memory
    def test_run_announces_its_memory(self):
        text = "The quick brown fox jumps over the lazy dog. " * 40
        announced = self.json("inspect", SMOLLM, "--ctx", 512, "--json")["memory"]["total"]
        child = subprocess.Popen([MINKE, "run", str(SMOLLM), "--raw", "--ctx", "512", text, "--ignore-end"],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(child.returncode, 0)
        self.assertLess(abs(announced / (usage.ru_maxrss * 1024) - 1), 0.05)

    def test_tools_render_as_the_template_says(self):
        golden = json.loads((GOLDEN / "chat" / "qwen2.5_coder" / "cases.json").read_text())
        # Users' arguments may be JSON as text; the golden renderings took such text as it is.
        cases = [c for c in golden["cases"]
                 if c["tools"] and "rendered" in c and not any(m.get("tool_calls") for m in c["messages"])]
        self.assertTrue(cases)
        template = GOLDEN / "chat" / "qwen2.5_coder" / "template.jinja"
        for case in cases[:4]:
            messages, tools = self.folder / "messages.json", self.folder / "tools.json"
            messages.write_text(json.dumps(case["messages"]))
            tools.write_text(json.dumps(case["tools"]))
            shown = self.json("render", SMOLLM, messages, "--tools", tools, "--chat-template", template, "--json",
                              *([] if case["add_generation_prompt"] else ["--no-generation-prompt"]))
            self.assertEqual(shown["text"], case["rendered"], case["name"])

    def test_perplexity(self):
        text = GOLDEN / "real" / "text.txt"
        result = self.json("perplexity", SMOLLM, text, "--tokens", 256, "--ctx", 256, "--activations", "f32", "--json")
        self.assertEqual(result["tokens"], 255)
        self.assertAlmostEqual(result["perplexity"], 27.398, delta=0.03)
        self.fails("perplexity", SMOLLM, self.folder / "no.txt", says="no.txt")

    def test_drafts_change_no_answer(self):
        ask = ["run", SMOLLM, "Write a list of the days of the week, three times.", "--json", "-n", 60, "--temperature", 0]
        plain = self.json(*ask, "--draft", 0)
        self.assertEqual(plain["drafted_tokens"], 0)
        for by in ["auto", "lookup"]:
            drafted = self.json(*ask, "--draft-by", by)
            self.assertEqual(drafted["text"], plain["text"])
            self.assertGreater(drafted["accepted_tokens"], 0)
        self.fails(*ask, "--draft-by", "mtp", says=["no MTP layer", "lookup"])
        self.minke(*ask, "--draft-by", "guessing", code=2)

    def test_logprobs(self):
        answer = self.json("run", SMOLLM, "The capital of France is", "--json", "--logprobs", 3, "-n", 5)
        self.assertEqual(len(answer["logprobs"]), answer["output_tokens"])
        for entry in answer["logprobs"]:
            self.assertEqual(len(entry["top"]), 3)
            self.assertEqual(entry["top"][0]["id"], entry["id"])  # greedy
            self.assertEqual(entry["logprob"], entry["top"][0]["logprob"])
            self.assertLessEqual(entry["logprob"], 0)
        self.assertEqual(answer["text"], "".join(e["token"] for e in answer["logprobs"])[:len(answer["text"])])

    def test_prompts_from_everywhere(self):
        file = self.folder / "prompt.txt"
        file.write_text("Say hello.")
        flags = ["--json", "-n", 6]
        answers = [self.json("run", SMOLLM, "Say", "hello.", *flags)["text"],
                   self.json("run", SMOLLM, "--file", file, *flags)["text"],
                   self.json("run", SMOLLM, *flags, input=b"Say hello.")["text"],
                   self.json("run", SMOLLM, "-", *flags, input=b"Say hello.")["text"],
                   self.minke("run", SMOLLM, "Say hello.", "-n", 6)[0].rstrip("\n")]
        self.assertEqual(len(set(answers)), 1, answers)
        self.fails("run", SMOLLM, says="the prompt is empty")

    def test_same_seed_same_answer_on_any_number_of_threads(self):
        answers = {self.minke("run", SMOLLM, "Tell a story.", "-n", 24, "--temperature", 0.9, "--seed", 5, "--threads", n)[0]
                   for n in (1, 2, 7)}
        self.assertEqual(len(answers), 1, answers)
        other = self.minke("run", SMOLLM, "Tell a story.", "-n", 24, "--temperature", 0.9, "--seed", 6)[0]
        self.assertNotIn(other, answers)

    def test_answers_do_not_depend_on_where_weights_lie(self):
        command = ["run", SMOLLM, "--raw", "One two three", "-n", 8, "--ignore-end", "--temperature", 0, "--timing"]
        plain, err = self.minke(*command)
        self.assertIn("[weights 0.10 GB", err)
        for flags in (["--huge-pages", "off"], ["--huge-pages", "on"], ["--numa", "spread"], ["--numa", "replicate"],
                      ["--repack"], ["--repack", "--numa", "spread", "--lock"]):
            out, err = self.minke(*command, *flags)
            self.assertEqual(out, plain, flags)
            if "--repack" in flags:
                self.assertTrue("interleaved" in err or "nothing is faster so with" in err, err)
            if "--numa" in flags and len(list(pathlib.Path("/sys/devices/system/node").glob("node[0-9]*"))) == 1:
                self.assertIn("one NUMA node", err)

    def test_interleaving_that_gains_nothing_is_said(self):
        _, err = self.minke("run", SMOLLM, "--raw", "One two", "-n", 1, "--repack", "--isa", "scalar", "--timing")
        self.assertIn("--repack changes nothing: nothing is faster so with scalar", err)
        self.assertNotIn("interleaved", err)

    def test_locked_weights(self):
        def little_memory_to_lock():
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))

        command = [MINKE, "run", SMOLLM, "--raw", "One two", "-n", "1", "--lock", "--timing"]
        done = subprocess.run(command, capture_output=True, text=True, preexec_fn=little_memory_to_lock)
        if done.returncode == 0:  # root's locks have no limit
            self.assertIn("locked", done.stderr)
        else:
            self.assertIn("RLIMIT_MEMLOCK allows 0.1 MB", done.stderr)
            self.assertIn("ulimit -l unlimited", done.stderr)

    def test_no_huge_pages_is_said(self):
        def without_huge_pages():
            ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE, which children inherit

        command = [MINKE, "run", SMOLLM, "--raw", "One two", "-n", "1", "--huge-pages", "on", "--timing"]
        done = subprocess.run(command, capture_output=True, text=True, preexec_fn=without_huge_pages)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("no huge pages", done.stderr)
        self.assertIn("none on huge pages", done.stderr)

    def test_a_full_context_is_an_end_with_a_reason(self):
        answer = self.json("run", SMOLLM, "--raw", "One two three", "--ctx", 40, "--ignore-end", "--json")
        self.assertEqual(answer["finish_reason"], "context")
        self.assertEqual(answer["prompt_tokens"] + answer["output_tokens"], 40)
        _, err = self.minke("run", SMOLLM, "--raw", "One two three", "--ctx", 40, "--ignore-end")
        self.assertIn("the context of 40 tokens is full", err)
        self.fails("run", SMOLLM, "one two three " * 40, "--ctx", 40, says=["context", "--ctx"])
        self.fails("run", SMOLLM, "hello", "--ctx", 1 << 26, says="made for 8192", code=2)

    def test_a_download_cut_short(self):
        cut = self.folder / "cut.gguf"
        with SMOLLM.open("rb") as whole:
            cut.write_bytes(whole.read(60 << 20))
        for command in (["run", cut, "hello"], ["inspect", cut], ["chat", cut], ["bench", cut]):
            err = self.fails(*command, says=["cut.gguf", "tensor"])
            self.assertRegex(err, r"\d{6,}")
        cut.write_bytes(cut.read_bytes()[:1000])
        self.fails("run", cut, "hello", says="cut.gguf")
        cut.write_bytes(b"<html>not found</html>")
        self.fails("run", cut, "hello", says="cut.gguf")

    def test_interrupted_with_130(self):
        text = self.folder / "text.txt"
        text.write_text((GOLDEN / "real" / "text.txt").read_text() * 20)
        for args in (["run", SMOLLM, "Count to ten thousand.", "--ignore-end"], ["perplexity", SMOLLM, text],
                     ["bench", SMOLLM, "-p", "2048", "-r", "50"], ["imatrix", SMOLLM, text, "-o", self.folder / "m.gguf"]):
            child = subprocess.Popen([MINKE, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                     stdin=subprocess.DEVNULL, preexec_fn=default_interrupt)
            time.sleep(1.5)
            child.send_signal(signal.SIGINT)
            _, err = child.communicate(timeout=60)
            self.assertEqual(child.returncode, 130, (args, err))
            self.assertEqual(err, b"")

    def test_a_reader_that_goes_away(self):
        done = subprocess.run(f"'{MINKE}' run '{SMOLLM}' 'Write a long list.' --ignore-end -n 400 | head -c 1",
                              shell=True, capture_output=True, timeout=60)
        self.assertEqual(len(done.stdout), 1)
        self.assertEqual(done.stderr, b"")
        with open("/dev/full", "wb") as full:
            done = subprocess.run([MINKE, "inspect", str(SMOLLM)], stdout=full, stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"standard output", done.stderr)

    def test_bars_on_terminals_only(self):
        args = [MINKE, "perplexity", str(SMOLLM), str(GOLDEN / "real" / "text.txt"), "--ctx", "64"]
        self.assertEqual(subprocess.run(args, capture_output=True).stderr, b"")
        ours, theirs = pty.openpty()
        done = subprocess.run(args, stdout=subprocess.PIPE, stderr=theirs, env=environment(NO_COLOR="1"))
        os.close(theirs)
        drawn = os.read(ours, 1 << 16)
        os.close(ours)
        self.assertIn(b"tokens", drawn)
        self.assertNotIn(b"\x1b", drawn)
        self.assertIn(b"perplexity", done.stdout)


if __name__ == "__main__":
    unittest.main()
