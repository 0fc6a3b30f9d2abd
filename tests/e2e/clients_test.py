"""serve, asked by the clients people have: openai, anthropic and litellm from PyPI, unmodified, over SmolLM2."""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
import warnings

from common import ROOT, SMOLLM, Case, environment, needs_smollm
from server import TEMPLATE, Server

PACKAGES = ["openai", "anthropic", "litellm"]
FOLDER = ROOT / "build" / "clients"
QUESTION = "What is the capital of France?"
TOOL = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def install():
    """Puts the clients below build; says why where that cannot be."""
    if not all((FOLDER / p).is_dir() for p in PACKAGES):
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", str(FOLDER)]
        done = subprocess.run([*command, *PACKAGES], capture_output=True, text=True, timeout=600)
        if done.returncode != 0:
            return f"pip cannot install {', '.join(PACKAGES)}: {done.stderr.strip().splitlines()[-1:]}"
    sys.path.insert(0, str(FOLDER))
    return None


os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # nothing is fetched
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
WHY_NOT = install() if SMOLLM.is_file() else None
if SMOLLM.is_file() and WHY_NOT is None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import anthropic
        import litellm
        import openai
    litellm.suppress_debug_info = True


@needs_smollm
@unittest.skipIf(WHY_NOT, WHY_NOT)
class Clients(Case):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(SMOLLM, "--ctx", "1024", "--model-name", "smol")
        cls.openai = openai.OpenAI(base_url=cls.server.url + "/v1", api_key="none")
        cls.anthropic = anthropic.Anthropic(base_url=cls.server.url, api_key="none")

    @classmethod
    def tearDownClass(cls):
        cls.server.end()

    def chat(self, **more):
        return self.openai.chat.completions.create(
            model="smol", messages=[{"role": "user", "content": QUESTION}], max_tokens=24, **more)

    def test_openai_chat(self):
        answer = self.chat(seed=1, temperature=0)
        self.assertIn("Paris", answer.choices[0].message.content)
        self.assertIn(answer.choices[0].finish_reason, ["stop", "length"])
        self.assertGreater(answer.usage.prompt_tokens, 5)
        chunks = list(self.chat(stream=True, stream_options={"include_usage": True}))
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        self.assertEqual(text, answer.choices[0].message.content)
        self.assertEqual(chunks[-1].usage.completion_tokens, answer.usage.completion_tokens)
        self.assertGreaterEqual(chunks[-1].usage.prompt_tokens_details.cached_tokens, 0)

    def test_openai_logprobs_and_choices(self):
        answer = self.chat(logprobs=True, top_logprobs=2, n=2, temperature=1, seed=5)
        self.assertEqual(len(answer.choices), 2)
        for choice in answer.choices:
            self.assertEqual(b"".join(bytes(t.bytes) for t in choice.logprobs.content).decode(), choice.message.content)

    def test_openai_completions(self):
        answer = self.openai.completions.create(model="smol", prompt=["The sky is", "One, two,"], max_tokens=4, echo=True)
        self.assertTrue(answer.choices[0].text.startswith("The sky is"))
        self.assertTrue(answer.choices[1].text.startswith("One, two,"))
        streamed = self.openai.completions.create(model="smol", prompt="The sky is", max_tokens=4, stream=True)
        self.assertEqual("The sky is" + "".join(c.choices[0].text for c in streamed), answer.choices[0].text)

    def test_openai_responses(self):
        first = self.openai.responses.create(model="smol", input=QUESTION, max_output_tokens=24)
        self.assertIn("Paris", first.output_text)
        kept = self.openai.responses.retrieve(first.id)
        self.assertEqual(kept.output_text, first.output_text)
        events = list(self.openai.responses.create(model="smol", input="And of Italy?", max_output_tokens=24, stream=True,
                                                   previous_response_id=first.id))
        self.assertEqual(events[0].type, "response.created")
        final = events[-1].response
        deltas = "".join(e.delta for e in events if e.type == "response.output_text.delta")
        self.assertEqual(deltas, final.output_text)
        self.assertGreater(final.usage.input_tokens, first.usage.input_tokens)
        self.openai.responses.delete(first.id)
        with self.assertRaises(openai.NotFoundError):
            self.openai.responses.retrieve(first.id)

    def test_openai_models_and_errors(self):
        self.assertEqual([m.id for m in self.openai.models.list()], ["smol"])
        self.assertEqual(self.openai.models.retrieve("smol").id, "smol")
        with self.assertRaises(openai.BadRequestError) as caught:
            self.chat(response_format={"type": "json_object"})
        self.assertEqual(caught.exception.param, "response_format")
        with self.assertRaises(openai.NotFoundError) as caught:
            self.openai.chat.completions.create(model="none", messages=[{"role": "user", "content": "q"}])
        self.assertEqual(caught.exception.code, "model_not_found")
        self.assertTrue(caught.exception.request_id)

    def test_anthropic(self):
        ask = {"model": "smol", "max_tokens": 24, "messages": [{"role": "user", "content": QUESTION}],
               "system": "You are a helpful AI assistant named SmolLM, trained by Hugging Face"}
        answer = self.anthropic.messages.create(**ask)
        self.assertIn("Paris", answer.content[0].text)
        self.assertIn(answer.stop_reason, ["end_turn", "max_tokens"])
        with self.anthropic.messages.stream(**ask) as stream:
            text = "".join(stream.text_stream)
            final = stream.get_final_message()
        self.assertEqual(text, answer.content[0].text)
        self.assertEqual(final.stop_reason, answer.stop_reason)
        counted = self.anthropic.messages.count_tokens(**{k: v for k, v in ask.items() if k != "max_tokens"})
        used = answer.usage.input_tokens + answer.usage.cache_read_input_tokens
        self.assertEqual(counted.input_tokens, used)
        self.assertEqual([m.id for m in self.anthropic.models.list()], ["smol"])
        with self.assertRaises(anthropic.BadRequestError):
            self.anthropic.messages.create(**{**ask, "output_config": {"format": {"type": "json_schema", "schema": {}}}})
        with self.assertRaises(anthropic.NotFoundError):
            self.anthropic.messages.create(**{**ask, "model": "none"})

    def test_anthropic_says_at_the_start_how_long_the_prompt_is(self):
        ask = {"model": "smol", "max_tokens": 4, "messages": [{"role": "user", "content": "Count to a hundred. " * 20}]}
        whole = self.anthropic.messages.create(**ask)
        events = list(self.anthropic.messages.create(**ask, stream=True))
        started = events[0].message.usage
        self.assertEqual(events[0].type, "message_start")
        self.assertGreater(started.cache_read_input_tokens, 0)
        self.assertEqual(started.input_tokens + started.cache_read_input_tokens,
                         whole.usage.input_tokens + whole.usage.cache_read_input_tokens)

    def test_openai_embeddings(self):
        texts = ["The sky is blue.", "Heaven has an azure colour.", "Invoices are due in May."]
        made = self.openai.embeddings.create(model="smol", input=texts)  # the client asks for base64
        plain = self.openai.embeddings.create(model="smol", input=texts[1], encoding_format="float", dimensions=576)
        vectors = [d.embedding for d in made.data]
        dot = lambda a, b: sum(x * y for x, y in zip(a, b))
        for vector in vectors:
            self.assertAlmostEqual(dot(vector, vector), 1, places=5)
        self.assertEqual(plain.data[0].embedding, vectors[1])
        self.assertGreater(dot(vectors[0], vectors[1]), dot(vectors[0], vectors[2]))
        tokens = self.openai.embeddings.create(model="smol", input=[[1, 2, 3], [4, 5]])
        self.assertEqual(tokens.usage.prompt_tokens, 5)
        for wrong in [{"input": ""}, {"input": texts, "dimensions": 64}, {"input": [[10**6]]}]:
            with self.assertRaises(openai.BadRequestError):
                self.openai.embeddings.create(model="smol", **wrong)

    def test_litellm(self):
        ask = {"messages": [{"role": "user", "content": QUESTION}], "max_tokens": 24, "api_key": "none"}
        for model, base in [("openai/smol", self.server.url + "/v1"), ("anthropic/smol", self.server.url)]:
            answer = litellm.completion(model=model, api_base=base, **ask)
            text = answer.choices[0].message.content
            self.assertTrue(text)
            chunks = list(litellm.completion(model=model, api_base=base, stream=True, **ask))
            self.assertEqual("".join(c.choices[0].delta.content or "" for c in chunks), text)
        vectors = litellm.embedding(model="openai/smol", api_base=self.server.url + "/v1", api_key="none", input=["a"])
        self.assertEqual(len(vectors.data[0]["embedding"]), 576)
        with self.assertRaises(litellm.NotFoundError):
            litellm.completion(model="openai/none", api_base=self.server.url + "/v1", **ask)


@needs_smollm
@unittest.skipIf(WHY_NOT, WHY_NOT)
class Tools(Case):
    """A conversation whose answer is to be said again: a small model that repeats makes calls one can count on."""

    CALL = '<tool_call>{"name": "weather", "arguments": {"city": "Paris"}}</tool_call>'

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        template = pathlib.Path(cls.folder.name, "tools.jinja")
        template.write_text(TEMPLATE)
        cls.server = Server(SMOLLM, "--ctx", "2048", "--model-name", "smol", "--chat-template", template, env=environment())
        cls.openai = openai.OpenAI(base_url=cls.server.url + "/v1", api_key="none")
        cls.anthropic = anthropic.Anthropic(base_url=cls.server.url, api_key="none")

    @classmethod
    def tearDownClass(cls):
        cls.server.end()
        cls.folder.cleanup()

    def messages(self):
        turns = []
        for _ in range(3):
            turns += [{"role": "user", "content": "Weather in Paris?"}, {"role": "assistant", "content": self.CALL}]
        return turns + [{"role": "user", "content": "Weather in Paris?"}]

    def test_openai(self):
        tools = [{"type": "function", "function": {"name": "weather", "parameters": TOOL}}]
        ask = {"model": "smol", "messages": self.messages(), "tools": tools, "max_tokens": 60}
        answer = self.openai.chat.completions.create(**ask)
        self.assertEqual(answer.choices[0].finish_reason, "tool_calls", answer)
        call = answer.choices[0].message.tool_calls[0]
        self.assertEqual((call.function.name, call.function.arguments), ("weather", '{"city": "Paris"}'))
        with self.openai.chat.completions.stream(**ask) as stream:
            for _ in stream:
                pass
            final = stream.get_final_completion()
        self.assertEqual(final.choices[0].message.tool_calls[0].function.arguments, '{"city": "Paris"}')
        none = self.openai.chat.completions.create(**ask, tool_choice="none")
        self.assertIsNone(none.choices[0].message.tool_calls)

    def test_litellm(self):
        tools = [{"type": "function", "function": {"name": "weather", "parameters": TOOL}}]
        for model, base in [("openai/smol", self.server.url + "/v1"), ("anthropic/smol", self.server.url)]:
            answer = litellm.completion(model=model, api_base=base, api_key="none", messages=self.messages(), tools=tools,
                                        max_tokens=60, temperature=0)
            self.assertEqual(answer.choices[0].finish_reason, "tool_calls", answer)
            self.assertEqual(answer.choices[0].message.tool_calls[0].function.name, "weather")

    def test_anthropic(self):
        ask = {"model": "smol", "messages": self.messages(), "max_tokens": 60,
               "tools": [{"name": "weather", "input_schema": TOOL}]}
        answer = self.anthropic.messages.create(**ask)
        self.assertEqual(answer.stop_reason, "tool_use", answer)
        self.assertEqual(answer.content[-1].input, {"city": "Paris"})
        with self.anthropic.messages.stream(**ask) as stream:
            final = stream.get_final_message()
        self.assertEqual(final.content[-1].input, {"city": "Paris"})

    def test_openai_responses(self):
        tools = [{"type": "function", "name": "weather", "parameters": TOOL, "strict": False}]
        answer = self.openai.responses.create(model="smol", input=self.messages(), tools=tools, max_output_tokens=60)
        call = answer.output[-1]
        self.assertEqual((call.type, call.name, call.arguments), ("function_call", "weather", '{"city": "Paris"}'))
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
        more = self.openai.responses.create(model="smol", input=[result], previous_response_id=answer.id, tools=tools,
                                            max_output_tokens=8)
        self.assertIn(more.status, ["completed", "incomplete"])


if __name__ == "__main__":
    unittest.main()
