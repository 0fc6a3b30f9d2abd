"""Coding agents as they come from npm and PyPI, each set up as docs/clients.md says, in a folder of its own."""
import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import js
from common import ROOT

AIDER = ROOT / "build" / "clients" / "aider"
MODEL = "coder"
# What agents say by themselves is 5,000 to 22,000 tokens, in which a model of 1.5B loses itself: they are given less to say.
# Qwen2.5-Coder calls in a fence, if at all; asked for it, it does so reliably.
DONE = ("When a <tool_response> has come, the call is done: tell the user in one sentence what it says, and call nothing. "
        "When no tool is needed, answer in one sentence.")
SYSTEM = ("You are an assistant in the user's folder. When the user asks about files, answer with nothing but one call, fenced:\n"
          '```json\n{"name": ..., "arguments": {...}}\n```\n' + DONE)


class Agent:
    packages = []
    tools = True  # it has some

    def install(self):
        return js.install(self.packages)

    def prepare(self, home, work, url):
        """Writes the agent's configuration; returns variables for it."""
        return {}

    def command(self, prompt, url):
        raise NotImplementedError

    def ask(self, prompt, home, work, url, timeout):
        """One prompt, not interactively. Returns the finished process."""
        env = js.environment_of(home, CI="1", NO_COLOR="1", PWD=str(work), **self.prepare(home, work, url))
        env.pop("XDG_CONFIG_HOME", None)
        return subprocess.run(self.command(prompt, url), cwd=work, env=env, capture_output=True, text=True, timeout=timeout,
                              stdin=subprocess.DEVNULL)


def bin_of(name):
    return str(js.FOLDER / "node_modules" / ".bin" / name)


class OpenCode(Agent):
    name, packages = "opencode", ["opencode-ai"]
    without = ["bash", "grep", "skill", "task", "todowrite", "todoread", "webfetch"]

    def prepare(self, home, work, url):
        config = {"$schema": "https://opencode.ai/config.json", "model": f"minke/{MODEL}", "small_model": f"minke/{MODEL}",
                  "autoupdate": False, "share": "disabled", "permission": {"edit": "allow", "bash": "allow"},
                  "agent": {"build": {"prompt": SYSTEM, "steps": 4, "tools": {t: False for t in self.without}}},
                  "provider": {"minke": {"npm": "@ai-sdk/openai-compatible", "name": "Minke",
                                         "options": {"baseURL": f"{url}/v1", "apiKey": "none"},
                                         "models": {MODEL: {"name": MODEL, "limit": {"context": 32768, "output": 1024}}}}}}
        (work / "opencode.json").write_text(json.dumps(config))
        return {"OPENCODE_DISABLE_MODELS_FETCH": "1", "OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_LSP_DOWNLOAD": "1"}

    def command(self, prompt, url):
        return [bin_of("opencode"), "run", "--model", f"minke/{MODEL}", prompt]


class Codex(Agent):
    name, packages = "codex", ["@openai/codex"]
    # Its one way to files is a shell, of which the model must be told more.
    uses = {"read a.txt": "cat a.txt", "list the files": "ls", "write a.txt": "echo text > a.txt"}
    instructions = ("You are an assistant in the user's folder. Your only tool is exec_command. When the user asks about "
                    "files, answer with nothing but one call, fenced.\n"
                    + "".join(f'To {what}:\n```json\n{{"name": "exec_command", "arguments": {{"cmd": "{how}"}}}}\n```\n'
                              for what, how in uses.items())
                    + DONE)
    parts = ["permissions_instructions", "apps_instructions", "collaboration_mode_instructions"]
    features = ["goals", "multi_agent", "image_generation", "apps"]

    def prepare(self, home, work, url):
        folder = home / ".codex"
        folder.mkdir(exist_ok=True)
        (folder / "instructions.md").write_text(self.instructions)
        (folder / "config.toml").write_text(
            f'model = "{MODEL}"\nmodel_provider = "minke"\nmodel_context_window = 32768\nweb_search = "disabled"\n'
            f'model_instructions_file = "{folder}/instructions.md"\n'
            + "".join(f"include_{part} = false\n" for part in self.parts) + "[features]\n"
            + "".join(f"{feature} = false\n" for feature in self.features)
            + f'[model_providers.minke]\nname = "Minke"\nbase_url = "{url}/v1"\nwire_api = "responses"\n'
            "stream_idle_timeout_ms = 3600000\n")
        return {}

    def command(self, prompt, url):
        return [bin_of("codex"), "exec", "--skip-git-repo-check", "--sandbox", "workspace-write", prompt]


class ClaudeCode(Agent):
    name, packages = "claude", ["@anthropic-ai/claude-code"]

    def prepare(self, home, work, url):
        return {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_AUTH_TOKEN": "none", "ANTHROPIC_MODEL": MODEL,
                "ANTHROPIC_DEFAULT_HAIKU_MODEL": MODEL, "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "1024",
                "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "API_TIMEOUT_MS": "3600000",
                "CLAUDE_STREAM_IDLE_TIMEOUT_MS": "3600000"}  # a long prompt takes a CPU minutes

    def command(self, prompt, url):
        tools = "Read,Write,Glob"
        return [bin_of("claude"), "--print", "--system-prompt", SYSTEM, "--tools", tools, "--allowedTools", tools, "--", prompt]


class QwenCode(Agent):
    name, packages = "qwen", ["@qwen-code/qwen-code"]

    def prepare(self, home, work, url):
        return {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": "none", "OPENAI_MODEL": MODEL}

    def command(self, prompt, url):
        return [bin_of("qwen"), "--auth-type", "openai", "--yolo", "--bare", "--system-prompt", SYSTEM, "--prompt", prompt]


class Aider(Agent):
    name, tools = "aider", False

    def install(self):
        if (AIDER / "aider").is_dir():
            return None
        done = subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target",
                               str(AIDER), "aider-chat"], capture_output=True, text=True, timeout=1200)
        return None if done.returncode == 0 else f"pip cannot install aider-chat: {done.stderr.strip().splitlines()[-1:]}"

    def prepare(self, home, work, url):
        return {"PYTHONPATH": str(AIDER), "OPENAI_API_BASE": f"{url}/v1", "OPENAI_API_KEY": "none",
                "LITELLM_LOCAL_MODEL_COST_MAP": "True"}

    def command(self, prompt, url):
        return [sys.executable, "-m", "aider", "--model", f"openai/{MODEL}", "--no-git", "--yes-always", "--no-check-update",
                "--no-show-model-warnings", "--analytics-disable", "--no-detect-urls", "--message", prompt]


AGENTS = [OpenCode(), Codex(), ClaudeCode(), QwenCode(), Aider()]
