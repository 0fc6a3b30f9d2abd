#pragma once
// Reading named fields, with every one accounted for: read, known and of no consequence, or refused.

#include <initializer_list>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "formats/gguf_writer.h"

namespace minke {

// Fields of a config.json object. `where` names the file (and the object inside it) in errors; `allowed` are
// unknown fields to pass over, in objects inside this one as well.
class JsonFields {
 public:
  JsonFields(const Json& object, std::string where, const std::set<std::string>& allowed);
  JsonFields(const Json&, std::string, std::set<std::string>&&) = delete;  // it is kept

  // The object that is the value of a field.
  JsonFields inside(std::string_view key, const Json& object) const;

  // Null and absent are the same. Out of [least, most], or of another type: Error naming file, field and
  // bounds.
  std::optional<int> integer(std::string_view key, int64_t least, int64_t most);
  std::optional<double> number(std::string_view key, double least, double most);
  std::optional<bool> boolean(std::string_view key);
  std::optional<std::string> string(std::string_view key);
  const Json* value(std::string_view key);  // null where absent or null

  int need(std::string_view key, int64_t least, int64_t most);
  double need_number(std::string_view key, double least, double most);

  void ignore(std::initializer_list<std::string_view> keys);
  // The field must be absent, null or this value: another would change the result and is not built.
  void only(std::string_view key, const Json& value);
  // Throws where a field is left that nothing above named, and that is not allowed.
  void finish() const;

  [[noreturn]] void wrong(std::string_view key, std::string what) const;

 private:
  [[noreturn]] void missing(std::string_view key) const;

  const Json& object_;
  std::string where_;
  const std::set<std::string>& allowed_;
  std::set<std::string, std::less<>> known_;
};

// Keys "{prefix}.*" of a GGUF file's metadata.
class GgufFields {
 public:
  GgufFields(const Gguf& gguf, std::string prefix);

  std::optional<int> integer(std::string_view key, int64_t least, int64_t most);
  std::optional<double> number(std::string_view key, double least, double most);
  std::optional<bool> boolean(std::string_view key);
  std::optional<std::string> string(std::string_view key);
  std::optional<std::vector<int64_t>> integers(std::string_view key);

  int need(std::string_view key, int64_t least, int64_t most);
  double need_number(std::string_view key, double least, double most);

  void ignore(std::initializer_list<std::string_view> keys);
  void only(std::string_view key, int64_t value);
  void finish(const std::set<std::string>& allowed) const;

  [[noreturn]] void wrong(std::string_view key, std::string what) const;
  bool has_tensor(std::string_view name) const { return gguf_.tensor(name) != nullptr; }
  const Gguf& gguf() const { return gguf_; }

 private:
  std::string full(std::string_view key) {
    return known_.emplace(prefix_ + "." + std::string(key)).first->c_str();
  }

  const Gguf& gguf_;
  std::string prefix_;
  std::set<std::string, std::less<>> known_;
};

// The other way: keys "{prefix}.*" in the types that other programs expect.
class GgufKeys {
 public:
  GgufKeys(GgufHeader& header, std::string prefix) : header_(header), prefix_(std::move(prefix)) {}

  void count(std::string_view key, int64_t n);  // u32
  void number(std::string_view key, double n);  // f32
  void flag(std::string_view key, bool value);
  void text(std::string_view key, std::string_view text);
  void integers(std::string_view key, std::span<const int32_t> values);

  GgufHeader& header() { return header_; }
  const std::string& prefix() const { return prefix_; }

 private:
  GgufHeader& header_;
  std::string prefix_;
};

// The number that was rounded to f32 when it was written: of those that round to it, the one with the fewest
// digits. power: times 10 to the power, still exact.
double decimal(float rounded, int power = 0);

}  // namespace minke
