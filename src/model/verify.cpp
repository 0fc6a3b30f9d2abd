#include "model/verify.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "base/error.h"
#include "base/random.h"

namespace minke {
namespace {

constexpr float kNone = -std::numeric_limits<float>::infinity();

// A tensor the model gave: [rows][cols], floats or integers.
struct Given {
  std::vector<float> floats;
  std::vector<int64_t> integers;
  int64_t cols = 0;
};

// Collects what passes, for the rows of one sequence, under the reference's names.
class Collector : public Tap {
 public:
  std::map<std::string, Given, std::less<>> tensors;
  std::span<const SequenceSlice> sequences;  // of the batch that runs; the first slice is the one that counts
  bool enabled = true;

  void floats(std::string_view name, int layer, const Rows& rows) override {
    if (!enabled) return;
    const SequenceSlice& slice = sequences.front();
    const bool logits = name == "logits" || name == "mtp_logits";
    Given& to = at(name, layer, rows.cols);
    for (int i = 0; i < slice.count; ++i) {
      const float* from = rows.data + ((logits ? 0 : slice.first) + i) * rows.stride;
      to.floats.insert(to.floats.end(), from, from + rows.cols);
      if (name == "indexer_scores")  // what lies past the row's own position was not written
        std::fill(to.floats.end() - rows.cols + slice.position + i + 1, to.floats.end(), kNone);
    }
  }

  void integers(std::string_view name, int layer, const int32_t* data, int rows, int cols) override {
    if (!enabled || rows == 0) return;
    const SequenceSlice& slice = sequences.front();
    if (name == "indexer_counts") {
      counts_.assign(data + slice.first, data + slice.first + slice.count);
      return;
    }
    Given& to = at(name, layer, cols);
    for (int i = 0; i < slice.count; ++i) {
      const int32_t* from = data + int64_t{slice.first + i} * cols;
      if (name == "indexer_topk" && counts_[static_cast<size_t>(i)] < 0) {  // every position so far
        for (int k = 0; k < cols; ++k) to.integers.push_back(k <= slice.position + i ? k : -1);
      } else {
        to.integers.insert(to.integers.end(), from, from + cols);
      }
    }
  }

 private:
  Given& at(std::string_view name, int layer, int64_t cols) {
    const std::string key = layer < 0 ? std::string(name) : fmt::format("{}_{:02}", name, layer);
    Given& given = tensors[key];
    given.cols = cols;
    return given;
  }

  std::vector<int32_t> counts_;  // the indexer's, of the batch that runs
};

// Feeds token sequences through an instance in the ways of Feed.
class Feeder {
 public:
  Feeder(Instance& instance, const Feed& feed, Collector& tap)
      : instance_(instance), feed_(feed), tap_(tap) {}

  // Positions 0 .. n - 1 of the main model. Every row's logits come out, row after row, into `each`.
  template <typename Each>
  void run(const std::vector<Token>& tokens, KvView& view, KvView& other, const Each& each) {
    const int n = static_cast<int>(tokens.size());
    reserve(view, n);
    Random random(feed_.seed);
    for (int at = 0; at < n;) {
      const int count = piece(random, n - at);
      std::vector<Token> batch(tokens.begin() + at, tokens.begin() + at + count);
      std::vector<SequenceSlice> slices = {{&view, 0, count, at, Want::all_logits, given_of(n)}};
      if (feed_.kind == Feed::ragged) add_neighbour(random, tokens, other, batch, slices);
      tap_.sequences = slices;
      instance_.forward({batch, slices, {}}, &tap_);
      for (int i = 0; i < count; ++i)
        each(at + i, instance_.state().logits + int64_t{i} * instance_.config().vocab);
      at += count;
    }
  }

  // The MTP layer over positions 0 .. n - 2, given the final hidden states of all positions.
  void run_mtp(const std::vector<Token>& tokens, KvView& view, const std::vector<float>& hidden) {
    const int n = static_cast<int>(tokens.size()) - 1, dim = instance_.config().dim;
    Random random(feed_.seed + 1);
    for (int at = 0; at < n;) {
      const int count = piece(random, n - at);
      std::vector<GivenRow> given;
      for (int i = 0; i < count; ++i) given.push_back({i, hidden.data() + int64_t{at + i} * dim});
      const std::vector<Token> batch(tokens.begin() + at + 1, tokens.begin() + at + 1 + count);
      const SequenceSlice slice{&view, 0, count, at, Want::all_logits, given_of(n)};
      tap_.sequences = {&slice, 1};
      instance_.forward_mtp({batch, {&slice, 1}, given}, &tap_);
      at += count;
    }
  }

  void reserve(KvView& view, int tokens) {
    if (!instance_.kv().reserve(view, tokens))
      throw Error(fmt::format("{} tokens do not fit the cache", tokens));
  }

 private:
  // Fed one by one, tokens count as generated ones: latent attention's absorbed form is compared as well.
  int given_of(int n) const { return feed_.kind == Feed::single ? 0 : n; }

  int piece(Random& random, int left) const {
    const int most = std::min(left, instance_.state().limits.rows / 2);
    if (feed_.kind == Feed::single) return 1;
    return feed_.kind == Feed::whole
               ? most
               : 1 + static_cast<int>(random.below(static_cast<uint64_t>(std::min(most, 20))));
  }

  // Some tokens of another sequence (the same ones backwards), behind those that count.
  void add_neighbour(Random& random, const std::vector<Token>& tokens, KvView& other,
                     std::vector<Token>& batch, std::vector<SequenceSlice>& slices) {
    const int left = static_cast<int>(tokens.size()) - other.length;
    if (left <= 0) return;
    const int count = 1 + static_cast<int>(random.below(static_cast<uint64_t>(std::min(left, 7))));
    reserve(other, other.length + count);
    slices.push_back({&other, static_cast<int>(batch.size()), count, other.length, Want::nothing});
    for (int i = 0; i < count; ++i)
      batch.push_back(tokens[tokens.size() - 1 - static_cast<size_t>(other.length + i)]);
  }

  Instance& instance_;
  Feed feed_;
  Collector& tap_;
};

Compared compare_floats(const std::string& name, const Given& given, const std::vector<float>& wanted,
                        double tolerance) {
  Compared c{name, false, 0, 0, tolerance, {}};
  if (given.floats.size() != wanted.size()) {
    c.fault = fmt::format("{} values, the reference has {}", given.floats.size(), wanted.size());
    return c;
  }
  double worst = 0, largest = 0, total = 0;
  int64_t finite = 0;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i] == kNone || given.floats[i] == kNone) {
      if (wanted[i] != given.floats[i]) c.fault = fmt::format("-inf at {} on one side only", i);
      continue;
    }
    const double difference = std::abs(double{given.floats[i]} - wanted[i]);
    if (!std::isfinite(difference)) c.fault = fmt::format("value {} is not finite", i);
    worst = std::max(worst, difference);
    largest = std::max(largest, std::abs(double{wanted[i]}));
    total += difference;
    ++finite;
  }
  c.figure = largest > 0 ? worst / largest : worst;
  c.mean = finite > 0 ? total / static_cast<double>(finite) : 0;
  return c;
}

Compared compare_integers(const std::string& name, const Given& given, const std::vector<int64_t>& wanted) {
  Compared c{name, true, 0, 0, 0, {}};
  if (given.integers.size() != wanted.size()) {
    c.fault = fmt::format("{} values, the reference has {}", given.integers.size(), wanted.size());
    return c;
  }
  int64_t differ = 0;
  for (size_t i = 0; i < wanted.size(); ++i) differ += given.integers[i] != wanted[i];
  c.figure = wanted.empty() ? 0 : static_cast<double>(differ) / static_cast<double>(wanted.size());
  return c;
}

// -ln of the probability of `token`.
float negative_log_likelihood(const float* logits, int vocab, Token token) {
  const float peak = *std::max_element(logits, logits + vocab);
  double total = 0;
  for (int i = 0; i < vocab; ++i) total += std::exp(double{logits[i]} - peak);
  return static_cast<float>(std::log(total) + peak - logits[token]);
}

std::vector<Token> ids_of(const Safetensors& golden, const Model& model, std::string_view name) {
  const TensorView* t = golden.tensor(name);
  if (!t) throw Error(fmt::format("tensor '{}' is missing", name), golden.path().string());
  std::vector<Token> ids;
  for (const int64_t id : to_integers(*t)) {
    if (id < 0 || id >= model.config.vocab)
      throw Error(fmt::format("id {} is outside the vocabulary of {}", id, model.config.vocab),
                  fmt::format("{}: tensor '{}'", golden.path().string(), name));
    ids.push_back(static_cast<Token>(id));
  }
  if (ids.empty()) throw Error("is empty", fmt::format("{}: tensor '{}'", golden.path().string(), name));
  return ids;
}

// The rows that follow the prompt: greedy ids, and the logits each was chosen from.
void continue_greedily(Instance& instance, Feeder& feeder, Collector& tap, KvView& view,
                       std::vector<float> logits, int count) {
  Given &ids = tap.tensors["greedy_ids"], &all = tap.tensors["greedy_logits"];
  const int vocab = instance.config().vocab;
  all.cols = vocab;
  tap.enabled = false;
  for (int i = 0; i < count; ++i) {
    const auto best = static_cast<Token>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    ids.integers.push_back(best);
    all.floats.insert(all.floats.end(), logits.begin(), logits.end());
    if (i + 1 == count) break;
    feeder.reserve(view, view.length + 1);
    const SequenceSlice slice{&view, 0, 1, view.length, Want::last_logits};
    tap.sequences = {&slice, 1};
    instance.forward({{&best, 1}, {&slice, 1}, {}}, &tap);
    logits.assign(instance.state().logits, instance.state().logits + vocab);
  }
  tap.enabled = true;
}

// Everything the model can say about the reference's input.
void gather(Instance& instance, const Safetensors& golden, const VerifyOptions& options, Collector& tap) {
  const std::vector<Token> tokens = ids_of(golden, instance.model(), "input_ids");
  const int vocab = instance.config().vocab, n = static_cast<int>(tokens.size());
  Feeder feeder(instance, options.feed, tap);
  KvView view, other;
  std::vector<float> last;
  Given &nll = tap.tensors["nll"], &argmax = tap.tensors["argmax"], &ends = tap.tensors["logits_last"];
  constexpr int kLast = 4;
  feeder.run(tokens, view, other, [&](int position, const float* logits) {
    argmax.integers.push_back(std::max_element(logits, logits + vocab) - logits);
    if (position + 1 < n)
      nll.floats.push_back(negative_log_likelihood(logits, vocab, tokens[static_cast<size_t>(position) + 1]));
    if (position >= n - kLast) ends.floats.insert(ends.floats.end(), logits, logits + vocab);
    last.assign(logits, logits + vocab);
  });
  if (instance.config().mtp_layers > 0 && n > 1) {
    const std::vector<float> hidden = tap.tensors["final_norm"].floats;
    feeder.run_mtp(tokens, view, hidden);
  }
  const TensorView* greedy = golden.tensor("greedy_ids");
  if (!greedy) return;
  if (golden.tensor("chat_ids")) {  // then it is a conversation's continuation and not the input's
    const auto chat = ids_of(golden, instance.model(), "chat_ids");
    instance.kv().truncate(view, 0);
    instance.kv().truncate(other, 0);
    tap.enabled = false;
    feeder.run(chat, view, other, [&](int, const float* logits) { last.assign(logits, logits + vocab); });
    tap.enabled = true;
  }
  continue_greedily(instance, feeder, tap, view, std::move(last), static_cast<int>(greedy->count()));
}

}  // namespace

std::vector<Compared> verify(const Model& model, const Safetensors& golden, const VerifyOptions& options) {
  constexpr int kMostTokens = 1 << 16;
  const auto count = [&](std::string_view name) {
    return golden.tensor(name) ? golden.tensor(name)->count() : 0;
  };
  const int64_t longest = std::max(count("input_ids"), count("chat_ids")) + count("greedy_ids");
  if (longest > kMostTokens)
    throw Error(fmt::format("{} tokens, at most {} are taken", longest, kMostTokens), golden.path().string());

  InstanceOptions o;
  o.isa = options.isa;
  o.round_activations = options.round_activations;
  o.limits.threads = options.threads;
  o.limits.kv = options.kv;
  o.limits.mtp = true;
  o.limits.inspect = model.config.indexer.has_value();
  o.limits.context = static_cast<int>(2 * longest + kPageTokens);
  o.limits.sequences = 2;
  o.limits.rows = static_cast<int>(std::min<int64_t>(std::max<int64_t>(2 * longest, 64), 512));
  o.limits.logit_rows = o.limits.rows;
  Instance instance(model, o);
  const int scores = golden.tensor("indexer_scores_00") ? static_cast<int>(count("input_ids")) : 0;
  Collector tap;
  gather(instance, golden, options, tap);

  std::vector<Compared> results;
  for (const TensorView& t : golden.tensors()) {
    if (t.name == "input_ids" || t.name == "chat_ids") continue;
    const auto it = tap.tensors.find(t.name);
    if (it == tap.tensors.end())
      throw Error(fmt::format("a {} model gives no tensor {}", model.config.arch, in_quotes(t.name)),
                  golden.path().string());
    Given& given = it->second;
    if (t.dtype != DType::weights) {
      results.push_back(compare_integers(t.name, given, to_integers(t)));
      continue;
    }
    if (t.name.starts_with("indexer_scores")) {  // rows of the whole context down to those of the input
      std::vector<float> cut;
      const size_t width = static_cast<size_t>(o.limits.context), n = static_cast<size_t>(scores);
      for (size_t r = 0; (r + 1) * width <= given.floats.size(); ++r)
        cut.insert(cut.end(), given.floats.begin() + static_cast<int64_t>(r * width),
                   given.floats.begin() + static_cast<int64_t>(r * width + n));
      given.floats = std::move(cut);
    }
    constexpr double kHalfUlp = 1.0 / 2048;  // what a reference stored as F16 is rounded by
    const double tolerance =
        t.format == Format::f16 ? std::max(options.tolerance, kHalfUlp) : options.tolerance;
    results.push_back(compare_floats(t.name, given, to_floats(t), tolerance));
  }
  return results;
}

}  // namespace minke
