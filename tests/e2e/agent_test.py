"""serve, asked as an agent does: a transcript that grows by calls, their results and answers, and comes back each time."""
import json
import pathlib
import signal
import tempfile
import time
import unittest

from common import SMOLLM, Case, needs_smollm
from server import Server

# SmolLM2's own template knows no tools; this one tells them as Qwen's does.
TEMPLATE = """<|im_start|>system
{{ messages[0].content }}
You may call functions: {{ tools | tojson }}
For each call return <tool_call>{"name": ..., "arguments": ...}</tool_call><|im_end|>
{% for m in messages[1:] %}<|im_start|>{{ m.role }}
{{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
PARAMETERS = {"type": "object", "properties": {"path": {"type": "string"}, "lines": {"type": "integer"}}}
TURNS, PAGE = 6, 64


class OpenAI:
    """Keeps the transcript as OpenAI's chat has it."""

    def __init__(self):
        self.messages = [{"role": "system", "content": "You are an agent that reads files. " * 100}]

    def say(self, text):
        self.messages.append({"role": "user", "content": text})

    def give(self, text):
        for call in self.messages[-1].get("tool_calls", []):
            self.messages.append({"role": "tool", "tool_call_id": call["id"], "content": text})

    def ask(self, server, must_call, **more):
        body = {"messages": self.messages, "max_tokens": 60, "tool_choice": "required" if must_call else "auto",
                "tools": [{"type": "function", "function": {"name": "read", "parameters": PARAMETERS}}], **more}
        status, answer = server.ask("/v1/chat/completions", body)
        assert status == 200, answer
        message = answer["choices"][0]["message"]
        self.messages.append({k: v for k, v in message.items() if k in ["role", "content", "tool_calls"]})
        for call in message.get("tool_calls") or []:  # as clients do that parse and print again
            call["function"]["arguments"] = json.dumps(json.loads(call["function"]["arguments"]), separators=(",", ":"))
        usage = answer["usage"]
        return (json.dumps([message["content"], [c["function"] for c in message.get("tool_calls") or []]]),
                usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"], usage["completion_tokens"])


class Anthropic:
    def __init__(self):
        self.messages, self.system = [], OpenAI().messages[0]["content"]

    def say(self, text):
        if self.messages and self.messages[-1]["role"] == "user":
            self.messages[-1]["content"].append({"type": "text", "text": text})
        else:
            self.messages.append({"role": "user", "content": [{"type": "text", "text": text}]})

    def give(self, text):
        results = [{"type": "tool_result", "tool_use_id": b["id"], "content": text}
                   for b in self.messages[-1]["content"] if b["type"] == "tool_use"]
        if results:
            self.messages.append({"role": "user", "content": results})

    def ask(self, server, must_call, **more):
        more.pop("seed", None)
        body = {"model": "smol", "system": self.system, "messages": self.messages, "max_tokens": 60,
                "tool_choice": {"type": "any" if must_call else "auto"},
                "tools": [{"name": "read", "input_schema": PARAMETERS}], **more}
        status, answer = server.ask("/v1/messages", body)
        assert status == 200, answer
        self.messages.append({"role": "assistant", "content": answer["content"]})
        usage = answer["usage"]
        cached = usage["cache_read_input_tokens"]
        said = json.dumps([{k: v for k, v in b.items() if k != "id"} for b in answer["content"]])
        return said, usage["input_tokens"] + cached, cached, usage["output_tokens"]


class Responses:
    def __init__(self):
        self.items, self.instructions = [], OpenAI().messages[0]["content"]

    def say(self, text):
        self.items.append({"role": "user", "content": text})

    def give(self, text):
        last = []
        for item in reversed(self.items):
            if item.get("type") not in ["function_call", "message", "reasoning"] or item.get("role") == "user":
                break
            last.insert(0, item)
        for item in last:
            if item["type"] == "function_call":
                self.items.append({"type": "function_call_output", "call_id": item["call_id"], "output": text})

    def ask(self, server, must_call, **more):
        more.pop("seed", None)
        body = {"instructions": self.instructions, "input": self.items, "max_output_tokens": 60, "store": False,
                "tool_choice": "required" if must_call else "auto",
                "tools": [{"type": "function", "name": "read", "parameters": PARAMETERS}], **more}
        status, answer = server.ask("/v1/responses", body)
        assert status == 200, answer
        self.items += answer["output"]
        usage = answer["usage"]
        said = json.dumps([{k: v for k, v in i.items() if k not in ["id", "call_id"]} for i in answer["output"]])
        return said, usage["input_tokens"], usage["input_tokens_details"]["cached_tokens"], usage["output_tokens"]


@needs_smollm
class Agent(Case):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.template = pathlib.Path(self.folder.name, "tools.jinja")
        self.template.write_text(TEMPLATE)

    def server(self, cache, *flags):
        return Server(SMOLLM, "--ctx", "8192", "--parallel", "1", "--model-name", "smol", "--exact", "--chat-template",
                      self.template, "--cache", cache, *flags)

    def transcript(self, agent, cache, restarts=(), **more):
        """The answers of all turns. Each finds all that was computed before it in the cache."""
        answers, known, first = [], 0, 0
        server = self.server(cache)
        try:
            for turn in range(TURNS):
                slack = 0
                if turn in restarts:
                    time.sleep(2)  # what is written is on its way for moments
                    server.end(signal.SIGKILL)
                    server = self.server(cache, "--repack")  # weights in another order are the same weights
                    slack = PAGE  # whole pages are on disk
                agent.say(f"Question {turn}: what is in file {turn}? " + "Think of what you have read before. " * 10)
                for must_call in [True, False]:
                    said, prompt, cached, output = agent.ask(server, must_call, **more)
                    # The last token of an answer, and the one that ended it, have no rows yet.
                    self.assertGreaterEqual(cached, known - slack - 1, f"turn {turn}: {prompt} tokens")
                    slack = 0
                    self.assertLess(cached, prompt)
                    known, first = prompt + output - 1, first or prompt
                    answers.append(said)
                    if must_call:
                        agent.give(f"Contents of file {turn}: " + " ".join(f"entry {turn * i * 37 % 1001}," for i in range(165)))
                agent.give("Read it already.")  # where it called once more
            self.assertLess(first, 1000)
            self.assertGreater(prompt, 7500)
        finally:
            server.process.kill()
            server.process.communicate()
        return answers

    def test_openai(self):
        undisturbed = self.transcript(OpenAI(), pathlib.Path(self.folder.name, "a"), temperature=0)
        killed = self.transcript(OpenAI(), pathlib.Path(self.folder.name, "b"), restarts=[2, 3, 5], temperature=0)
        self.assertEqual(killed, undisturbed)

    def test_anthropic(self):
        self.transcript(Anthropic(), pathlib.Path(self.folder.name, "c"), restarts=[3], temperature=1)

    def test_responses(self):
        self.transcript(Responses(), pathlib.Path(self.folder.name, "d"), restarts=[3], temperature=2)

    def test_sampled(self):
        self.transcript(OpenAI(), pathlib.Path(self.folder.name, "e"), restarts=[4], temperature=2, seed=7)  # far from what a tokenizer would write


if __name__ == "__main__":
    unittest.main()
