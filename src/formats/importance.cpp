#include "formats/importance.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>

#include <fmt/format.h>

#include "base/error.h"
#include "formats/gguf.h"
#include "formats/gguf_writer.h"

namespace minke {
namespace {

constexpr std::string_view kSums = ".in_sum2", kCounts = ".counts";
constexpr std::string_view kPlainSums = ".in_sum";  // newer files have these as well: nothing here needs them
constexpr std::string_view kType = "general.type", kDatasets = "imatrix.datasets",
                           kChunks = "imatrix.chunk_count", kChunkTokens = "imatrix.chunk_size";
constexpr const char* kDamaged = "the file is damaged, or was made wrongly";

std::string of_tensor(std::string_view name) { return fmt::format("tensor {}", in_quotes(name)); }

// What every entry must be, whichever file it comes from.
void check(const Importance& importance, std::string_view name) {
  const auto sound = [](float v) { return std::isfinite(v) && v >= 0; };
  for (const std::vector<float>* numbers : {&importance.sums, &importance.counts})
    if (!std::ranges::all_of(*numbers, sound))
      throw Error("has importance that is negative or not finite", of_tensor(name), kDamaged);
  if (importance.sums.empty() || importance.counts.empty() ||
      importance.sums.size() % importance.counts.size() != 0)
    throw Error(fmt::format("has {} sums for {} counts", importance.sums.size(), importance.counts.size()),
                of_tensor(name), kDamaged);
}

std::vector<float> numbers_of(const TensorView& tensor) {
  if (tensor.dtype != DType::weights || tensor.format != Format::f32)
    throw Error(fmt::format("is {}, and importance is F32", type_name(tensor)), of_tensor(tensor.name),
                kDamaged);
  return to_floats(tensor);
}

// Below 2^32; 0 where the key is absent.
uint32_t small_number(const Gguf& gguf, std::string_view key) {
  const int64_t n = gguf.integer(key).value_or(0);
  if (n < 0 || n > std::numeric_limits<uint32_t>::max())
    throw Error(fmt::format("'{}' is {}", key, n), "", kDamaged);
  return static_cast<uint32_t>(n);
}

ImportanceMatrix from_gguf(const Gguf& gguf) {
  if (const auto type = gguf.string(kType); !type || *type != "imatrix")
    throw Error(
        fmt::format("is no importance matrix: its general.type is {}", type ? in_quotes(*type) : "missing"),
        "", "`minke imatrix` makes one");
  ImportanceMatrix matrix;
  for (const std::string_view name : gguf.strings(kDatasets).value_or(std::vector<std::string_view>{}))
    matrix.datasets.emplace_back(name);
  matrix.chunks = small_number(gguf, kChunks);
  matrix.chunk_tokens = small_number(gguf, kChunkTokens);
  for (const TensorView& tensor : gguf.tensors()) {
    const auto base = [&](std::string_view end) {
      return tensor.name.substr(0, tensor.name.size() - end.size());
    };
    if (tensor.name.ends_with(kSums)) {
      const std::string name = base(kSums);
      const TensorView* counts = gguf.tensor(name + std::string(kCounts));
      if (!counts) throw Error("has sums and no counts", of_tensor(name), kDamaged);
      Importance importance{numbers_of(tensor), numbers_of(*counts)};
      check(importance, name);
      if (tensor.shape.back() * counts->count() != tensor.count())
        throw Error(fmt::format("has sums {} and {} counts", tensor.describe(), counts->count()),
                    of_tensor(name), kDamaged);
      matrix.tensors.emplace(name, std::move(importance));
    } else if (tensor.name.ends_with(kCounts)) {
      if (!gguf.tensor(base(kCounts) + std::string(kSums)))
        throw Error("has counts and no sums", of_tensor(base(kCounts)), kDamaged);
    } else if (!tensor.name.ends_with(kPlainSums)) {
      throw Error("belongs to no importance matrix", of_tensor(tensor.name), kDamaged);
    }
  }
  return matrix;
}

// The older file, front to back: i32 entries; of each i32 length, name, i32 calls, i32 values, f32 [values];
// then, from some versions, i32 chunks, i32 length, name of the text. A value divided by the calls is a mean
// square.
class OldReader {
 public:
  explicit OldReader(Bytes bytes) : bytes_(bytes) {}

  ImportanceMatrix read() {
    constexpr int32_t kMostEntries = 1 << 20, kLongestName = 1 << 12;
    ImportanceMatrix matrix;
    const int32_t entries = number(1, kMostEntries, "entries");
    for (int32_t i = 0; i < entries; ++i) {
      const std::string name(as_text(take(number(1, kLongestName, "bytes of a name"))));
      const int32_t calls = number(0, kMost, "calls");
      const int32_t values = number(1, kMost, "values");
      Importance importance;
      importance.counts = {static_cast<float>(std::max(calls, 1))};
      const Bytes bytes = take(int64_t{values} * 4);
      importance.sums.resize(static_cast<size_t>(values));
      std::memcpy(importance.sums.data(), bytes.data(), bytes.size());
      check(importance, name);
      if (!matrix.tensors.emplace(name, std::move(importance)).second)
        throw Error("is there twice", of_tensor(name), kDamaged);
    }
    if (at_ == bytes_.size()) return matrix;
    matrix.chunks = static_cast<uint32_t>(number(0, kMost, "chunks"));
    matrix.datasets.emplace_back(as_text(take(number(0, kMost, "bytes of the text's name"))));
    if (at_ != bytes_.size()) throw Error(fmt::format("goes on after its end at byte {}", at_), "", kDamaged);
    return matrix;
  }

 private:
  static constexpr int32_t kMost = std::numeric_limits<int32_t>::max();

  Bytes take(int64_t n) {
    if (static_cast<uint64_t>(n) > bytes_.size() - at_)
      throw Error(fmt::format("needs {} bytes at byte {}, the file ends at byte {}", n, at_, bytes_.size()),
                  "", "the file is cut short, or is no importance matrix");
    const Bytes taken = bytes_.subspan(at_, static_cast<size_t>(n));
    at_ += static_cast<size_t>(n);
    return taken;
  }
  int32_t number(int32_t least, int32_t most, const char* what) {
    const size_t at = at_;
    int32_t n = 0;
    std::memcpy(&n, take(4).data(), 4);
    if (n < least || n > most)
      throw Error(fmt::format("has {} {} at byte {}", n, what, at), "",
                  "the file is no importance matrix, or damaged");
    return n;
  }

  Bytes bytes_;
  size_t at_ = 0;
};

void write_gguf(const fs::path& path, const ImportanceMatrix& matrix) {
  GgufWriter writer(path);
  writer.add(kType, {GgufType::string, std::string_view("imatrix")});
  writer.add(kDatasets, std::span<const std::string>(matrix.datasets));
  writer.add(kChunks, {GgufType::u32, uint64_t{matrix.chunks}});
  writer.add(kChunkTokens, {GgufType::u32, uint64_t{matrix.chunk_tokens}});
  for (const auto& [name, importance] : matrix.tensors) {
    const auto matrices = static_cast<int64_t>(importance.counts.size());
    const auto cols = static_cast<int64_t>(importance.sums.size()) / matrices;
    writer.declare({.name = name + std::string(kSums), .shape = {matrices, cols}});
    writer.declare({.name = name + std::string(kCounts), .shape = {matrices, 1}});
  }
  for (const auto& [name, importance] : matrix.tensors) {
    writer.write(std::as_bytes(std::span(importance.sums)));
    writer.write(std::as_bytes(std::span(importance.counts)));
  }
  writer.commit();
}

void write_old(const fs::path& path, const ImportanceMatrix& matrix) {
  AtomicFile file(path);
  const auto number = [&](size_t n) {
    if (n > static_cast<size_t>(std::numeric_limits<int32_t>::max()))
      throw Error("is too large for the older format", path.string(), "give it a name that ends in .gguf");
    const auto small = static_cast<int32_t>(n);
    file.write(std::as_bytes(std::span(&small, 1)));
  };
  const auto text = [&](std::string_view t) {
    number(t.size());
    file.write(as_bytes(t));
  };
  number(matrix.tensors.size());
  for (const auto& [name, importance] : matrix.tensors) {
    const size_t matrices = importance.counts.size(), cols = importance.sums.size() / matrices;
    const std::vector<float> means =
        importance.means(static_cast<int64_t>(matrices), static_cast<int64_t>(cols));
    text(name);
    number(1);
    number(means.size());
    file.write(std::as_bytes(std::span(means)));
  }
  number(matrix.chunks);
  text(matrix.datasets.empty() ? "" : matrix.datasets.front());
  file.commit();
}

}  // namespace

std::vector<float> Importance::means(int64_t matrices, int64_t cols) const {
  const bool one_count = counts.size() == 1;
  if (static_cast<int64_t>(sums.size()) != matrices * cols ||
      (!one_count && static_cast<int64_t>(counts.size()) != matrices))
    throw Error(fmt::format("importance is of {} x {} columns, the tensor has {} x {}", counts.size(),
                            sums.size() / counts.size(), matrices, cols),
                "", "it was collected with another model");
  std::vector<float> means(sums.size());
  for (size_t i = 0; i < sums.size(); ++i) {
    const float count = counts[one_count ? 0 : i / static_cast<size_t>(cols)];
    means[i] = count > 0 ? std::min(sums[i] / count, std::numeric_limits<float>::max()) : 0;
  }
  return means;
}

ImportanceMatrix parse_importance(Bytes bytes, std::string_view name) {
  if (as_text(bytes).starts_with("GGUF")) {
    const Gguf gguf = Gguf::parse(bytes, name);
    try {
      return from_gguf(gguf);
    } catch (const Error& e) {  // those about keys know the file
      throw e.subject().empty() || e.subject().starts_with("tensor") ? e.within(name) : e;
    }
  }
  try {
    return OldReader(bytes).read();
  } catch (const Error& e) {
    throw e.within(name);
  }
}

ImportanceMatrix read_importance(const fs::path& path) {
  const MappedFile file(path);
  return parse_importance(file.bytes(), path.string());
}

void write_importance(const fs::path& path, const ImportanceMatrix& matrix) {
  if (path.extension() == ".dat")
    write_old(path, matrix);
  else
    write_gguf(path, matrix);
}

}  // namespace minke
