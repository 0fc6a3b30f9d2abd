"""pull and models, against a stand-in for the hub on loopback."""
import hashlib
import http.server
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.parse

from common import GOLDEN, MINKE, Case, default_interrupt, environment

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TINY = GOLDEN / "models" / "llama"


def git_blob(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def is_large(path):
    return path.endswith((".gguf", ".safetensors"))


class Hub(http.server.ThreadingHTTPServer):
    """One repository. break_at: bytes after which the next large download loses its connection."""
    daemon_threads = True

    def __init__(self, repo, files):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repo, self.files = repo, files
        self.token, self.break_at, self.lie, self.slow = None, None, False, False
        self.log = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        pass  # connections that were cut on purpose


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status, code):
        self.answer(status, json.dumps({"error": code}).encode(), X_Error_Code=code)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        hub = self.server
        hub.log.append((self.command, self.path, self.headers.get("Range"), self.headers.get("Authorization")))
        if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
            return self.refuse(401, "GatedRepo")
        path = urllib.parse.unquote(self.path.split("?")[0])
        api = f"/api/models/{hub.repo}"
        if path in (f"{api}/revision/main", f"{api}/revision/{COMMIT}"):
            names = [{"rfilename": name} for name in hub.files]
            return self.answer(200, json.dumps({"id": hub.repo, "sha": COMMIT, "siblings": names}).encode())
        if path == f"{api}/tree/{COMMIT}":
            return self.answer(200, json.dumps([self.entry(*file) for file in hub.files.items()]).encode())
        if path.startswith(f"{api}/revision/"):
            return self.refuse(404, "RevisionNotFound")
        if path == "/api/models":
            return self.answer(200, json.dumps([{"id": hub.repo}]).encode())
        prefix = f"/{hub.repo}/resolve/{COMMIT}/"
        if path.startswith(prefix) and path[len(prefix):] in hub.files:
            return self.content(path[len(prefix):])
        return self.refuse(404, "RepoNotFound")

    def entry(self, path, content):
        entry = {"type": "file", "path": path, "size": len(content), "oid": git_blob(content)}
        if is_large(path):
            entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
        return entry

    def content(self, path):
        hub, content = self.server, self.server.files[path]
        headers = {"X_Repo_Commit": COMMIT, "Accept_Ranges": "bytes"}
        if is_large(path):
            headers["X_Linked_Etag"] = f'"{hashlib.sha256(content).hexdigest()}"'
            headers["X_Linked_Size"] = len(content)
        headers["ETag"] = headers.get("X_Linked_Etag", f'"{git_blob(content)}"')
        if hub.lie and is_large(path):
            content = b"X" + content[1:]
        first = 0
        if self.headers.get("Range"):
            first = int(self.headers["Range"].split("=")[1].split("-")[0])
            headers["Content_Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        if hub.break_at is None or not is_large(path) or self.command == "HEAD":
            return self.answer(206 if first else 200, content[first:], **headers)
        at = hub.break_at
        if not hub.slow:
            hub.break_at = None
        self.send_response(206 if first else 200)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        self.wfile.write(content[first:first + at])
        self.wfile.flush()
        if hub.slow:
            time.sleep(60)
        self.close_connection = True


class Pull(Case):
    def setUp(self):
        self.home = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        files = {name: (TINY / name).read_bytes() for name in ("config.json", "model.safetensors")}
        files["README.md"] = b"---\nlicense: mit\n---\n"
        self.hub = Hub("tiny/llama", files)
        self.addCleanup(self.hub.server_close)
        self.addCleanup(self.hub.shutdown)
        self.env = environment(self.home, HF_ENDPOINT=self.hub.url, HF_HOME=str(self.home / "hf"))
        self.repo = self.home / "hf" / "hub" / "models--tiny--llama"

    def test_layout_and_use(self):
        out, err = self.minke("pull", "tiny/llama", env=self.env)
        path = pathlib.Path(out.rstrip("\n"))
        self.assertEqual(err, "")
        self.assertEqual(path, self.repo / "snapshots" / COMMIT)
        self.assertEqual((self.repo / "refs" / "main").read_text(), COMMIT)
        for name, content in self.hub.files.items():
            self.assertTrue((path / name).is_symlink())
            self.assertEqual((path / name).read_bytes(), content)
            etag = hashlib.sha256(content).hexdigest() if is_large(name) else git_blob(content)
            self.assertEqual((path / name).resolve(), (self.repo / "blobs" / etag).resolve())
            self.assertEqual(os.readlink(path / name), f"../../blobs/{etag}")
        for name in ("tiny/llama", "llama"):
            self.assertEqual(self.json("inspect", name, "--json", env=self.env)["licence"], "mit")
        rows = self.json("verify", "tiny/llama", TINY / "golden.safetensors", "--json", env=self.env)
        self.assertTrue(all(row["ok"] for row in rows))

        before = len(self.hub.log)
        again = self.json("pull", "tiny/llama", "--json", env=self.env)
        self.assertEqual((again["fetched_bytes"], again["commit"]), (0, COMMIT))
        self.assertFalse([r for r in self.hub.log[before:] if "/resolve/" in r[1]])

        models = self.json("models", "--json", env=self.env)
        self.assertEqual([(m["name"], m["complete"], m["architecture"]) for m in models],
                         [("tiny/llama", True, "LlamaForCausalLM")])
        self.assertEqual(models[0]["bytes"], sum(map(len, self.hub.files.values())))
        self.assertIn("tiny/llama", self.minke("models", env=self.env)[0])
        self.minke("models", "--remove", "tiny/llama", env=self.env)
        self.assertEqual(self.json("models", "--json", env=self.env), [])
        self.assertIn("minke pull", self.minke("models", env=self.env)[0])
        self.fails("models", "--remove", "tiny/llama", says="no model of this name", env=self.env)

    def test_goes_on_after_a_lost_connection(self):
        self.hub.break_at = 100_000
        self.minke("pull", "tiny/llama", env=self.env)
        ranges = [r[2] for r in self.hub.log if "/resolve/" in r[1] and "safetensors" in r[1] and r[0] == "GET"]
        self.assertEqual(ranges, [None, "bytes=100000-"])
        self.assertEqual((self.repo / "snapshots" / COMMIT / "model.safetensors").read_bytes(),
                         self.hub.files["model.safetensors"])

    def test_interrupted_and_run_again(self):
        self.hub.break_at, self.hub.slow = 100_000, True
        child = subprocess.Popen([MINKE, "pull", "tiny/llama"], env=self.env, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, preexec_fn=default_interrupt)
        partial = None
        for _ in range(200):
            partial = next(iter(self.repo.glob("blobs/*.incomplete")), None)
            try:
                if partial and partial.stat().st_size >= 100_000:
                    break
            except FileNotFoundError:  # it was a small file's, and is whole now
                pass
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=20)
        self.assertEqual(child.returncode, 130, err)
        self.assertIn(b"goes on where this ended", err)
        self.assertFalse((self.repo / "refs" / "main").exists())
        self.hub.break_at = None
        result = self.json("pull", "tiny/llama", "--json", env=self.env)
        size = len(self.hub.files["model.safetensors"])
        self.assertIn(f"bytes={partial and 100_000}-", [r[2] for r in self.hub.log])
        self.assertLess(result["fetched_bytes"], size)

    def test_content_that_is_not_what_was_promised(self):
        self.hub.lie = True
        self.fails("pull", "tiny/llama", says=["model.safetensors", "not what the hub promised"], env=self.env)
        self.assertFalse((self.repo / "snapshots" / COMMIT / "model.safetensors").exists())
        self.hub.lie = False
        self.minke("pull", "tiny/llama", env=self.env)

    def test_tokens_and_names(self):
        self.hub.token = "secret"
        self.fails("pull", "tiny/llama", says=["tiny/llama", "HF_TOKEN"], env=self.env)
        self.minke("pull", "tiny/llama", env={**self.env, "HF_TOKEN": "secret"})
        self.hub.token = None
        self.fails("pull", "tiny/lama", says="tiny/llama", env=self.env)  # what it may have meant
        self.fails("pull", "tiny/llama@v9", says="v9", env=self.env)
        self.fails("pull", "tiny/llama:Q4_K_M", says="Q4_K_M", env=self.env)

    def test_offline(self):
        env = {**self.env, "HF_HUB_OFFLINE": "1"}
        self.fails("pull", "tiny/llama", says="HF_HUB_OFFLINE", env=env)
        self.assertEqual(self.hub.log, [])

    def test_gguf_by_quantisation(self):
        self.hub.files = {"m-Q4_K_M.gguf": b"GGUF one", "m-Q8_0.gguf": b"GGUF two", "README.md": b"hello"}
        out = self.json("pull", "tiny/llama:q8_0", "--json", env=self.env)
        self.assertEqual((out["quantisation"], out["files"]), ("Q8_0", ["m-Q8_0.gguf"]))
        self.assertEqual(pathlib.Path(out["path"]).read_bytes(), b"GGUF two")
        self.assertTrue(self.minke("pull", "tiny/llama", env=self.env)[0].endswith("m-Q4_K_M.gguf\n"))


if __name__ == "__main__":
    unittest.main()
