"""A running `minke serve` for the end-to-end tests."""
import json
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request

from common import MINKE, default_interrupt, environment

# SmolLM2's own template knows no tools; this one tells them as Qwen's does.
TEMPLATE = """{%- if tools %}<|im_start|>system
You may call one or more functions. Functions: {{ tools | tojson }}
For each call return <tool_call>{"name": ..., "arguments": ...}</tool_call><|im_end|>
{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}{% if m.tool_calls %}{% for c in m.tool_calls %}<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}\
{% endif %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


class Server:
    """Started with flags beside the port; ends with the block. `url` is there once it listens. within: a command that
    becomes the server."""

    def __init__(self, model, *flags, env=None, ready=True, stderr=subprocess.PIPE, within=()):
        self.log = []
        self.process = subprocess.Popen([*within, MINKE, "serve", str(model), "--port", "0", *map(str, flags)],
                                        stdout=subprocess.PIPE, stderr=stderr, text=True,
                                        env=env or environment(), preexec_fn=default_interrupt)
        line = self.process.stdout.readline()
        if "listening at " not in line:
            raise RuntimeError(f"{line}{self.process.communicate()[1]}")
        self.url = line.split("listening at ")[1].strip()
        if ready:
            self.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def wait(self, seconds=120):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.ask("/health")[0] == 200:
                return
            time.sleep(0.1)
        raise RuntimeError("the server does not become ready")

    def request(self, path, body=None, headers=None, method=None):
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        return urllib.request.Request(self.url + path, data, {"Content-Type": "application/json", **(headers or {})},
                                      method=method)

    def ask(self, path, body=None, headers=None, method=None):
        """(status, body), the body as JSON where it is."""
        try:
            with self.open(path, body, headers, method) as response:
                status, text = response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                status, text = error.code, error.read()
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text

    def open(self, path, body=None, headers=None, method=None):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        return opener.open(self.request(path, body, headers, method), timeout=120)

    def metric(self, name):
        """The number behind minke:NAME in /metrics."""
        found = re.search(rb"^minke:%s\{[^}]*\} (\S+)" % name.encode(), self.ask("/metrics")[1], re.MULTILINE)
        if not found:
            raise RuntimeError(f"/metrics has no {name}")
        return float(found[1])

    def events(self, path, body):
        """The events of a streamed answer, as they come."""
        with self.open(path, body) as response:
            for line in response:
                if line.startswith(b"data: ") and line != b"data: [DONE]\n":
                    yield json.loads(line[6:])

    def end(self, with_signal=signal.SIGTERM):
        """Ends it; returns the exit code and the log."""
        self.process.send_signal(with_signal)
        _, log = self.process.communicate(timeout=60)
        return self.process.returncode, log
