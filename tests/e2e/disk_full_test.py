"""serve while its disk is full or broken: calls of the system fail by libfiu (Debian's fiu-utils)."""
import errno
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
import unittest

from common import MINKE, SMOLLM, Case, environment, needs_smollm
from server import Server

# What fails, and how.
FAULTS = [("posix/io/rw/pwrite", errno.ENOSPC), ("posix/io/sync/fsync", errno.EIO), ("posix/io/oc/open", errno.ENOSPC),
          ("posix/io/dir/rename", errno.EROFS), ("posix/io/dir/mkdir", errno.EDQUOT)]


@needs_smollm
@unittest.skipUnless(shutil.which("fiu-run"), "fiu-utils is not installed")
class DiskFull(Case):
    @classmethod
    def setUpClass(cls):
        done = subprocess.run(["fiu-run", "-x", MINKE, "--version"], capture_output=True, text=True, env=environment())
        if done.returncode and os.environ.get("MINKE_SANITIZE"):
            raise unittest.SkipTest("libfiu cannot be loaded into a build with AddressSanitizer or ThreadSanitizer")

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.asked = 0

    def server(self, *flags, within=()):
        return Server(SMOLLM, "--ctx", "2048", "--parallel", "2", "--exact", "--cache", self.folder / "pages", *flags, within=within)

    def faults(self, server, command):
        subprocess.run(["fiu-ctrl", "-f", str(self.folder / "fiu"), "-c", command, str(server.process.pid)], check=True)

    def question(self):
        """One that shares no page with another."""
        self.asked += 1
        return {"messages": [{"role": "user", "content": f"{self.asked} stones lie on a shore. " * 30 + "What lies there?"}],
                "max_tokens": 12, "temperature": 0}

    def answer(self, server, body):
        status, answer = server.ask("/v1/chat/completions", body)
        self.assertEqual(status, 200, answer)
        return answer["choices"][0]["message"]["content"]

    def count(self, server, name):
        return server.metric(f"disk_cache_pages_{name}_total")

    def wait_for_more(self, server, name, than):
        until = time.monotonic() + 30
        while self.count(server, name) <= than:
            self.assertLess(time.monotonic(), until, f"pages {name}: still {than}")
            time.sleep(0.05)

    def test_pages_that_cannot_be_written_are_told_and_done_without(self):
        within = ["fiu-run", "-x", "-f", str(self.folder / "fiu")]
        told = {}
        with self.server(within=within) as server:
            self.answer(server, self.question())
            self.wait_for_more(server, "written", 0)
            for name, number in FAULTS:
                with self.subTest(fault=name):
                    failed = self.count(server, "failed")
                    body = self.question()
                    self.faults(server, f"enable name={name},failinfo={number}")
                    told[name] = (body, self.answer(server, body))
                    if name != "posix/io/dir/mkdir":  # fails only where a folder is new
                        self.wait_for_more(server, "failed", failed)
                    self.assertEqual(server.ask("/health")[0], 200)
                    self.faults(server, f"disable name={name}")
                    written = self.count(server, "written")
                    self.answer(server, self.question())
                    self.wait_for_more(server, "written", written)
            self.assertEqual(server.end()[0], 0)
        self.assertFalse([p.name for p in self.folder.rglob("*.partial-*")], "what was half written is gone")
        with self.server() as server:  # what is there is right, what is not is computed anew
            for name, (body, text) in told.items():
                self.assertEqual(self.answer(server, body), text, name)
            self.assertEqual(self.count(server, "discarded"), 0)

    def test_responses_that_cannot_be_kept_are_an_error_of_the_request(self):
        within = ["fiu-run", "-x", "-f", str(self.folder / "fiu")]
        body = {"input": "Say one word.", "max_output_tokens": 4}
        with self.server("--responses", self.folder / "responses.db", within=within) as server:
            kept = server.ask("/v1/responses", body)[1]["id"]
            for name in ["posix/io/rw/pwrite", "posix/io/rw/write"]:
                self.faults(server, f"enable name={name},failinfo={errno.ENOSPC}")
            status, answer = server.ask("/v1/responses", body)
            self.assertEqual((status, answer["error"]["message"]), (500, "the answer could not be kept"))
            self.assertEqual(server.ask("/v1/responses", {**body, "store": False})[0], 200)
            for name in ["posix/io/rw/pwrite", "posix/io/rw/write"]:
                self.faults(server, f"disable name={name}")
            status, answer = server.ask("/v1/responses", body)
            self.assertEqual(status, 200, answer)
            for response in [kept, answer["id"]]:
                self.assertEqual(server.ask(f"/v1/responses/{response}")[0], 200)


if __name__ == "__main__":
    unittest.main()
