#include "train/dataset.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <system_error>

#include <fmt/format.h>

#include "base/error.h"
#include "base/random.h"
#include "base/thread_pool.h"
#include "text/fingerprint.h"
#include "text/hash.h"
#include "train/chat_text.h"
#include "train/duplicates.h"
#include "train/packing.h"
#include "train/spool.h"

namespace minke {
namespace {

constexpr size_t kBatch = 16 << 20;  // bytes of text at a time
enum Stream : uint64_t { kOrderStream = 1, kFimStream = 2 };

// A document on its way into the spool.
struct Candidate {
  Document document;
  std::string_view text;  // what tells duplicates
  std::string chat_text;
  Hash128 hash;
  TextSketch sketch;
  bool kept = true, fim = false;
  std::vector<LearnedTokens> samples;
  std::optional<Error> error;
};

struct Origin {
  int64_t documents = 0, bytes = 0;
};

struct Counts {
  int64_t read = 0, exact = 0, near = 0, kept = 0, fim = 0, unfit = 0, bytes = 0;
  std::map<std::pair<std::string, std::string>, Origin> origins;  // by source and licence
};

// Nothing after the last character that begins at or before `at`.
size_t character_border(std::string_view text, size_t at) {
  while (at > 0 && at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

class Making {
 public:
  Making(const Tokenizer& tokenizer, const DatasetOptions& options, Spool& spool)
      : tokenizer_(tokenizer), options_(options), spool_(spool), near_(options.near), pool_(options.threads) {
    if (options.fim > 0 && !tokenizer.fim())
      throw Error("the tokenizer has no tokens for prefix, suffix and middle", "--fim",
                  "`minke tokenizer train` makes one that has them");
  }

  void run(DocumentReader& reader) {
    for (bool more = true; more;) {
      std::vector<Candidate> batch;
      Document document;
      for (size_t held = 0; held < kBatch && (more = reader.next(document));) {
        Candidate& candidate = batch.emplace_back();
        if (!document.chat.is_null()) candidate.chat_text = to_string(document.chat.at("messages"));
        held += document.text.size() + candidate.chat_text.size();
        candidate.document = std::move(document);
      }
      each(batch, [&](Candidate& c) { look_at(c); });
      for (Candidate& candidate : batch) decide(candidate);
      each(batch, [&](Candidate& c) { tokenise(c); });
      for (Candidate& candidate : batch) keep(candidate);
      if (options_.reading) options_.reading(reader.done(), reader.size());
    }
  }

  const Counts& counts() const { return counts_; }

 private:
  template <typename F>
  void each(std::vector<Candidate>& batch, F&& f) {
    pool_.for_each(static_cast<int64_t>(batch.size()), 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) f(batch[static_cast<size_t>(i)]);
    });
  }

  void look_at(Candidate& c) const {
    c.text = c.chat_text.empty() ? std::string_view(c.document.text) : c.chat_text;
    c.hash = text_hash(c.text);
    if (options_.dedup == Dedup::near) c.sketch = sketch(c.text);
  }

  // One after the other: the first of those that are alike stays.
  void decide(Candidate& c) {
    ++counts_.read;
    if (options_.dedup != Dedup::none && !seen_.insert(c.hash).second) {
      ++counts_.exact;
      c.kept = false;
    } else if (options_.dedup == Dedup::near && !near_.add(c.sketch)) {
      ++counts_.near;
      c.kept = false;
    }
  }

  void tokenise(Candidate& c) const {
    if (!c.kept) return;
    try {
      if (c.document.chat.is_null()) {
        c.samples.push_back(tokens_of_text(c));
        return;
      }
      if (!options_.chat)
        throw Error("is a conversation", {}, "--chat makes them what a model learns to answer from");
      for (const ChatSample& sample : chat_samples(*options_.chat, c.document.chat))
        c.samples.push_back(encode(tokenizer_, sample));
    } catch (const Error& e) {
      c.error = e.within(c.document.place);
    }
  }

  LearnedTokens tokens_of_text(Candidate& c) const {
    const std::string_view text = c.document.text;
    LearnedTokens all;
    const auto add = [&](std::string_view part) {
      const std::vector<Token> tokens = tokenizer_.encode(part, Added::none);
      all.tokens.insert(all.tokens.end(), tokens.begin(), tokens.end());
    };
    if (tokenizer_.add_bos() && tokenizer_.bos()) all.tokens.push_back(*tokenizer_.bos());
    Random random(options_.seed ^ c.hash.high, kFimStream);
    c.fim = options_.fim > 0 && random.uniform() < options_.fim;
    if (c.fim) {
      const FimTokens fim = *tokenizer_.fim();
      size_t from = character_border(text, random.below(text.size() + 1));
      size_t to = character_border(text, random.below(text.size() + 1));
      if (from > to) std::swap(from, to);
      all.tokens.push_back(fim.prefix);
      add(text.substr(0, from));
      all.tokens.push_back(fim.suffix);
      add(text.substr(to));
      all.tokens.push_back(fim.middle);
      add(text.substr(from, to - from));
    } else {
      add(text);
    }
    if (tokenizer_.eos()) all.tokens.push_back(*tokenizer_.eos());
    return all;
  }

  void keep(const Candidate& c) {
    if (!c.kept) return;
    if (c.error) {
      if (!options_.skip_invalid) throw *c.error;
      ++counts_.unfit;
      return;
    }
    ++counts_.kept;
    counts_.fim += c.fim;
    counts_.bytes += static_cast<int64_t>(c.text.size());
    const Document& d = c.document;
    Origin& origin = counts_.origins[{d.source.empty() ? options_.source : d.source,
                                      d.license.empty() ? options_.license : d.license}];
    ++origin.documents;
    origin.bytes += static_cast<int64_t>(c.text.size());
    for (const LearnedTokens& sample : c.samples)
      if (!sample.tokens.empty()) spool_.add(sample, mix_bits(c.hash.high ^ mix_bits(options_.seed)));
  }

  const Tokenizer& tokenizer_;
  const DatasetOptions& options_;
  Spool& spool_;
  std::set<Hash128> seen_;
  NearDuplicates near_;
  ThreadPool pool_;
  Counts counts_;
};

struct Parts {
  std::vector<uint32_t> train, val;  // entries of the spool
};

// Held out is what has the smallest keys, until it has its share.
Parts split(const Spool& spool, const DatasetOptions& options) {
  std::vector<uint32_t> order(spool.entries().size());
  std::iota(order.begin(), order.end(), 0);
  const auto key = [&](uint32_t i) { return spool.entries()[i].key; };
  std::ranges::stable_sort(order, {}, key);
  double all = 0, held_out = 0;
  for (const auto& entry : spool.entries()) all += entry.tokens;
  size_t n = 0;
  for (; n < order.size() && options.val > 0; ++n) {
    const bool together = n > 0 && key(order[n]) == key(order[n - 1]);
    if (held_out >= options.val * all && !together) break;
    held_out += spool.entries()[order[n]].tokens;
  }
  Parts parts;
  parts.val.assign(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(n));
  parts.train.assign(order.begin() + static_cast<std::ptrdiff_t>(n), order.end());
  if (parts.train.empty()) std::swap(parts.train, parts.val);  // one document cannot be shared
  for (std::vector<uint32_t>* part : {&parts.train, &parts.val}) {
    Random random(options.seed, kOrderStream);
    for (size_t i = part->size(); i > 1; --i) std::swap((*part)[i - 1], (*part)[random.below(i)]);
  }
  return parts;
}

std::vector<Placed> place(const Spool& spool, const std::vector<uint32_t>& order,
                          const DatasetOptions& options) {
  if (options.packing == Packing::whole) {
    std::vector<uint32_t> tokens;
    for (const auto& entry : spool.entries()) tokens.push_back(entry.tokens);
    return pack_whole(order, tokens, options.row);
  }
  std::vector<Placed> placed;
  for (const uint32_t i : order) placed.push_back({i, spool.entries()[i].tokens});
  return placed;
}

// Writes one set of shards and says what is in it.
class SetWriter {
 public:
  SetWriter(const Spool& spool, const Tokenizer& tokenizer, const DatasetOptions& options,
            const fs::path& folder)
      : spool_(spool), tokenizer_(tokenizer), options_(options), folder_(folder) {}

  Json write(const std::string& name, const std::vector<Placed>& placed) {
    ShardSet set{
        .id = {mix_bits(spool_.hash().high ^ hash_bytes(name)), mix_bits(spool_.hash().low ^ options_.seed)},
        .tokenizer = fingerprint(tokenizer_),
        .vocab = tokenizer_.size(),
        .row = options_.packing == Packing::whole ? options_.row : 0,
        .count = 0};
    const std::vector<size_t> ends = shard_ends(placed);
    set.count = static_cast<int>(ends.size());
    JsonArray files;
    int64_t tokens = 0, padding = 0, documents = 0, learned = 0;
    size_t at = 0;
    for (size_t s = 0; s < ends.size(); ++s) {
      ShardContent content;
      for (; at < ends[s]; ++at) {
        const bool is_padding = placed[at].document == Placed::kPadding;
        const Token pad = tokenizer_.eos().value_or(0);
        if (is_padding)
          content.add(std::vector<Token>(placed[at].tokens, pad), std::vector<bool>(placed[at].tokens));
        else
          spool_.append_to(content, placed[at].document);
        (is_padding ? padding : tokens) += placed[at].tokens;
        documents += !is_padding;
      }
      const std::string file = fmt::format("{}-{:05}.tokens", name, s);
      write_shard(folder_ / file, set, static_cast<int>(s), content);
      learned += count_learned(content);
      files.push_back(file);
      written_ += static_cast<int64_t>(content.tokens.size());
      if (options_.writing) options_.writing(written_, std::max(written_, all_));
    }
    return JsonObject{{"documents", documents},
                      {"tokens", tokens},
                      {"learned", learned},
                      {"padding", padding},
                      {"files", std::move(files)}};
  }
  void expect(int64_t tokens) { all_ = tokens; }

 private:
  std::vector<size_t> shard_ends(const std::vector<Placed>& placed) const {
    std::vector<size_t> ends;
    int64_t tokens = 0;
    for (size_t i = 0; i < placed.size(); ++i) {
      tokens += placed[i].tokens;
      const bool full_rows = options_.packing == Packing::stream || tokens % options_.row == 0;
      if ((tokens < options_.shard_tokens || !full_rows) && i + 1 < placed.size()) continue;
      ends.push_back(i + 1);
      tokens = 0;
    }
    return ends;
  }

  static int64_t count_learned(const ShardContent& content) {
    int64_t n = 0;
    uint64_t begin = 0;
    for (const uint64_t end : content.ends) {
      for (uint64_t i = begin + 1; i < end; ++i) n += content.loss.empty() || content.loss[i];
      begin = end;
    }
    return n;
  }

  const Spool& spool_;
  const Tokenizer& tokenizer_;
  const DatasetOptions& options_;
  const fs::path& folder_;
  int64_t written_ = 0, all_ = 0;
};

const char* name(Dedup dedup) {
  return dedup == Dedup::none ? "none" : dedup == Dedup::exact ? "exact" : "near";
}

Json origins_json(const Counts& counts) {
  JsonArray list;
  for (const auto& [origin, n] : counts.origins)
    list.push_back(JsonObject{{"source", origin.first},
                              {"license", origin.second},
                              {"documents", n.documents},
                              {"bytes", n.bytes}});
  return list;
}

Json manifest(const DocumentReader& reader, const Tokenizer& tokenizer, const Counts& counts,
              const DatasetOptions& options) {
  Json json;
  json.set("version", 1);
  json.set("tokenizer", JsonObject{{"name", options.tokenizer},
                                   {"fingerprint", hex(fingerprint(tokenizer))},
                                   {"vocab", tokenizer.size()}});
  json.set("options", JsonObject{{"dedup", name(options.dedup)},
                                 {"near", options.near},
                                 {"fim", options.fim},
                                 {"chat", options.chat ? Json(options.chat->name()) : Json()},
                                 {"packing", options.packing == Packing::whole ? "whole" : "stream"},
                                 {"row", options.packing == Packing::whole ? options.row : 0},
                                 {"val", options.val},
                                 {"seed", options.seed}});
  json.set("origins", origins_json(counts));
  json.set("documents", JsonObject{{"read", counts.read},
                                   {"blank", reader.blank()},
                                   {"skipped", reader.skipped() + counts.unfit},
                                   {"exact_duplicates", counts.exact},
                                   {"near_duplicates", counts.near},
                                   {"kept", counts.kept},
                                   {"fim", counts.fim}});
  json.set("bytes", counts.bytes);
  return json;
}

void check_target(const fs::path& folder, bool force) {
  std::error_code none;
  if (!force && fs::exists(folder, none) && !fs::is_empty(folder, none))
    throw Error("is there already", folder.string(), "--force replaces it");
}

void move_into_place(const fs::path& made, const fs::path& folder) {
  std::error_code failed, none;
  fs::path old = folder;
  old += ".replaced";
  fs::remove_all(old, failed);
  if (!failed && fs::exists(folder, none)) fs::rename(folder, old, failed);
  if (!failed) fs::rename(made, folder, failed);
  if (!failed) fs::remove_all(old, none);
  if (failed) throw Error(fmt::format("cannot be put into place: {}", failed.message()), folder.string());
}

}  // namespace

Json make_dataset(DocumentReader& reader, const Tokenizer& tokenizer, const fs::path& to, bool force,
                  const DatasetOptions& options) {
  const fs::path folder = to.has_filename() ? to : to.parent_path();
  check_target(folder, force);
  fs::path making = folder;
  making += ".unfinished";
  std::error_code failed;
  fs::remove_all(making, failed);
  fs::create_directories(making, failed);
  if (failed) throw Error(fmt::format("cannot create: {}", failed.message()), making.string());
  const struct Remove {
    const fs::path& path;
    ~Remove() {
      std::error_code none;
      fs::remove_all(path, none);
    }
  } remove{making};

  Spool spool(making / "spool");
  Making work(tokenizer, options, spool);
  work.run(reader);
  if (spool.entries().empty()) throw Error("no document is left", folder.string());
  spool.close();
  const Parts parts = split(spool, options);
  SetWriter writer(spool, tokenizer, options, making);
  const std::vector<Placed> train = place(spool, parts.train, options),
                            val = place(spool, parts.val, options);
  int64_t all = 0;
  for (const std::vector<Placed>* part : {&train, &val})
    for (const Placed& p : *part) all += p.tokens;
  writer.expect(all);
  Json json = manifest(reader, tokenizer, work.counts(), options);
  json.set("train", writer.write("train", train));
  json.set("val", val.empty() ? Json() : writer.write("val", val));
  write_file(making / "data.json", to_string(json, 2) + "\n");
  fs::remove(making / "spool", failed);
  move_into_place(making, folder);
  return json;
}

}  // namespace minke
