#include "text/tokenizer.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "formats/gguf.h"
#include "text/tokenizer_draft.h"
#include "text/utf8.h"

namespace minke {
namespace {

constexpr size_t kMaxText = size_t{1} << 31;

// The runs' parts inside [begin, end), counted from begin.
std::vector<TextRun> clip(const std::vector<TextRun>& runs, size_t begin, size_t end) {
  std::vector<TextRun> clipped;
  auto run = std::lower_bound(runs.begin(), runs.end(), begin,
                              [](const TextRun& r, size_t at) { return r.end <= at; });
  for (; run != runs.end() && run->begin < end; ++run)
    clipped.push_back({std::max(run->begin, begin) - begin, std::min(run->end, end) - begin});
  return clipped;
}

// What one call of encode needs beside the tokenizer.
struct Encoding {
  const Tokenizer::Impl& tokenizer;
  PreTokenizer::Scratch scratch;
  Bpe::Memory memory;
  std::vector<Token> tokens;

  // Text without added tokens.
  void add_text(std::string_view text) {
    tokenizer.pre.split(text, scratch,
                        [&](std::string_view piece) { tokenizer.bpe.encode(piece, tokens, memory); });
  }

  // Finds added tokens, and gives what lies between them to `rest`.
  template <typename F>
  void add_found(const AddedTokenFinder& finder, std::string_view text, const std::vector<TextRun>& runs,
                 bool skip_special, F&& rest) {
    size_t done = 0;
    for (const auto& match : finder.find(text, runs, skip_special)) {
      if (match.begin > done) rest(done, match.begin);
      tokens.push_back(match.id);
      done = match.end;
    }
    if (done < text.size()) rest(done, text.size());
  }
};

}  // namespace

std::vector<Token> Tokenizer::Impl::encode(std::string_view text, const std::vector<TextRun>& runs,
                                           bool skip_special) const {
  if (text.size() >= kMaxText)
    throw Error(fmt::format("{} bytes of text are too many to tokenise", text.size()));
  if (const size_t at = find_invalid_utf8(text); at != std::string_view::npos)
    throw Error(fmt::format("the text is not UTF-8 at byte {}", at));
  Encoding encoding{*this, PreTokenizer::Scratch(pre), Bpe::Memory(text.size()), {}};
  encoding.tokens.reserve(text.size() / 3 + 8);
  encoding.add_found(before, text, runs, skip_special, [&](size_t begin, size_t end) {
    std::string_view section = text.substr(begin, end - begin);
    if (normalizer.empty() && after.empty()) return encoding.add_text(section);
    std::vector<TextRun> inner = clip(runs, begin, end);
    std::string normalised;
    if (!normalizer.empty()) {
      normalised = section;
      normalizer.apply(normalised, inner);
      section = normalised;
    }
    encoding.add_found(after, section, inner, skip_special,
                       [&](size_t from, size_t to) { encoding.add_text(section.substr(from, to - from)); });
  });
  return std::move(encoding.tokens);
}

size_t Tokenizer::Impl::checked(Token token) const {
  if (token < 0 || token >= vocabulary().size())
    throw Error(fmt::format("token {} does not exist; the vocabulary has {}", token, vocabulary().size()));
  return static_cast<size_t>(token);
}

Tokenizer::Tokenizer(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Tokenizer Tokenizer::open(const fs::path& path) {
  std::error_code unknown;  // what is no folder is opened as a file, which tells what is wrong with it
  if (fs::is_directory(path, unknown)) {
    for (const char* name : {"tokenizer.json", "tokenizer.json.gz"})
      if (fs::exists(path / name, unknown)) return from_file(path / name);
    throw Error("no tokenizer.json in this folder", path.string(),
                "it lies beside the weights where they were published");
  }
  const std::string name = path.filename().string();
  if (name.ends_with(".json") || name.ends_with(".json.gz")) return from_file(path);
  return from_gguf(Gguf::open(path));
}

std::vector<Token> Tokenizer::encode(std::string_view text, Added added) const {
  std::vector<TextRun> runs;
  if (added != Added::none && !text.empty()) runs.push_back({0, text.size()});
  return impl_->encode(text, runs, added == Added::special_as_text);
}

std::vector<Token> Tokenizer::encode(const Pieces& pieces) const {
  std::vector<TextRun> runs;
  size_t end = 0;
  for (const Piece& piece : pieces) {
    const size_t begin = end;
    end += piece.text.size();
    if (piece.given || begin == end) continue;
    if (!runs.empty() && runs.back().end == begin)
      runs.back().end = end;
    else
      runs.push_back({begin, end});
  }
  return impl_->encode(plain(pieces), runs, false);
}

std::string Tokenizer::decode(std::span<const Token> tokens, bool skip_special) const {
  std::string bytes;
  for (const Token token : tokens)
    if (impl_->checked(token); !skip_special || !is_special(token)) bytes += impl_->vocabulary().bytes(token);
  return mend_utf8(bytes);
}

std::string_view Tokenizer::bytes(Token token) const {
  impl_->checked(token);
  return impl_->vocabulary().bytes(token);
}

int Tokenizer::size() const { return impl_->vocabulary().size(); }

std::optional<Token> Tokenizer::find(std::string_view text) const {
  const Vocabulary& vocabulary = impl_->vocabulary();
  if (const auto other = vocabulary.find_other(text); other && vocabulary.is_added(*other)) return other;
  return vocabulary.find_ordinary(text);
}

bool Tokenizer::is_added(Token token) const {
  return impl_->checked(token), impl_->vocabulary().is_added(token);
}
bool Tokenizer::has_added(std::string_view text) const {
  const std::optional<Token> token = find(text);
  return token && is_added(*token);
}
bool Tokenizer::is_special(Token token) const {
  return impl_->checked(token), impl_->vocabulary().kind(token) == TokenKind::special;
}
bool Tokenizer::is_unused(Token token) const {
  return impl_->checked(token), impl_->vocabulary().kind(token) == TokenKind::unused;
}
std::optional<Token> Tokenizer::bos() const { return impl_->bos; }
std::optional<Token> Tokenizer::eos() const { return impl_->eos; }
bool Tokenizer::add_bos() const { return impl_->add_bos; }
const std::vector<Token>& Tokenizer::end_tokens() const { return impl_->ends; }
std::optional<FimTokens> Tokenizer::fim() const { return impl_->fim; }
const std::string& Tokenizer::pre_name() const { return impl_->pre_name; }

const std::string& Tokenizer::chat_template(std::string_view name) const {
  const auto found = impl_->templates.find(name);
  return found == impl_->templates.end() ? impl_->no_template : found->second;
}

Detokenizer::Detokenizer(const Tokenizer& tokenizer, bool skip_special, std::vector<Token> kept)
    : tokenizer_(tokenizer), skip_special_(skip_special), kept_(std::move(kept)) {}

std::string Detokenizer::push(Token token) {
  if (skip_special_ && tokenizer_.is_special(token) && std::ranges::count(kept_, token) == 0) return {};
  pending_ += tokenizer_.bytes(token);
  size_t ready = 0;
  while (ready < pending_.size()) {
    const Utf8Unit unit = first_utf8(std::string_view(pending_).substr(ready));
    if (unit.kind == Utf8Unit::Kind::cut) break;
    ready += unit.length;
  }
  std::string text = mend_utf8(std::string_view(pending_).substr(0, ready));
  pending_.erase(0, ready);
  return text;
}

std::string Detokenizer::finish() { return mend_utf8(std::exchange(pending_, {})); }

}  // namespace minke
