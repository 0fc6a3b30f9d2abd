#include "serve/keys.h"

#include <charconv>
#include <set>

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include "base/error.h"

namespace minke {
namespace {

constexpr std::string_view kBlank = " \t\r";

std::string_view next_word(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(kBlank), line.size()));
  const std::string_view word = line.substr(0, line.find_first_of(kBlank));
  line.remove_prefix(word.size());
  return word;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

void parse_hash(std::string_view text, ApiKey& key, const std::string& where) {
  bool good = text.size() == 2 * key.hash.size();
  for (size_t i = 0; good && i < key.hash.size(); ++i) {
    const int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
    good = high >= 0 && low >= 0;
    key.hash[i] = static_cast<unsigned char>(16 * high + low);
  }
  if (!good)
    throw Error("the second word is no SHA-256 in hexadecimal", where, "printf %s KEY | sha256sum gives it");
}

}  // namespace

std::array<unsigned char, 32> sha256(std::string_view text) {
  std::array<unsigned char, 32> hash;
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), hash.data());
  return hash;
}

std::vector<ApiKey> parse_keys(std::string_view text) {
  std::vector<ApiKey> keys;
  std::set<std::string> names;
  for (int number = 1; !text.empty(); ++number) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const std::string where = fmt::format("line {}", number);
    const std::string_view name = next_word(line);
    if (name.empty() || name.starts_with('#')) continue;
    ApiKey key;
    key.name = name;
    if (!names.insert(key.name).second) throw Error("a second key of this name", where);
    parse_hash(next_word(line), key, where);
    for (std::string_view word = next_word(line); !word.empty(); word = next_word(line)) {
      constexpr std::string_view kParallel = "parallel=";
      const char* end = word.data() + word.size();
      if (!word.starts_with(kParallel) ||
          std::from_chars(word.data() + kParallel.size(), end, key.parallel).ptr != end || key.parallel < 1)
        throw Error(fmt::format("'{}' is not parallel=N", word), where);
    }
    keys.push_back(std::move(key));
  }
  return keys;
}

KeyRing::KeyRing(fs::path file) : file_(std::move(file)) {
  if (asks()) reload();
}

void KeyRing::reload() {
  if (!asks()) return;
  std::vector<ApiKey> keys;
  try {
    keys = parse_keys(read_file(file_, 16 << 20));
  } catch (const Error& e) {
    throw e.subject().starts_with("line") ? e.within(file_.string()) : e;
  }
  if (keys.empty()) throw Error("has no keys: nobody could use the server", file_.string());
  const std::lock_guard lock(mutex_);
  keys_ = std::move(keys);
}

std::optional<ApiKey> KeyRing::find(std::string_view given) const {
  const auto hash = sha256(given);
  const std::lock_guard lock(mutex_);
  const ApiKey* found = nullptr;
  for (const ApiKey& key : keys_)
    if (CRYPTO_memcmp(key.hash.data(), hash.data(), hash.size()) == 0) found = &key;
  return found ? std::optional(*found) : std::nullopt;
}

}  // namespace minke
