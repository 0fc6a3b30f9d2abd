"""What the end-to-end tests share. MINKE names the binary, MINKE_MODELS the folder with the real models."""
import json
import os
import pathlib
import signal
import subprocess
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
MINKE = os.environ.get("MINKE", str(ROOT / "build" / "release" / "minke"))
MODELS = pathlib.Path(os.environ.get("MINKE_MODELS", ROOT / "models"))
SMOLLM = MODELS / "SmolLM2-135M-Instruct.Q4_1.gguf"

needs_smollm = unittest.skipUnless(
    SMOLLM.is_file(), f"{SMOLLM} is not there: tools/fetch_model smollm2 fetches it, MINKE_MODELS names its folder")

# Sanitizers have memory of their own.
counts_memory = unittest.skipIf(os.environ.get("MINKE_SANITIZE"), "a build with sanitizers takes more memory than the program")


def default_interrupt():
    """A shell may have started us with SIGINT ignored, and that is inherited."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def environment(home=None, **variables):
    """An environment in which no setting of the user's reaches minke."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "XDG_", "MINKE")) and "proxy" not in k.lower()}
    kept.update(LANG="C.UTF-8", HOME=str(home or "/nonexistent"), **variables)
    return kept


def write_texts(folder):
    """A folder of short pages to train on: always the same, as what a test learns must not depend on the documentation."""
    folder.mkdir()
    pages = (ROOT / "tests" / "real" / "text.txt").read_text()[:24_000].split("\n## ")
    for number, page in enumerate(pages):
        (folder / f"{number:02}.md").write_text(page)
    return folder


def run_minke(*args, timeout=600):
    """What minke prints; it must do without an error."""
    done = subprocess.run([MINKE, *map(str, args)], capture_output=True, timeout=timeout, env=environment())
    if done.returncode:
        raise RuntimeError(f"minke {args}: {done.stderr.decode()}")
    return done.stdout.decode()


class Case(unittest.TestCase):
    def minke(self, *args, code=0, input=b"", env=None, timeout=120):
        """Runs minke; stdout and stderr come back as text, and the exit code must be `code`."""
        done = subprocess.run([MINKE, *map(str, args)], input=input, capture_output=True, timeout=timeout,
                              env=env or environment(), preexec_fn=default_interrupt)
        out, err = done.stdout.decode(), done.stderr.decode()
        self.assertEqual(done.returncode, code, f"minke {args}\nstdout: {out[:2000]}\nstderr: {err[:2000]}")
        return out, err

    def json(self, *args, **options):
        return json.loads(self.minke(*args, **options)[0])

    def fails(self, *args, says, code=1, **options):
        """Runs minke and expects one line of error that has every text of `says`."""
        _, err = self.minke(*args, code=code, **options)
        for text in [says] if isinstance(says, str) else says:
            self.assertIn(text, err)
        self.assertTrue(err.startswith("minke: "), err)
        return err
