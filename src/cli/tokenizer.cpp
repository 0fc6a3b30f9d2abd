#include <system_error>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/cpu.h"
#include "base/error.h"
#include "cli/command.h"
#include "cli/document_flags.h"
#include "cli/model_flags.h"
#include "cli/progress.h"
#include "text/pre_tokenizer.h"
#include "train/tokenizer_training.h"

namespace minke {
namespace {

constexpr int kContext = 1 << 20;  // model_max_length: a tokenizer sets no limit of its own

struct Flags {
  DocumentFlags documents;
  TokenizerTraining training;
  std::string out;
  bool force = false, json = false;
};

TrainedTokenizer learn(const Flags& flags, DocumentReader& reader) {
  TokenizerTraining training = flags.training;
  if (training.threads == 0) training.threads = usable_cores();
  Progress reading("counting words", Progress::Unit::bytes), learning("learning", Progress::Unit::count);
  training.reading = [&](int64_t done, int64_t all) { reading.show(done, all); };
  training.learning = [&](int64_t done, int64_t all) { learning.show(done, all); };
  return train_tokenizer(reader, training);
}

void print(const Flags& flags, const TrainedTokenizer& trained) {
  const double rate = static_cast<double>(trained.bytes) / 1e6 / trained.reading_seconds;
  if (!flags.json) {
    fmt::print("{} tokens from {} in {} documents ({} different words): {}\n", trained.tokens,
               bytes_text(trained.bytes), trained.documents, trained.words, flags.out);
    fmt::print("words counted in {:.1f} s ({:.1f} MB/s), merges learned in {:.1f} s\n",
               trained.reading_seconds, rate, trained.learning_seconds);
    if (trained.tokens < flags.training.vocab)
      fmt::print("The text has no more pairs that are seen {} times; more text gives more tokens\n",
                 flags.training.least);
    return;
  }
  Json json;
  json.set("folder", flags.out);
  json.set("tokens", trained.tokens);
  json.set("documents", trained.documents);
  json.set("bytes", trained.bytes);
  json.set("pieces", trained.pieces);
  json.set("words", trained.words);
  json.set("reading_seconds", trained.reading_seconds);
  json.set("learning_seconds", trained.learning_seconds);
  json.set("megabytes_per_second", rate);
  fmt::print("{}\n", to_string(json));
}

int run(const Flags& flags) {
  const fs::path folder = flags.out;
  std::error_code failed;
  if (!flags.force && fs::exists(folder / "tokenizer.json", failed))
    throw Error("is there already", (folder / "tokenizer.json").string(), "--force writes over it");
  flags.training.recipe.added();  // mistakes in flags come before the work
  DocumentReader reader = flags.documents.open();
  const TrainedTokenizer trained = learn(flags, reader);
  warn_of_skipped(reader);
  if (trained.documents == 0) throw Error("no document is in these files", flags.documents.files.front());
  fs::create_directories(folder, failed);
  if (failed) throw Error(fmt::format("cannot create: {}", failed.message()), flags.out);
  write_file(folder / "tokenizer_config.json", to_string(trained.files.tokenizer_config(kContext), 2));
  write_file(folder / "tokenizer.json", to_string(trained.files.tokenizer_json(), 1));
  print(flags, trained);
  return kExitOk;
}

}  // namespace

void add_tokenizer(CLI::App& app, Action& action) {
  auto flags = std::make_shared<Flags>();
  CLI::App& tokenizer = *app.add_subcommand("tokenizer", "Make tokenizers");
  tokenizer.require_subcommand(1);
  CLI::App& command = *tokenizer.add_subcommand("train", "Learn a byte-level BPE tokenizer from text");
  flags->documents.add(command);
  command.add_option("-o,--output", flags->out, "Folder for tokenizer.json and tokenizer_config.json")
      ->required()
      ->type_name("FOLDER");
  command
      .add_option("--vocab", flags->training.vocab,
                  "Tokens in all, the 256 bytes and the special ones among them")
      ->required()
      ->check(CLI::Range(257, 1 << 24));
  command
      .add_option("--pre", flags->training.recipe.pre,
                  fmt::format("How text is cut into pieces, as one of: {}", known_pre_names()))
      ->capture_default_str();
  command
      .add_option("--tokens", flags->training.recipe.family,
                  fmt::format("Whose special tokens and chat template it has: {}",
                              fmt::join(token_family_names(), ", ")))
      ->capture_default_str();
  command
      .add_option("--special", flags->training.recipe.special, "A further special token; may be given again")
      ->allow_extra_args(false)
      ->type_name("TEXT");
  command.add_option("--min-count", flags->training.least, "Merge no pair that is seen less often")
      ->check(CLI::Range(1, 1 << 30))
      ->capture_default_str();
  flags->training.threads = 0;
  add_threads(command, flags->training.threads);
  command.add_flag("--force", flags->force, "Write over a tokenizer that is there");
  command.add_flag("--json", flags->json, "Print JSON");
  command.footer(
      "Examples:\n  minke tokenizer train corpus/ -o tokenizer --vocab 8192\n"
      "  minke tokenizer train code.jsonl.zst -o tokenizer --vocab 32000 --pre qwen2 --tokens chatml");
  command.callback([flags, &action] { action = [flags] { return run(*flags); }; });
}

}  // namespace minke
