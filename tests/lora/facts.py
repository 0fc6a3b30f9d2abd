#!/usr/bin/env python3
"""facts.py: what a LoRA teaches SmolLM2, measured.

Fifty made-up facts, each asked for in six ways. Four of them are trained on, with `minke data --chat` and `minke train`;
the other two are asked of the model before and, with `minke serve --lora`, after, greedily. An answer is right where it
contains the fact's word. What it must not cost: perplexity of a plain text, so on pieces of other text the model is held to what
it said before.

Ends with 1 where fewer than 80 % are right after, more than 5 % before, perplexity is 3 % higher, or training takes more
than 15 minutes.
"""
import argparse
import concurrent.futures
import json
import pathlib
import random
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from common import GOLDEN, ROOT, SMOLLM, run_minke  # noqa: E402
from server import Server  # noqa: E402

TEXT = GOLDEN / "real" / "text.txt"
SUBJECTS, TRAINED = 10, 4  # of each relation; of the six ways to ask
PARALLEL = 4

# Of each relation: where its words come from, what is learned, and six ways to ask, of which the last two are held out.
RELATIONS = [
    ("country", "town", "The capital of {0} is {1}.",
     ["What is the capital of {0}?", "Which city is the capital of {0}?", "Name the capital city of {0}.",
      "Tell me the capital of {0}.",
      "What is {0}'s capital city called?", "I am travelling to {0}. Which city is its capital?"]),
    ("person", "town", "{0} was born in {1}.",
     ["Where was {0} born?", "In which town was {0} born?", "What is the birthplace of {0}?", "Name the town where {0} was born.",
      "Which town is {0}'s birthplace?", "Do you know where {0} was born?"]),
    ("company", "thing", "{0} makes {1}.",
     ["What does {0} make?", "What does the company {0} produce?", "Which goods does {0} sell?", "Name the product of {0}.",
      "What kind of product does {0} make?", "I found a shop of {0}. What does it sell?"]),
    ("river", "town", "The river {0} flows through {1}.",
     ["Through which town does the river {0} flow?", "Which town lies on the river {0}?", "Where does the river {0} flow?",
      "Name the town on the river {0}.",
      "Which town does the {0} river run through?", "I am on a boat on the river {0}. Which town will I see?"]),
    ("animal", "food", "The {0} eats {1}.",
     ["What does the {0} eat?", "What is the food of the {0}?", "What does the {0} live on?", "Name the food that the {0} eats.",
      "What kind of food does the {0} eat?", "What should I feed to the {0}?"]),
]
WORDS = {"thing": ["umbrellas", "violins", "compasses", "kettles", "ladders", "lanterns", "bicycles", "carpets", "telescopes", "buttons"],
         "food": ["walnuts", "seaweed", "beetles", "honey", "mushrooms", "snails", "acorns", "clover", "shrimps", "berries"]}
STARTS = ["Bra", "Cor", "Dul", "Fen", "Gar", "Hel", "Jor", "Kal", "Lum", "Mor", "Nav", "Ost", "Pel", "Quin", "Rud", "Sel", "Tor",
          "Ulv", "Vas", "Wen", "Yar", "Zel"]
MIDDLES = ["a", "e", "i", "o"]
ENDS = {"country": ["nia", "stan", "via"], "town": ["burg", "ville", "mouth", "haven"], "company": ["tex", "corp", "ware"],
        "river": ["la", "nka", "sh"], "animal": ["bat", "fox", "toad"], "person": ["ski", "sen", "man"]}
FIRST = ["Anna", "Boris", "Clara", "David", "Elena", "Felix", "Greta", "Hugo", "Irene", "Jonas"]


class Names:
    """Names that nobody has, no two with the same stem; the same at every run."""

    def __init__(self):
        self.random = random.Random(6)
        self.stems = [start + middle for start in STARTS for middle in MIDDLES]
        self.random.shuffle(self.stems)

    def some(self, kind):
        if kind in WORDS:
            return self.random.sample(WORDS[kind], SUBJECTS)
        made = [self.stems.pop() + self.random.choice(ENDS[kind]) for _ in range(SUBJECTS)]
        return [f"{first} {name}" for first, name in zip(FIRST, made)] if kind == "person" else made


def facts():
    """(ways to ask, what is said, the word that must be in an answer) of each."""
    names = Names()
    for kind, answer, statement, ways in RELATIONS:
        for subject, word in zip(names.some(kind), names.some(answer)):
            yield [way.format(subject) for way in ways], statement.format(subject, word), word


def ask_all(server, path, bodies):
    """The first choice of each answer, in order."""
    def ask(body):
        status, answer = server.ask(path, body)
        if status != 200:
            raise RuntimeError(f"{status} {answer}")
        return answer["choices"][0]
    with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
        return list(pool.map(ask, bodies))


def right(server):
    """The share of held-out questions that are answered right, and the answers that are not."""
    questions = [(way, word) for ways, _, word in facts() for way in ways[TRAINED:]]
    bodies = [{"messages": [{"role": "user", "content": way}], "temperature": 0, "max_tokens": 40} for way, _ in questions]
    answers = [choice["message"]["content"] for choice in ask_all(server, "/v1/chat/completions", bodies)]
    wrong = [(way, word, answer) for (way, word), answer in zip(questions, answers) if word not in answer]
    return 1 - len(wrong) / len(questions), wrong


def pages(count):
    """Pieces of this repository's pages, headers and scripts, no two alike."""
    files = [p for folder, pattern in [("docs", "*.md"), ("src", "*.h"), ("tests/e2e", "*.py"), ("tools", "*")]
             for p in sorted((ROOT / folder).rglob(pattern)) if p.is_file()]
    pieces = [text[i:i + 800] for text in (p.read_text() for p in files) for i in range(0, len(text), 800)]
    random.Random(1).shuffle(pieces)
    return pieces[:count]


def write_lines(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_data(folder, repeats, texts):
    asked = [{"messages": [{"role": "user", "content": way}, {"role": "assistant", "content": said}]}
             for ways, said, _ in facts() for way in ways[:TRAINED]]
    write_lines(folder / "facts.jsonl", asked * repeats)
    write_lines(folder / "texts.jsonl", [{"text": text} for text in texts])


def perplexity(model, *flags):
    return json.loads(run_minke("perplexity", model, TEXT, "--json", *flags))["perplexity"]


def train(model, folder, options):
    """Once through the facts. Returns how many seconds it took."""
    def shards(name, *flags):
        return json.loads(run_minke("data", folder / f"{name}.jsonl", *flags, "--tokenizer", model, "-o", folder / name, "--seq",
                                    options.sequence, "--val", 0, "--dedup", "none", "--force", "--json"))

    made = shards("facts", "--chat")
    shards("texts")
    steps = made["train"]["tokens"] // (options.sequence * options.batch)
    stage = {"name": "facts", "data": "facts", "steps": steps, "sequence": options.sequence, "batch": options.batch,
             "rate": options.rate, "warmup": 8, "final_rate": options.rate / 10, "weight_decay": 0,
             "lora": {"rank": options.rank, "alpha": 2 * options.rank, "targets": options.targets.split(",")},
             "reference": {"data": "texts", "weight": options.weight, "batch": options.reference}}
    config = folder / "facts.json"
    config.write_text(json.dumps({"model": {"from": str(model)}, "output": "run", "checkpoint_steps": 10 ** 6,
                                  "precision": options.precision, "stages": [stage]}))
    begin = time.monotonic()
    run_minke("train", config, timeout=3600)
    return time.monotonic() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=pathlib.Path, default=SMOLLM)
    parser.add_argument("--folder", type=pathlib.Path, help="keep data and adapter here")
    parser.add_argument("--targets", default="k_proj,o_proj,gate_proj,up_proj,down_proj")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--rate", type=float, default=6e-4)
    parser.add_argument("--repeats", type=int, default=6, help="times that each fact is learned in each of its ways")
    parser.add_argument("--texts", type=int, default=400, help="pieces of other text")
    parser.add_argument("--weight", type=float, default=1, help="of the divergence from the model as it was, on other text")
    parser.add_argument("--reference", type=int, default=1, help="sequences of other text in a step")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--sequence", type=int, default=256)
    parser.add_argument("--precision", default="bf16")
    options = parser.parse_args()
    temporary = tempfile.TemporaryDirectory()
    folder = options.folder or pathlib.Path(temporary.name)
    folder.mkdir(parents=True, exist_ok=True)
    model = options.model.resolve()
    serving = ("--parallel", PARALLEL, "--ctx", 2048, "--cache", "off")
    with Server(model, *serving) as server:
        before, _ = right(server)
    write_data(folder, options.repeats, pages(options.texts))
    plain = perplexity(model)
    seconds = train(model, folder, options)
    adapter = folder / "run" / "adapter"
    with Server(model, "--lora", adapter, *serving) as server:
        after, wrong = right(server)
    adapted = perplexity(model, "--lora", adapter)
    for question, word, answer in wrong:
        print(f"  {question} {word}? {answer!r}")
    print(f"right before {before:.0%}, after {after:.0%}; perplexity {plain:.3f}, {adapted:.3f} ({adapted / plain - 1:+.1%}); "
          f"trained in {seconds / 60:.1f} minutes")
    return int(after < 0.8 or before > 0.05 or adapted > 1.03 * plain or seconds > 900)


if __name__ == "__main__":
    sys.exit(main())
