"""minke train on several ranks of one machine: the same losses and weights as one, whatever is divided; resumed on
other numbers of ranks; ended when one of them is lost."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from common import MINKE, Case, environment, write_texts
from train_test import CONFIG, run_config

MPIRUN = shutil.which("mpirun")
# Ranks on one machine, perhaps more than it has processors, perhaps in a container: they yield while they wait.
SETTINGS = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_mpi_yield_when_idle": "1",
            "OMPI_MCA_btl_vader_single_copy_mechanism": "none", "OMPI_MCA_rmaps_base_oversubscribe": "1",
            "OMPI_MCA_hwloc_base_binding_policy": "none", "OMPI_MCA_btl": "self,vader",
            # The library keeps memory to its end; a build under a sanitizer is not to count that.
            "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}
# Sums over ranks are made in another order, so gradients differ in the last bits of f32, and AdamW, which divides by
# the root of its second moment, makes those of a small gradient count like those of a large one. Seen over these 12
# steps: 1.1e-6 of a loss (the indexer's; others 2e-8), 2e-5 of a matrix's largest weight.
LOSS_TOLERANCE, WEIGHT_TOLERANCE = 1e-5, 2e-4
STEPS = 12


def reason():
    if not MPIRUN:
        return "there is no mpirun (Debian: openmpi-bin)"
    probe = subprocess.run([MPIRUN, "-n", "1", MINKE, "train", "none.json"], capture_output=True,
                           env=environment(home=tempfile.gettempdir(), **SETTINGS))
    return "this minke is built without MPI" if b"rank 0 of 1" not in probe.stderr else None


WHY_NOT = reason()
if WHY_NOT:
    print(f"skipped: {WHY_NOT}", flush=True)


def weights(model):
    """The tensors of a safetensors file in F32, by name."""
    import array
    data = model.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + size])
    result = {}
    for name, tensor in header.items():
        if name != "__metadata__":
            begin, end = tensor["data_offsets"]
            result[name] = array.array("f", data[8 + size + begin:8 + size + end])
    return result


@unittest.skipIf(WHY_NOT, WHY_NOT)
class Ranks(Case):
    @classmethod
    def setUpClass(cls):
        cls.folder_of_class = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder_of_class.cleanup)
        cls.folder = pathlib.Path(cls.folder_of_class.name)
        tokenizer = cls.folder / "tokenizer"
        texts = write_texts(cls.folder / "texts")
        for args in (("tokenizer", "train", texts, "-o", tokenizer, "--vocab", "300"),
                     ("data", texts, "--tokenizer", tokenizer, "-o", cls.folder / "data", "--val", "0.1")):
            subprocess.run([MINKE, *args], check=True, capture_output=True, env=environment())

    def config(self, output, parallel=None, **changes):
        stage = {"steps": STEPS, "pass": 2, "warmup": 3, "sequence": 32, "evaluate_steps": STEPS, "indexer": "learns"}
        stage.update(changes.pop("stage", {}))
        path = self.folder / f"{output}.json"
        # The indexer chooses all keys of a sequence: which of two nearly equal ones it takes is up to the last bits.
        changes.setdefault("model", {"config": {**CONFIG, "index_topk": stage["sequence"]}, "deviation": 0.02})
        path.write_text(json.dumps(run_config(output=output, stage=stage, precision="f32", threads=1,
                                              parallel=parallel or {}, **changes)))
        return path

    def command(self, ranks, *args):
        return [MPIRUN, "-n", str(ranks), MINKE, "train", *map(str, args)]

    def on(self, ranks, *args, code=0):
        done = subprocess.run(self.command(ranks, *args), capture_output=True, timeout=120,
                              env=environment(home=self.folder, **SETTINGS))
        self.assertEqual(done.returncode, code, done.stderr.decode()[-3000:])
        return done.stdout.decode(), done.stderr.decode()

    def log(self, output):
        return [json.loads(line) for line in (self.folder / output / "log.jsonl").read_text().splitlines()]

    def assert_same_run(self, output, of):
        lines, expected = self.log(output), self.log(of)
        self.assertEqual(len(lines), len(expected))
        for a, b in zip(lines, expected):
            self.assertEqual(a["step"], b["step"])
            for key in ("loss", "mtp_loss", "balance_loss", "indexer_loss", "norm", "held_out_loss"):
                self.assertEqual(key in a, key in b)
                if key in a:
                    self.assertLess(abs(a[key] - b[key]), LOSS_TOLERANCE * abs(b[key]),
                                    (output, a["step"], key))
            self.assertEqual(a.get("tokens"), b.get("tokens"))
        model, expected = (weights(self.folder / o / "model" / "model.safetensors") for o in (output, of))
        self.assertEqual(model.keys(), expected.keys())
        for name, values in model.items():
            largest = max(map(abs, expected[name]))
            worst = max(abs(x - y) for x, y in zip(values, expected[name]))
            self.assertLessEqual(worst, WEIGHT_TOLERANCE * largest, (output, name))

    def whole(self):
        """The run on one process, which the others are held to."""
        if not (self.folder / "whole").exists():
            self.minke("train", self.config("whole"))
        return "whole"

    def assert_traffic_as_announced(self, output, ranks, tolerance):
        plan = self.json("train", self.folder / f"{output}.json", "--dry-run", "--ranks", ranks, "--json")
        announced = plan["stages"][0]["sent_bytes"]
        for line in self.log(output):
            if "sent_bytes" in line:
                self.assertLess(abs(line["sent_bytes"] - announced), tolerance * announced, (output, line))

    def test_one_rank_of_a_launcher_is_as_a_process_alone(self):
        self.on(1, self.config("one"))
        whole = self.whole()
        self.assertEqual((self.folder / "one/model/model.safetensors").read_bytes(),
                         (self.folder / whole / "model/model.safetensors").read_bytes())

    def test_data_parallel(self):
        for ranks in (2, 4):
            self.on(ranks, self.config(f"data{ranks}"))
            self.assert_same_run(f"data{ranks}", self.whole())
            self.assert_traffic_as_announced(f"data{ranks}", ranks, 0.01)

    def test_divided_moments_give_the_same_bits_as_whole_ones(self):
        for ranks in (2, 4):
            if not (self.folder / f"data{ranks}").exists():
                self.on(ranks, self.config(f"data{ranks}"))
            self.on(ranks, self.config(f"zero{ranks}", {"zero": 1}))
            self.assert_traffic_as_announced(f"zero{ranks}", ranks, 0.01)
            name = pathlib.Path("model") / "model.safetensors"
            self.assertEqual((self.folder / f"zero{ranks}" / name).read_bytes(),
                             (self.folder / f"data{ranks}" / name).read_bytes())
        plans = [self.json("train", self.folder / f"{o}.json", "--dry-run", "--ranks", 4, "--json")["memory"]["moments"]
                 for o in ("data4", "zero4")]
        self.assertLess(abs(plans[0] / plans[1] - 4), 0.2)

    def test_experts_over_ranks(self):
        for output, ranks, parallel in (("experts2", 2, {"experts": 2}), ("experts4", 4, {"experts": 4}),
                                        ("both", 4, {"experts": 2, "zero": 1})):
            self.on(ranks, self.config(output, parallel))
            self.assert_same_run(output, self.whole())
            self.assert_traffic_as_announced(output, ranks, 0.04)  # announced for experts that are evenly loaded

    def test_muon_and_adapters(self):
        name = pathlib.Path("model") / "model.safetensors"
        muon = {"optimizer": "muon", "steps": 4}
        self.minke("train", self.config("muon1", stage=muon))
        self.on(2, self.config("muon2", {"experts": 2}, stage=muon))
        self.assert_same_run("muon2", "muon1")
        llama = {"architectures": ["LlamaForCausalLM"], "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
                 "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 300, "rms_norm_eps": 1e-5,
                 "rope_theta": 10000, "max_position_embeddings": 64, "tie_word_embeddings": True}
        plain = {"indexer": "none"}
        self.minke("train", self.config("llama", stage=plain, model={"config": llama, "deviation": 0.05}))
        adapters = {**plain, "lora": {"rank": 4}, "rate": 0.02}
        for ranks in (1, 2):
            config = self.config(f"adapters{ranks}", stage=adapters, model={"from": "llama/model"})
            self.on(ranks, config) if ranks > 1 else self.minke("train", config)
        self.assert_same_run("adapters2", "adapters1")
        self.assert_traffic_as_announced("adapters2", 2, 0.05)
        self.assertNotEqual((self.folder / "adapters1" / name).read_bytes(), (self.folder / "llama" / name).read_bytes())

    def test_a_checkpoint_goes_on_with_other_numbers_of_ranks(self):
        config = self.config("moved", {"zero": 1}, checkpoint_steps=3, keep=9)
        self.on(4, config)
        for ranks, step, parallel in ((1, 3, {}), (2, 6, {"experts": 2}), (4, 9, {"experts": 2, "zero": 1}), (2, 9, {})):
            # As if it had been ended after that step.
            config = self.config("moved", parallel, checkpoint_steps=3, keep=9)
            for checkpoint in (self.folder / "moved" / "checkpoints").glob("step-*"):
                if int(checkpoint.stem.split("-")[1]) > step:
                    checkpoint.unlink()
            _, said = self.on(ranks, config, "--resume")
            self.assertIn(f"goes on after step {step} ", said)
            self.assert_same_run("moved", self.whole())

    def test_the_unit_tests_of_collectives(self):
        test = pathlib.Path(MINKE).parent / "comm_test"
        for ranks in (1, 2, 4):
            done = subprocess.run([MPIRUN, "-n", str(ranks), test, "ranks"], capture_output=True, timeout=120,
                                  env=environment(home=self.folder, **SETTINGS))
            self.assertEqual(done.returncode, 0, done.stdout.decode()[-3000:] + done.stderr.decode()[-3000:])

    def test_a_rank_that_is_killed_ends_the_job_and_leaves_the_checkpoint(self):
        config = self.config("killed", stage={"steps": 100000}, checkpoint_steps=5)
        job = subprocess.Popen(self.command(2, config), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                               env=environment(home=self.folder, **SETTINGS))
        checkpoints = self.folder / "killed" / "checkpoints"
        deadline = time.monotonic() + 60
        while len(list(checkpoints.glob("step-*"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        pids = subprocess.run(["pgrep", "-P", str(job.pid)], capture_output=True, text=True).stdout.split()
        self.assertEqual(len(pids), 2)
        os.kill(int(pids[1]), signal.SIGKILL)
        began = time.monotonic()
        job.communicate(timeout=30)
        self.assertNotEqual(job.returncode, 0)
        self.assertLess(time.monotonic() - began, 15)
        step = max(int(p.stem.split("-")[1]) for p in checkpoints.glob("step-*.safetensors"))
        for signal_of_end in (signal.SIGTERM, signal.SIGUSR1):  # to one rank; to mpirun, which passes it on
            job = subprocess.Popen(self.command(2, config, "--resume"), stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, env=environment(home=self.folder, **SETTINGS), text=True)
            self.assertIn("goes on after step", job.stderr.readline())
            pids = subprocess.run(["pgrep", "-P", str(job.pid)], capture_output=True, text=True).stdout.split()
            os.kill(int(pids[1]) if signal_of_end == signal.SIGTERM else job.pid, signal_of_end)
            _, error = job.communicate(timeout=60)
            self.assertIn("--resume goes on", error)
            self.assertEqual(job.returncode, 130)
            now = max(int(p.stem.split("-")[1]) for p in checkpoints.glob("step-*.safetensors"))
            self.assertGreater(now, step)
            step = now

    def test_what_does_not_divide_is_named(self):
        _, error = self.on(2, self.config("odd", stage={"batch": 5}), code=1)
        for text in ("rank 0 of 2", "5 sequences", "2 ranks"):
            self.assertIn(text, error)
        one, other = self.config("one_config"), self.config("other_config", stage={"rate": 1e-3})
        done = subprocess.run([MPIRUN, "-n", "1", MINKE, "train", one, ":", "-n", "1", MINKE, "train", other],
                              capture_output=True, timeout=60, env=environment(home=self.folder, **SETTINGS))
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"1 of 2 ranks have another config than rank 0", done.stderr)
        self.assertFalse((self.folder / "one_config").exists())
        self.fails("train", one, env=environment(SLURM_STEP_NUM_TASKS="2"), says=["srun", "--mpi=pmix"])
        config = self.config("lost", stage={"data": "nowhere"})
        self.assertIn("nowhere", self.on(2, config, code=1)[1])
        config = self.config("three", {"experts": 3})
        self.assertIn("8 experts do not divide over 3 ranks", self.on(2, config, code=1)[1])
        config = self.config("many", {"experts": 4})
        self.assertIn("2 ranks are no groups of 4", self.on(2, config, code=1)[1])
        config = self.config("muon", {"zero": 1}, stage={"optimizer": "muon"})
        self.assertIn("Muon needs matrices as a whole", self.on(2, config, code=1)[1])
        self.fails("train", config, "--ranks", 2, code=2, says="--dry-run")


if __name__ == "__main__":
    unittest.main()
