#include "engine/importance.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "engine/windows.h"
#include "model/roles.h"

namespace minke {
namespace {

// Sums over all rows that meet the matrices of one tensor, in the order of the rows.
struct Tally {
  std::string tensor;
  int cols = 0;
  std::vector<double> sums;     // [matrices][cols]
  std::vector<int64_t> counts;  // [matrices]

  void add(int matrix, const Rows& x) {
    MINKE_CHECK(x.cols == cols, "{} meets {} columns", tensor, x.cols);
    double* to = sums.data() + int64_t{matrix} * cols;
    for (int r = 0; r < x.count; ++r) {
      const float* row = x.data + r * x.stride;
      for (int c = 0; c < cols; ++c) to[c] += double{row[c]} * row[c];
    }
    counts[static_cast<size_t>(matrix)] += x.count;
  }
};

class Collector : public Tap {
 public:
  explicit Collector(const Model& model) {
    Weights weights = model.weights;  // views only
    for_each_weight(model.config, weights, [&](const WeightSlot& slot, Mat& w) {
      if (!slot.vector && slot.role != Role::embed) place(model, slot, w);
    });
    const Mat& head = weights.head;
    head_ = model.config.tied ? tally(name_of(model, {Role::embed}).name, 1, head.cols)
                              : places_.at(head.data).tally;
  }

  void floats(std::string_view name, int, const Rows& rows) override {
    if (name == "final_norm") tallies_[head_].add(0, rows);
  }
  void integers(std::string_view, int, const int32_t*, int, int) override {}
  void product(const Mat& w, int part, const Rows& x) override {
    const auto found = places_.find(w.data);
    if (found == places_.end() || found->second.tally == head_) return;
    const Place& place = found->second;
    tallies_[place.tally].add(place.pooled ? 0 : place.first + part, x);
  }

  ImportanceMatrix result() const {
    ImportanceMatrix matrix;
    for (const Tally& t : tallies_) {
      if (std::ranges::all_of(t.counts, [](int64_t n) { return n == 0; })) continue;
      if (!std::ranges::all_of(t.sums, [](double s) { return std::isfinite(static_cast<float>(s)); }))
        throw Error("meets values that are not finite", fmt::format("tensor {}", in_quotes(t.tensor)),
                    "the model is damaged, or was made wrongly");
      Importance& to = matrix.tensors[t.tensor];
      to.sums.assign(t.sums.begin(), t.sums.end());
      to.counts.assign(t.counts.begin(), t.counts.end());
    }
    return matrix;
  }

 private:
  // Where the rows that meet a matrix are counted.
  struct Place {
    size_t tally;
    int first;    // matrix of the tensor
    bool pooled;  // all heads in one
  };

  // What the weight is made of in the model's own file, or would be in a GGUF file.
  static Source name_of(const Model& model, const WeightSlot& slot) {
    const std::vector<Source> sources = sources_of(model.config, slot, Container::gguf);
    if (const Gguf* gguf = model.gguf())
      for (const Source& source : sources)
        if (gguf->tensor(source.name)) return source;
    return sources.front();
  }

  size_t tally(const std::string& tensor, int matrices, int cols) {
    const auto [at, added] = by_name_.emplace(tensor, tallies_.size());
    const auto count = static_cast<size_t>(matrices);
    if (added)
      tallies_.push_back({tensor, cols, std::vector<double>(count * static_cast<size_t>(cols)),
                          std::vector<int64_t>(count)});
    return at->second;
  }

  void place(const Model& model, const WeightSlot& slot, const Mat& w) {
    const auto [tensor, transform] = name_of(model, slot);
    switch (transform) {
      case Transform::kv_b_keys: return;  // turned: what meets it are not the columns of the file
      case Transform::up_rows: return;    // meets what gate_rows met
      case Transform::kv_b_values: places_[w.data] = {tally(tensor, 1, w.cols), 0, true}; return;
      case Transform::head_stack:
        places_[w.data] = {tally(tensor, model.config.heads, w.cols), 0, false};
        return;
      default: break;
    }
    const int matrices = slot.expert >= 0 ? model.config.moe->router.experts : 1;
    places_[w.data] = {tally(tensor, matrices, w.cols), std::max(slot.expert, 0), false};
  }

  std::unordered_map<const std::byte*, Place> places_;  // by where a matrix lies
  std::unordered_map<std::string, size_t> by_name_;
  std::vector<Tally> tallies_;
  size_t head_ = 0;
};

// One window, through the model and the MTP layer.
void run(Instance& instance, std::span<const Token> window, Collector& tap) {
  const int rows = instance.state().limits.rows, n = static_cast<int>(window.size());
  const int dim = instance.config().dim;
  KvView view;
  if (!instance.kv().reserve(view, n))
    throw Error(fmt::format("a window of {} tokens does not fit the context", n));
  for (int at = 0; at < n; at += rows) {
    const int count = std::min(rows, n - at);
    const bool mtp = instance.config().mtp_layers > 0 && instance.state().limits.mtp;
    const SequenceSlice slice{&view, 0, count, at, mtp ? Want::all_hidden : Want::nothing};
    instance.forward({window.subspan(static_cast<size_t>(at), static_cast<size_t>(count)), {&slice, 1}, {}},
                     &tap);
    const int pairs = std::min(count, n - 1 - at);  // hidden states whose next token is there
    if (!mtp || pairs == 0) continue;
    std::vector<GivenRow> given;
    for (int i = 0; i < pairs; ++i) given.push_back({i, instance.state().output + int64_t{i} * dim});
    const SequenceSlice after{&view, 0, pairs, at, Want::nothing};
    instance.forward_mtp(
        {window.subspan(static_cast<size_t>(at) + 1, static_cast<size_t>(pairs)), {&after, 1}, given}, &tap);
  }
  instance.kv().truncate(view, 0);
}

}  // namespace

ImportanceMatrix collect_importance(Instance& instance, std::span<const Token> tokens, int window,
                                    Token start, const std::function<void(int64_t, int64_t)>& progress) {
  if (tokens.empty()) throw Error("the text is empty");
  Collector tap(instance.model());
  uint32_t windows = 0;
  for_each_window(tokens, window, start, [&](std::span<const Token> piece, int64_t done) {
    run(instance, piece, tap);
    ++windows;
    if (progress) progress(done, static_cast<int64_t>(tokens.size()));
  });
  ImportanceMatrix matrix = tap.result();
  matrix.chunks = windows;
  matrix.chunk_tokens = static_cast<uint32_t>(window);
  return matrix;
}

}  // namespace minke
