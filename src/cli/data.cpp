#include <chrono>
#include <cmath>
#include <map>
#include <optional>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/cpu.h"
#include "base/error.h"
#include "cli/command.h"
#include "cli/document_flags.h"
#include "cli/model_flags.h"
#include "cli/progress.h"
#include "train/dataset.h"
#include "train/ngram.h"

namespace minke {
namespace {

struct Flags {
  DocumentFlags documents;
  DatasetOptions options;
  std::string tokenizer, out, dedup = "exact", pack, chat_template;
  bool chat = false, force = false, json = false;
};

struct NgramFlags {
  std::string train, eval;
  int order = 5, row = 0;
  int64_t seen = 0;
  uint64_t seed = 0;
  bool json = false;
};

const std::map<std::string, Dedup> kDedup = {
    {"none", Dedup::none}, {"exact", Dedup::exact}, {"near", Dedup::near}};

ChatFormat open_format(const Flags& flags, const Tokenizer& tokenizer) {
  const ChatHints hints = chat_hints(tokenizer);
  if (flags.chat_template.empty()) return ChatFormat::choose(tokenizer.chat_template(), hints);
  return ChatFormat::from_template(read_file(flags.chat_template, 16 << 20), hints.tokens,
                                   flags.chat_template);
}

void print_set(const char* name, const Json& set) {
  if (set.is_null()) return;
  fmt::print("{:<6} {} documents, {} tokens", name, set.at("documents").as_int(), set.at("tokens").as_int());
  if (set.at("learned").as_int() < set.at("tokens").as_int() - set.at("documents").as_int())
    fmt::print(", {} of them learned", set.at("learned").as_int());
  if (set.at("padding").as_int() > 0) fmt::print(", {} of padding", set.at("padding").as_int());
  fmt::print(", {} files\n", set.at("files").as_array().size());
}

void print(const Flags& flags, Json json, double seconds) {
  if (flags.json) {
    json.set("folder", flags.out);
    json.set("seconds", seconds);
    fmt::print("{}\n", to_string(json));
    return;
  }
  const Json& documents = json.at("documents");
  const auto count = [&](const char* key) { return documents.at(key).as_int(); };
  fmt::print("{} documents read, {} kept ({}): {} exact duplicates, {} near ones, {} blank, {} skipped\n",
             count("read"), count("kept"), bytes_text(json.at("bytes").as_int()), count("exact_duplicates"),
             count("near_duplicates"), count("blank"), count("skipped"));
  if (count("fim") > 0) fmt::print("{} of them for filling in the middle\n", count("fim"));
  print_set("train", json.at("train"));
  print_set("val", json.at("val"));
  fmt::print("{:.1f} s: {}\n", seconds, flags.out);
}

int make(Flags flags) {
  if (flags.documents.files.empty()) throw CLI::RequiredError("FILES");
  if (flags.tokenizer.empty()) throw Error("is missing", "--tokenizer", "`minke tokenizer train` makes one");
  if (flags.out.empty()) throw Error("is missing", "--output");
  DatasetOptions& options = flags.options;
  const Tokenizer tokenizer = Tokenizer::open(flags.tokenizer);
  std::optional<ChatFormat> format;
  if (flags.chat) options.chat = &format.emplace(open_format(flags, tokenizer));
  if (!flags.chat && !flags.chat_template.empty()) throw Error("goes with --chat", "--chat-template");
  options.dedup = kDedup.at(flags.dedup);
  options.packing =
      flags.pack == "whole" || (flags.pack.empty() && flags.chat) ? Packing::whole : Packing::stream;
  options.tokenizer = flags.tokenizer;
  options.skip_invalid = flags.documents.skip_invalid;
  if (options.threads == 0) options.threads = usable_cores();
  DocumentReader reader = flags.documents.open();
  const auto start = std::chrono::steady_clock::now();
  Json json = [&] {
    Progress reading("reading", Progress::Unit::bytes), writing("writing tokens", Progress::Unit::count);
    options.reading = [&](int64_t done, int64_t all) { reading.show(done, all); };
    options.writing = [&](int64_t done, int64_t all) { writing.show(done, all); };
    return make_dataset(reader, tokenizer, flags.out, flags.force, options);
  }();
  warn_of_skipped(reader);
  print(flags, std::move(json),
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  return kExitOk;
}

int measure(const NgramFlags& flags) {
  const TokenShards train = TokenShards::open(flags.train, "train", {});
  const std::string eval = flags.eval.empty() ? flags.train : flags.eval;
  const TokenShards val = TokenShards::open(eval, "val", {.tokenizer = train.set().tokenizer});
  if (flags.seen > 0 && flags.row == 0) throw Error("is missing: tokens of a row", "--seq");
  const NgramText text =
      flags.seen > 0 ? seen_tokens(train, flags.row, flags.seed, flags.seen) : all_tokens(train);
  const KneserNey model(text, train.set().vocab, flags.order);
  const KneserNey::Score score = model.score(all_tokens(val));
  if (score.tokens == 0) throw Error("has no tokens to predict", eval);
  if (!flags.json) {
    fmt::print("perplexity {:.4f}  (nll {:.5f}, {} tokens; {}-gram of {} tokens)\n", std::exp(score.nll),
               score.nll, score.tokens, flags.order, text.tokens.size());
    for (int n = 1; n <= flags.order; ++n)
      fmt::print("{}-grams {:>10}  discounts {:.4f} {:.4f} {:.4f}\n", n, model.ngrams(n),
                 model.discounts(n)[0], model.discounts(n)[1], model.discounts(n)[2]);
    return kExitOk;
  }
  JsonArray orders;
  for (int n = 1; n <= flags.order; ++n) {
    const auto& d = model.discounts(n);
    orders.push_back(JsonObject{{"ngrams", model.ngrams(n)}, {"discounts", JsonArray{d[0], d[1], d[2]}}});
  }
  Json json;
  json.set("perplexity", std::exp(score.nll));
  json.set("nll", score.nll);
  json.set("tokens", score.tokens);
  json.set("training_tokens", static_cast<int64_t>(text.tokens.size()));
  json.set("orders", std::move(orders));
  fmt::print("{}\n", to_string(json));
  return kExitOk;
}

void add_ngram(CLI::App& data, Action& action) {
  auto flags = std::make_shared<NgramFlags>();
  CLI::App& command = *data.add_subcommand(
      "ngram", "Measure how well an interpolated modified Kneser-Ney model predicts held-out shards");
  command.add_option("SHARDS", flags->train, "A folder with train-*.tokens, or one file: what it counts")
      ->required();
  command.add_option("--eval", flags->eval,
                     "A folder with val-*.tokens, or one file: what it predicts (default: SHARDS)");
  command.add_option("--order", flags->order, "Tokens of the longest n-grams")
      ->check(CLI::Range(1, 10))
      ->capture_default_str();
  command
      .add_option("--seen", flags->seen,
                  "Count only the first so many rows that training sees, with --seq and --seed")
      ->check(CLI::PositiveNumber);
  command.add_option("--seq", flags->row, "Tokens of a row of --seen")->check(CLI::Range(1, 1 << 24));
  command.add_option("--seed", flags->seed, "The seed of training's order");
  command.add_flag("--json", flags->json, "Print JSON");
  command.footer(
      "Examples:\n  minke data ngram data\n  minke data ngram data --eval data/val-00000.tokens --order 3");
  command.callback([flags, &action] { action = [flags] { return measure(*flags); }; });
}

void add_making(CLI::App& command, Flags& flags) {
  DatasetOptions& options = flags.options;
  command.add_option("--dedup", flags.dedup, "Leave out documents that are there before: none, exact, near")
      ->check(CLI::IsMember({"none", "exact", "near"}))
      ->capture_default_str();
  command
      .add_option("--near", options.near,
                  "Similarity (of 5-word shingles) from which --dedup near leaves out")
      ->check(CLI::Range(0.1, 1.0))
      ->capture_default_str();
  command.add_option("--fim", options.fim, "Share of documents to be made prefix, suffix, middle")
      ->check(CLI::Range(0.0, 1.0))
      ->type_name("RATE");
  command.add_flag("--chat", flags.chat,
                   "Conversations in the tokenizer's chat format, only answers being learned");
  command.add_option("--chat-template", flags.chat_template,
                     "A Jinja file instead of the tokenizer's own template");
  command
      .add_option("--pack", flags.pack,
                  "stream: documents one behind the other; whole: none that fits into a row of --seq is cut "
                  "(default: stream, with --chat whole)")
      ->check(CLI::IsMember({"stream", "whole"}));
  command.add_option("--seq", options.row, "Tokens of a row of --pack whole")
      ->check(CLI::Range(2, 1 << 24))
      ->capture_default_str();
  command.add_option("--val", options.val, "Share of tokens that is held out")
      ->check(CLI::Range(0.0, 0.9))
      ->capture_default_str();
  command.add_option("--seed", options.seed, "Of the order, of what is held out, of FIM's places");
  command.add_option("--shard-tokens", options.shard_tokens, "Tokens of a file, about")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->capture_default_str();
  command.add_option("--source", options.source, "Where documents are from that do not say it themselves");
  command.add_option("--license", options.license, "Their licence");
}

}  // namespace

void add_data(CLI::App& app, Action& action) {
  auto flags = std::make_shared<Flags>();
  flags->options.threads = 0;
  CLI::App& command =
      *app.add_subcommand("data", "Make token shards for training out of text and conversations");
  flags->documents.add(command);
  command.get_option("FILES")->required(false);  // its subcommand has none
  command.add_option("--tokenizer", flags->tokenizer,
                     "A folder with a tokenizer.json, the file, or a .gguf file");
  command.add_option("-o,--output", flags->out, "Folder for the shards")->type_name("FOLDER");
  add_making(command, *flags);
  add_threads(command, flags->options.threads);
  command.add_flag("--force", flags->force, "Replace FOLDER where it is there");
  command.add_flag("--json", flags->json, "Print JSON");
  command.footer(
      "Examples:\n  minke data corpus/ --tokenizer tokenizer -o data --dedup near\n"
      "  minke data code.jsonl.zst --tokenizer tokenizer -o data --fim 0.5 --license MIT\n"
      "  minke data chats.jsonl --tokenizer model-folder -o sft --chat --seq 2048");
  command.callback([flags, &command, &action] {
    if (command.get_subcommands().empty()) action = [flags] { return make(*flags); };
  });
  add_ngram(command, action);
}

}  // namespace minke
