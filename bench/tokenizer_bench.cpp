// room: text
// How fast tokenizers load, encode and decode.
//
//   tokenizer_bench TEXT TOKENIZER...       text to encode, tokenizer.json files

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "base/error.h"
#include "text/tokenizer.h"

namespace {

using namespace minke;

// The best of some runs, in seconds.
template <typename F>
double best_of(int runs, F&& f) {
  double best = 1e9;
  for (int i = 0; i < runs; ++i) {
    const auto start = std::chrono::steady_clock::now();
    f();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

Tokenizer load(const fs::path& path) { return Tokenizer::from_file(path); }

void measure(const fs::path& path, const std::string& text) {
  const double load_time = best_of(5, [&] { load(path); });
  const Tokenizer tokenizer = load(path);
  std::vector<Token> tokens;
  const double encode_time = best_of(7, [&] { tokens = tokenizer.encode(text); });
  std::string back;
  const double decode_time = best_of(7, [&] { back = tokenizer.decode(tokens); });
  const double megabytes = static_cast<double>(text.size()) / 1e6, count = static_cast<double>(tokens.size());
  std::printf(
      "%-14s load %5.1f ms   encode %5.1f MB/s %5.2f Mtokens/s (%5.1f ms)   decode %5.1f Mtokens/s   %s\n",
      tokenizer.pre_name().c_str(), load_time * 1e3, megabytes / encode_time, count / encode_time / 1e6,
      encode_time * 1e3, count / decode_time / 1e6, path.c_str());
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 3) {
    std::fprintf(stderr, "usage: %s TEXT TOKENIZER...\n", argv[0]);
    return 2;
  }
  const std::string text = read_file(argv[1]);
  for (int i = 2; i < argc; ++i) measure(argv[i], text);
} catch (const Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
