#include "train/shards.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <system_error>

#include <fmt/format.h>

#include "base/error.h"

namespace minke {
namespace {

constexpr char kMagic[8] = {'M', 'i', 'n', 'k', 'e', 'T', 'o', 'k'};
constexpr uint32_t kVersion = 1, kHasLoss = 1;
constexpr const char* kDamaged = "the file is damaged; make the shards again with `minke data`";
constexpr const char* kMakeAgain = "the files of a folder belong together; make them again with `minke data`";

// The beginning of a file. Then tokens, zeros up to a multiple of 8, ends of documents, bits of the loss
// mask.
struct Header {
  char magic[8];
  uint32_t version, flags;
  uint32_t token_bytes, vocab;
  uint32_t row, index, count, zero;
  uint64_t tokens, documents;
  Hash128 set, tokenizer;
  Hash128 content;   // of all that follows the header
  Hash128 checksum;  // of the header with this field zero
};
static_assert(sizeof(Header) == 120);

Hash128 checksum(Header header) {
  header.checksum = {};
  return hash128(std::as_bytes(std::span(&header, 1)));
}

uint64_t padded(uint64_t bytes) { return (bytes + 7) / 8 * 8; }

uint32_t bytes_of_token(int vocab) { return vocab <= 1 << 16 ? 2 : 4; }

void append(std::vector<std::byte>& out, const void* data, size_t bytes) {
  const auto* const from = static_cast<const std::byte*>(data);
  out.insert(out.end(), from, from + bytes);
}

std::vector<std::byte> body_of(const ShardContent& content, uint32_t token_bytes, int vocab) {
  std::vector<std::byte> body;
  body.reserve(content.tokens.size() * token_bytes + content.ends.size() * 8 + content.loss.size() / 8 + 16);
  for (const Token token : content.tokens) {
    MINKE_CHECK(token >= 0 && token < vocab, "token {} of {}", token, vocab);
    append(body, &token, token_bytes);  // little-endian: the low bytes are the short number
  }
  body.resize(padded(body.size()));
  append(body, content.ends.data(), content.ends.size() * 8);
  if (content.loss.empty()) return body;
  std::vector<uint8_t> bits((content.loss.size() + 7) / 8);
  for (size_t i = 0; i < content.loss.size(); ++i)
    if (content.loss[i]) bits[i / 8] = static_cast<uint8_t>(bits[i / 8] | 1u << i % 8);
  append(body, bits.data(), bits.size());
  return body;
}

// Bytes of the file that the header announces; throws where its numbers make no sense.
uint64_t announced_bytes(const Header& h) {
  constexpr uint64_t kMost = uint64_t{1} << 48;  // of anything: sums below cannot overflow
  const bool sane = (h.token_bytes == 2 || h.token_bytes == 4) && h.flags <= kHasLoss && h.vocab > 0 &&
                    h.vocab <= (h.token_bytes == 2 ? 1u << 16 : uint32_t{INT32_MAX}) && h.row <= INT32_MAX &&
                    h.count > 0 && h.count <= INT32_MAX && h.index < h.count && h.tokens < kMost &&
                    h.documents <= h.tokens && h.zero == 0;
  if (!sane) throw Error("its header makes no sense", {}, kDamaged);
  return sizeof(Header) + padded(h.tokens * h.token_bytes) + h.documents * 8 +
         (h.flags & kHasLoss ? (h.tokens + 7) / 8 : 0);
}

Header read_header(Bytes bytes) {
  Header header;
  if (bytes.size() >= sizeof kMagic && std::memcmp(bytes.data(), kMagic, sizeof kMagic) != 0)
    throw Error("is no token shard", {}, "`minke data` makes them");
  if (bytes.size() < sizeof header)
    throw Error(fmt::format("is cut short: {} bytes, a header has {}", bytes.size(), sizeof header), {},
                kDamaged);
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.version != kVersion)
    throw Error(fmt::format("is of version {}, known is {}", header.version, kVersion), {},
                "a newer Minke made it, or it is damaged");
  if (header.checksum != checksum(header)) throw Error("its header is damaged", {}, kDamaged);
  const uint64_t announced = announced_bytes(header);
  if (bytes.size() < announced)
    throw Error(fmt::format("is cut short: {} bytes of {}", bytes.size(), announced), {}, kDamaged);
  if (bytes.size() > announced)
    throw Error(fmt::format("goes on after its end: {} bytes, not {}", bytes.size(), announced), {},
                kDamaged);
  return header;
}

void check_ends(std::span<const uint64_t> ends, uint64_t tokens) {
  uint64_t last = 0;
  for (const uint64_t end : ends) {
    if (end <= last) throw Error("its documents do not follow one another", {}, kDamaged);
    last = end;
  }
  if (last != tokens)
    throw Error(fmt::format("its documents end at token {} of {}", last, tokens), {}, kDamaged);
}

void check_expected(const Header& header, const TokenShards::Expected& expected) {
  if (expected.tokenizer && *expected.tokenizer != header.tokenizer)
    throw Error(fmt::format("was made with another tokenizer ({}, not {})",
                            hex(header.tokenizer).substr(0, 8), hex(*expected.tokenizer).substr(0, 8)),
                {}, "make the shards with the model's own: minke data --tokenizer");
  if (expected.vocab > 0 && static_cast<uint32_t>(expected.vocab) < header.vocab)
    throw Error(fmt::format("has a vocabulary of {}, the model only {}", header.vocab, expected.vocab), {},
                "the model's vocabulary must be as large as its tokenizer's");
}

}  // namespace

void ShardContent::add(std::span<const Token> document) {
  tokens.insert(tokens.end(), document.begin(), document.end());
  ends.push_back(tokens.size());
  if (!loss.empty()) loss.resize(tokens.size(), true);
}

void ShardContent::add(std::span<const Token> document, const std::vector<bool>& learned) {
  MINKE_CHECK(document.size() == learned.size());
  loss.resize(tokens.size(), true);
  add(document);
  loss.resize(ends.size() > 1 ? ends[ends.size() - 2] : 0);
  loss.insert(loss.end(), learned.begin(), learned.end());
}

void write_shard(const fs::path& path, const ShardSet& set, int index, const ShardContent& content) {
  Header header = {};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.version = kVersion;
  header.flags = content.loss.empty() ? 0 : kHasLoss;
  header.token_bytes = bytes_of_token(set.vocab);
  header.vocab = static_cast<uint32_t>(set.vocab);
  header.row = static_cast<uint32_t>(set.row);
  header.index = static_cast<uint32_t>(index);
  header.count = static_cast<uint32_t>(set.count);
  header.tokens = content.tokens.size();
  header.documents = content.ends.size();
  header.set = set.id;
  header.tokenizer = set.tokenizer;
  const std::vector<std::byte> body = body_of(content, header.token_bytes, set.vocab);
  header.content = hash128(body);
  header.checksum = checksum(header);
  AtomicFile file(path);
  file.write(std::as_bytes(std::span(&header, 1)));
  file.write(body);
  file.commit();
}

TokenShards::Shard TokenShards::open_one(const fs::path& path, const Expected& expected, ShardSet& set,
                                         int& index) {
  Shard shard{.file = MappedFile(path), .ends = {}};
  const Bytes bytes = shard.file.bytes();
  const Header header = read_header(bytes);
  check_expected(header, expected);
  const Bytes body = bytes.subspan(sizeof header);
  if (expected.check_content && hash128(body) != header.content)
    throw Error("its content is damaged: the checksum disagrees", {}, kDamaged);
  const uint64_t token_bytes = padded(header.tokens * header.token_bytes);
  shard.token_bytes = static_cast<int>(header.token_bytes);
  shard.tokens = static_cast<int64_t>(header.tokens);
  shard.data = body.data();
  shard.ends = {reinterpret_cast<const uint64_t*>(body.data() + token_bytes), header.documents};
  check_ends(shard.ends, header.tokens);
  if (header.flags & kHasLoss)
    shard.loss = reinterpret_cast<const uint8_t*>(body.data() + token_bytes + header.documents * 8);
  set = {.id = header.set,
         .tokenizer = header.tokenizer,
         .vocab = static_cast<int>(header.vocab),
         .row = static_cast<int>(header.row),
         .count = static_cast<int>(header.count)};
  index = static_cast<int>(header.index);
  return shard;
}

TokenShards TokenShards::open(const fs::path& folder, std::string_view name, const Expected& expected) {
  std::error_code failed;
  if (fs::is_regular_file(folder, failed)) return open_files(std::span(&folder, 1), expected);
  std::vector<fs::path> files;
  for (auto it = fs::directory_iterator(folder, failed); !failed && it != fs::directory_iterator();
       it.increment(failed)) {
    const std::string file = it->path().filename().string();
    if (file.starts_with(fmt::format("{}-", name)) && file.ends_with(".tokens")) files.push_back(it->path());
  }
  if (failed) throw Error(fmt::format("cannot open: {}", failed.message()), folder.string());
  if (files.empty())
    throw Error(fmt::format("has no token shards {}-*.tokens", name), folder.string(),
                "`minke data` makes them");
  std::sort(files.begin(), files.end());
  return open_files(files, expected);
}

TokenShards TokenShards::open_files(std::span<const fs::path> files, const Expected& expected) {
  MINKE_CHECK(!files.empty());
  TokenShards all;
  std::vector<Shard> found;
  for (const fs::path& path : files) {
    try {
      ShardSet set;
      int index = 0;
      Shard shard = open_one(path, expected, set, index);
      if (found.empty()) {
        all.set_ = set;
        found.resize(std::min(static_cast<size_t>(set.count), files.size()));
      }
      const bool same = set.id == all.set_.id && set.tokenizer == all.set_.tokenizer &&
                        set.vocab == all.set_.vocab && set.row == all.set_.row && set.count == all.set_.count;
      if (!same)
        throw Error(fmt::format("belongs to another set than {}", files[0].filename().string()), {},
                    kMakeAgain);
      if (static_cast<size_t>(index) >= found.size())
        throw Error(
            fmt::format("is shard {} of {}, but only {} are here", index + 1, set.count, files.size()), {},
            "a shard is missing");
      Shard& place = found[static_cast<size_t>(index)];
      if (place.data)
        throw Error(fmt::format("is shard {} of {}, and so is {}", index + 1, set.count,
                                place.file.path().filename().string()),
                    {}, kMakeAgain);
      place = std::move(shard);
    } catch (const Error& e) {
      throw e.subject().empty() ? e.within(path.string()) : e;
    }
  }
  for (size_t i = 0; i < static_cast<size_t>(all.set_.count); ++i)
    if (i >= found.size() || !found[i].data)
      throw Error(fmt::format("shard {} of {} is missing", i + 1, all.set_.count),
                  files[0].parent_path().string(), kMakeAgain);
  for (const Shard& shard : found) all.begins_.push_back(all.begins_.back() + shard.tokens);
  all.shards_ = std::move(found);
  if (all.tokens() == 0) throw Error("has no tokens", files[0].string());
  return all;
}

int64_t TokenShards::documents() const {
  int64_t n = 0;
  for (const Shard& shard : shards_) n += static_cast<int64_t>(shard.ends.size());
  return n;
}

int64_t TokenShards::bytes() const {
  int64_t n = 0;
  for (const Shard& shard : shards_) n += static_cast<int64_t>(shard.file.bytes().size());
  return n;
}

int64_t TokenShards::learned() const {
  int64_t n = 0;
  for (const Shard& shard : shards_) {
    const auto bit = [&](uint64_t i) { return !shard.loss || (shard.loss[i / 8] >> i % 8 & 1) != 0; };
    uint64_t begin = 0;
    for (const uint64_t end : shard.ends) {
      for (uint64_t i = begin + 1; i < end; ++i) n += bit(i);
      begin = end;
    }
  }
  return n;
}

// Tokens [begin, end) of a shard, as the next ones of a row.
void TokenShards::append(const Shard& shard, int64_t begin, int64_t end, TokenRow& row) const {
  const auto first = static_cast<uint64_t>(begin);
  auto document = std::upper_bound(shard.ends.begin(), shard.ends.end(), first);  // where this one ends
  uint64_t start = document == shard.ends.begin() ? 0 : document[-1];
  for (auto i = first; i < static_cast<uint64_t>(end); ++i) {
    if (i == *document) start = *document++;
    if (i == start || row.tokens.empty()) row.starts.push_back(static_cast<int32_t>(row.tokens.size()));
    uint32_t token = 0;
    const auto bytes = static_cast<size_t>(shard.token_bytes);
    std::memcpy(&token, shard.data + i * bytes, bytes);
    if (token >= static_cast<uint32_t>(set_.vocab))
      throw Error(fmt::format("token {} is {}, the vocabulary has {}", i, token, set_.vocab),
                  shard.file.path().string(), kDamaged);
    row.tokens.push_back(static_cast<Token>(token));
    row.loss.push_back(i != start && (!shard.loss || (shard.loss[i / 8] >> i % 8 & 1)) ? 1 : 0);
  }
}

void TokenShards::read(int64_t index, int length, int ahead, TokenRow& row) const {
  MINKE_CHECK(index >= 0 && index < rows(length));
  row.tokens.clear();
  row.starts.clear();
  row.loss.clear();
  int64_t at = index * length;
  const int64_t end = std::min(at + length + ahead, tokens());
  auto shard =
      static_cast<size_t>(std::upper_bound(begins_.begin(), begins_.end(), at) - begins_.begin()) - 1;
  for (; at < end; ++shard) {
    const int64_t stop = std::min(end, begins_[shard + 1]);
    if (stop > at) append(shards_[shard], at - begins_[shard], stop - begins_[shard], row);
    at = std::max(at, stop);
  }
  const auto whole = static_cast<size_t>(length + ahead);
  if (row.tokens.size() == whole) return;
  row.starts.push_back(static_cast<int32_t>(row.tokens.size()));
  row.tokens.resize(whole, 0);
  row.loss.resize(whole, 0);
}

}  // namespace minke
