#pragma once
// For tests: what lies in tests/golden/tokenizer.

#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>
#include <zlib.h>

#include "base/file.h"
#include "base/json.h"
#include "text/tokenizer.h"

namespace minke {

inline const fs::path kGolden = fs::path(MINKE_TESTS_DIR) / "golden";

// A file that may be gzip-compressed.
inline std::string read_any(const fs::path& path) {
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "rb"), &gzclose_r);
  std::string text;
  char buffer[1 << 16];
  for (int n = 1; file && n > 0; text.append(buffer, static_cast<size_t>(n)))
    if ((n = gzread(file.get(), buffer, sizeof buffer)) < 0)
      throw std::runtime_error("bad gzip file " + path.string());
  return text;
}

// Null where Llama 3's was not fetched.
inline const Tokenizer* golden_tokenizer(const std::string& name) {
  static std::map<std::string, std::unique_ptr<Tokenizer>> loaded;
  auto& tokenizer = loaded[name];
  if (tokenizer) return tokenizer.get();
  const fs::path folder =
      name == "llama3" ? fs::path(MINKE_CACHE_DIR) / "llama3" : kGolden / "tokenizer" / name;
  fs::path file = folder / "tokenizer.json";
  if (!fs::exists(file)) file += ".gz";
  if (!fs::exists(file)) return nullptr;
  const fs::path config = folder / "tokenizer_config.json";
  tokenizer = std::make_unique<Tokenizer>(
      Tokenizer::from_json(read_any(file), file.string(), fs::exists(config) ? read_any(config) : ""));
  return tokenizer.get();
}

inline std::vector<Token> tokens_of(const Json& json) {
  std::vector<Token> tokens;
  for (const Json& id : json.as_array()) tokens.push_back(static_cast<Token>(id.as_int()));
  return tokens;
}

inline std::vector<Json> read_lines(const fs::path& path) {
  const std::string text = read_file(path);
  std::vector<Json> lines;
  for (size_t at = 0, end; at < text.size(); at = end + 1) {
    end = text.find('\n', at);
    lines.push_back(parse_json(std::string_view(text).substr(at, end - at)));
  }
  return lines;
}

}  // namespace minke
