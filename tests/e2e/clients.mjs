// openai and @anthropic-ai/sdk against a server: node clients.mjs URL CHECK. Run by clients_js_test.py, over SmolLM2 with a
// template that knows tools; the conversation is one whose answer is to be said again.
import assert from "node:assert/strict";

import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";

const [url, check] = process.argv.slice(2);
const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: url, apiKey: "none", maxRetries: 0 });
const model = "smol";
const question = [{ role: "user", content: "What is the capital of France?" }];
const call = '<tool_call>{"name": "weather", "arguments": {"city": "Paris"}}</tool_call>';
const weather = [];
for (let i = 0; i < 3; i++)
  weather.push({ role: "user", content: "Weather in Paris?" }, { role: "assistant", content: call });
weather.push({ role: "user", content: "Weather in Paris?" });
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };

const checks = {
  async openai_chat() {
    const ask = { model, messages: question, max_tokens: 24, temperature: 0 };
    const answer = await openai.chat.completions.create(ask);
    const text = answer.choices[0].message.content;
    assert.match(text, /Paris/);
    let streamed = "";
    let usage;
    for await (const chunk of await openai.chat.completions.create({ ...ask, stream: true, stream_options: { include_usage: true } })) {
      streamed += chunk.choices[0]?.delta?.content ?? "";
      usage = chunk.usage ?? usage;
    }
    assert.equal(streamed, text);
    assert.equal(usage.completion_tokens, answer.usage.completion_tokens);
    const stream = await openai.chat.completions.create({ ...ask, max_tokens: 500, stream: true });
    for await (const _ of stream) break; // the iterator's end aborts the request
    await assert.rejects(openai.chat.completions.create({ ...ask, model: "none" }), OpenAI.NotFoundError);
    await assert.rejects(openai.chat.completions.create({ ...ask, n: 1e9 }), OpenAI.BadRequestError);
  },

  async openai_tools() {
    const tools = [{ type: "function", function: { name: "weather", parameters } }];
    const ask = { model, messages: weather, tools, max_tokens: 60, temperature: 0 };
    const answer = await openai.chat.completions.create(ask);
    assert.equal(answer.choices[0].finish_reason, "tool_calls");
    const made = answer.choices[0].message.tool_calls[0];
    assert.deepEqual(JSON.parse(made.function.arguments), { city: "Paris" });
    const stream = openai.chat.completions.stream(ask);
    const final = await stream.finalChatCompletion();
    assert.equal(final.choices[0].message.tool_calls[0].function.name, "weather");
    const more = await openai.chat.completions.create({
      ...ask,
      messages: [...weather, answer.choices[0].message, { role: "tool", tool_call_id: made.id, content: "sunny" }],
    });
    // All that was computed comes from the cache: the prompt and the call, but for a page.
    const known = answer.usage.total_tokens - 2;
    assert.ok(more.usage.prompt_tokens_details.cached_tokens >= known - 64, JSON.stringify([answer.usage, more.usage]));
    const must = await openai.chat.completions.create({ ...ask, messages: question, tool_choice: "required", max_tokens: 120 });
    assert.equal(must.choices[0].message.tool_calls[0].function.name, "weather");
  },

  async openai_responses() {
    const tools = [{ type: "function", name: "weather", parameters, strict: false }];
    const answer = await openai.responses.create({ model, input: weather, tools, max_output_tokens: 60 });
    const made = answer.output.at(-1);
    assert.equal(made.type, "function_call");
    const types = [];
    let text = "";
    const stream = openai.responses.stream({
      model, tools, max_output_tokens: 16, previous_response_id: answer.id,
      input: [{ type: "function_call_output", call_id: made.call_id, output: "sunny" }],
    });
    for await (const event of stream) {
      types.push(event.type);
      if (event.type === "response.output_text.delta") text += event.delta;
    }
    const final = await stream.finalResponse();
    assert.equal(types[0], "response.created");
    assert.equal(final.output_text, text);
    assert.equal((await openai.responses.retrieve(answer.id)).id, answer.id);
  },

  async openai_embeddings() {
    const input = ["The sky is blue.", "Heaven has an azure colour.", "Invoices are due in May."];
    const made = await openai.embeddings.create({ model, input }); // the client asks for base64
    const vectors = made.data.map((d) => d.embedding);
    const plain = await openai.embeddings.create({ model, input, encoding_format: "float" });
    const dot = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);
    for (const [i, vector] of vectors.entries()) {
      assert.ok(Math.abs(dot(vector, vector) - 1) < 1e-5);
      assert.ok(Math.abs(dot(vector, plain.data[i].embedding) - 1) < 1e-5);
    }
    assert.ok(dot(vectors[0], vectors[1]) > dot(vectors[0], vectors[2]));
  },

  async anthropic() {
    const ask = { model, messages: question, max_tokens: 24, temperature: 0 };
    const answer = await anthropic.messages.create(ask);
    assert.match(answer.content[0].text, /Paris/);
    const stream = anthropic.messages.stream(ask);
    let first;
    stream.on("streamEvent", (event) => { if (event.type === "message_start") first = event.message.usage; });
    const final = await stream.finalMessage();
    assert.equal(final.content[0].text, answer.content[0].text);
    assert.ok(first.input_tokens > 0 && first.input_tokens + first.cache_read_input_tokens > 5);
    const count = await anthropic.messages.countTokens({ model, messages: question });
    assert.equal(count.input_tokens, answer.usage.input_tokens + answer.usage.cache_read_input_tokens);
    await assert.rejects(anthropic.messages.create({ ...ask, model: "none" }), Anthropic.NotFoundError);
  },

  async anthropic_tools() {
    const ask = { model, messages: weather, max_tokens: 60, tools: [{ name: "weather", input_schema: parameters }] };
    const answer = await anthropic.messages.create(ask);
    assert.equal(answer.stop_reason, "tool_use");
    assert.deepEqual(answer.content.at(-1).input, { city: "Paris" });
    const final = await anthropic.messages.stream(ask).finalMessage();
    assert.deepEqual(final.content.at(-1).input, { city: "Paris" });
    const result = { type: "tool_result", tool_use_id: answer.content.at(-1).id, content: "sunny" };
    const more = await anthropic.messages.create({
      ...ask,
      messages: [...weather, { role: "assistant", content: answer.content }, { role: "user", content: [result] }],
    });
    assert.ok(more.usage.cache_read_input_tokens > answer.usage.input_tokens - 64);
  },
};

await checks[check]();
