"""serve, asked by openai and @anthropic-ai/sdk from npm, unmodified, on Node 22: clients.mjs has the checks."""
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import js
from common import ROOT, SMOLLM, Case, needs_smollm
from server import TEMPLATE, Server

WHY_NOT = js.install(["openai", "@anthropic-ai/sdk"]) if SMOLLM.is_file() else None
CHECKS = ["openai_chat", "openai_tools", "openai_responses", "openai_embeddings", "anthropic", "anthropic_tools"]


@needs_smollm
@unittest.skipIf(WHY_NOT, WHY_NOT)
class JavaScript(Case):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        template = pathlib.Path(cls.folder.name, "tools.jinja")
        template.write_text(TEMPLATE)
        cls.server = Server(SMOLLM, "--ctx", "2048", "--model-name", "smol", "--chat-template", template)
        shutil.copy(ROOT / "tests" / "e2e" / "clients.mjs", js.FOLDER)  # packages are found from there

    @classmethod
    def tearDownClass(cls):
        cls.server.end()
        cls.folder.cleanup()

    def test_clients(self):
        for check in CHECKS:
            with self.subTest(check):
                done = subprocess.run([js.NODE, "clients.mjs", self.server.url, check], cwd=js.FOLDER, capture_output=True,
                                      text=True, timeout=300, env=js.environment_of(self.folder.name))
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
