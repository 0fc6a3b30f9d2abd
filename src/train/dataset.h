#pragma once
// From documents to token shards: duplicates removed, fill-in-the-middle, conversations, shuffled and packed
// (docs/token_shards.md, docs/training.md).

#include <cstdint>
#include <functional>
#include <string>

#include "base/json.h"
#include "text/chat.h"
#include "text/tokenizer.h"
#include "train/documents.h"

namespace minke {

enum class Dedup { none, exact, near };
// How documents lie in the stream: one behind the other; or so that none that fits into a row is cut by its
// end.
enum class Packing { stream, whole };

struct DatasetOptions {
  Dedup dedup = Dedup::exact;
  double near = 0.7;                 // similarity from which on the later document goes
  double fim = 0;                    // share of documents that are turned into prefix, suffix, middle
  const ChatFormat* chat = nullptr;  // of conversations; without it they are an Error
  Packing packing = Packing::stream;
  int row = 4096;     // of Packing::whole
  double val = 0.01;  // share of tokens that is held out
  uint64_t seed = 0;  // of the order, of FIM's places, of what is held out
  int64_t shard_tokens = int64_t{1} << 27;
  int threads = 1;
  bool skip_invalid = false;    // also conversations that the format cannot render
  std::string source, license;  // of documents that do not say
  std::string tokenizer;        // its name, for the manifest
  std::function<void(int64_t done, int64_t all)> reading = {}, writing = {};  // bytes of files; tokens
};

// Writes train-*.tokens, val-*.tokens (none where nothing is held out) and data.json, which is returned, into
// a folder that appears as a whole: it is made beside its place. An empty folder may be there, or any with
// `force`. The same for the same files and options, whatever the threads. Texts are tokenised without added
// tokens, each with bos before it where the tokenizer says so and eos behind it; conversations as their
// format writes them. Throws Error: of the reader; a folder that is there; no documents left; a tokenizer
// without FIM tokens.
Json make_dataset(DocumentReader& reader, const Tokenizer& tokenizer, const fs::path& folder, bool force,
                  const DatasetOptions& options);

}  // namespace minke
