// llamacpp.mjs MODEL PROMPT DECODE DEPTH THREADS SEQUENCES: what node-llama-cpp does in a second, as JSON. `prefill` and
// `decode` are behind DEPTH tokens, of all sequences together; `run` is decoded tokens over the time of both.
import { resolve } from "node:path";
import { getLlama } from "node-llama-cpp";

const [path, ...numbers] = process.argv.slice(2);
const [prompt, decode, depth, threads, sequences] = numbers.map(Number);

const llama = await getLlama({ gpu: false, build: "never", logLevel: "error" });
const model = await llama.loadModel({ modelPath: resolve(path) });
const context = await model.createContext({
  contextSize: depth + prompt + decode + 64, sequences, threads, batchSize: 512, flashAttention: true,
});
const all = Array.from({ length: sequences }, () => context.getSequence());

// The tokens that `minke bench` takes: spread over the vocabulary without its ends, where special ones are.
const vocabulary = model.fileInfo.metadata.tokenizer.ggml.tokens.length;
const [first, range] = vocabulary > 2000 ? [500, vocabulary - 1000] : [0, vocabulary];
const tokens = (start, count) => Array.from({ length: count }, (_, i) => first + (((start + i) * 7919) % range));
const seconds = (since) => (performance.now() - since) / 1000;
const each = (f) => Promise.all(all.map(f));

await all[0].evaluateWithoutGeneratingNewTokens(tokens(0, 32));
await all[0].clearHistory();
if (depth > 0) await each((sequence, i) => sequence.evaluateWithoutGeneratingNewTokens(tokens(997 * i, depth)));

let start = performance.now();
await each((sequence, i) => sequence.evaluateWithoutGeneratingNewTokens(tokens(depth + 997 * i, prompt)));
const read = seconds(start);

// A step takes a token of each sequence; all must be there before the next one, so that they share a batch.
const answers = all.map((sequence, i) => sequence.evaluate(tokens(31 + i, 1), { temperature: 0, yieldEogToken: true }));
const step = () => Promise.all(answers.map((answer) => answer.next()));
await step();
start = performance.now();
for (let i = 0; i < decode; ++i) await step();
const written = seconds(start);
console.log(JSON.stringify({
  prefill: (sequences * prompt) / read,
  decode: (sequences * decode) / written,
  run: (sequences * decode) / (read + written),
  release: llama.llamaCppRelease?.release,
}));
process.exit(0);
