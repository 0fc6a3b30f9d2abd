#include "train/tokenizer_training.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <optional>

#include "base/error.h"
#include "base/thread_pool.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/tokenizer_draft.h"

namespace minke {
namespace {

constexpr size_t kBatch = 32 << 20, kCut = 1 << 20;

// Pieces of at most kCut bytes, as far as there are lines.
void cut(std::string_view text, std::vector<std::string_view>& pieces) {
  while (text.size() > kCut) {
    size_t end = text.rfind('\n', kCut);
    if (end == text.npos) end = text.find('\n', kCut);
    if (end == text.npos) break;
    pieces.push_back(text.substr(0, end + 1));
    text.remove_prefix(end + 1);
  }
  if (!text.empty()) pieces.push_back(text);
}

std::string contents(const Json& chat) {
  std::string text;
  for (const Json& message : chat.at("messages").as_array())
    if (const Json* content = message.find("content"); content && content->is_string())
      text += content->as_string() + "\n";
  return text;
}

class Counting {
 public:
  Counting(const TokenizerRecipe& recipe, int threads)
      : pre_(*known_split_rules(recipe.pre)),
        normalizer_(implied_normalizer(canonical_pre_name(recipe.pre))),
        pool_(threads) {
    for (int t = 0; t < threads; ++t) threads_.push_back({PreTokenizer::Scratch(pre_), {}});
  }

  // Throws Error where the pre-tokeniser cannot cut a piece.
  void add(const std::vector<std::string_view>& pieces) {
    std::vector<std::optional<Error>> errors(pieces.size());
    pool_.for_each(static_cast<int64_t>(pieces.size()), 1, [&](int64_t begin, int64_t end, int t) {
      for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
        try {
          count(pieces[i], threads_[static_cast<size_t>(t)]);
        } catch (const Error& e) {
          errors[i] = e;
        }
      }
    });
    for (const auto& error : errors)
      if (error) throw *error;
  }

  WordCounts all() {
    WordCounts words = std::move(threads_[0].words);
    for (size_t t = 1; t < threads_.size(); ++t) words.add(threads_[t].words);
    return words;
  }

 private:
  struct Thread {
    PreTokenizer::Scratch scratch;
    WordCounts words;
  };

  void count(std::string_view text, Thread& thread) const {
    std::string normalised;
    if (!normalizer_.empty()) {
      normalised = text;
      std::vector<TextRun> none;
      normalizer_.apply(normalised, none);
      text = normalised;
    }
    pre_.split(text, thread.scratch, [&](std::string_view word) { thread.words.add(word); });
  }

  PreTokenizer pre_;
  Normalizer normalizer_;
  ThreadPool pool_;
  std::vector<Thread> threads_;
};

double since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

TrainedTokenizer train_tokenizer(DocumentReader& reader, const TokenizerTraining& training) {
  const std::vector<std::string> added = training.recipe.added();
  const int least = 256 + static_cast<int>(added.size());
  if (training.vocab < least)
    throw Error(fmt::format("{} is too few: 256 bytes and {} added tokens are {}", training.vocab,
                            added.size(), least),
                "--vocab");
  int64_t documents = 0, bytes = 0;
  auto start = std::chrono::steady_clock::now();
  Counting counting(training.recipe, training.threads);
  for (bool more = true; more;) {
    std::deque<std::string> texts;
    std::vector<std::string_view> pieces;
    Document document;
    for (size_t held = 0; held < kBatch && (more = reader.next(document)); ++documents) {
      texts.push_back(document.chat.is_null() ? std::move(document.text) : contents(document.chat));
      held += texts.back().size();
      cut(texts.back(), pieces);
    }
    counting.add(pieces);
    for (const std::string& text : texts) bytes += static_cast<int64_t>(text.size());
    if (training.reading) training.reading(reader.done(), reader.size());
  }
  const WordCounts words = counting.all();
  const double reading = since(start);
  start = std::chrono::steady_clock::now();
  const LearnedBpe learned = learn_bpe(words, {.vocab = training.vocab - static_cast<int>(added.size()),
                                               .least = training.least,
                                               .reserved = added,
                                               .progress = training.learning});
  return {.files = make_tokenizer(training.recipe, learned),
          .tokens = static_cast<int>(learned.tokens.size() + added.size()),
          .documents = documents,
          .bytes = bytes,
          .pieces = static_cast<int64_t>(words.total()),
          .words = static_cast<int64_t>(words.size()),
          .reading_seconds = reading,
          .learning_seconds = since(start)};
}

}  // namespace minke
