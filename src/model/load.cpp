#include "model/load.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <system_error>

#include <fmt/ranges.h>

#include "base/cpu.h"
#include "base/error.h"
#include "base/float.h"
#include "base/residence.h"
#include "base/thread_pool.h"
#include "model/adapters.h"
#include "model/architecture.h"

namespace minke {
namespace {

std::string shape_text(std::span<const int64_t> shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

bool powers_of_two(const std::vector<float>& values) {
  return std::ranges::all_of(values, [](float v) {
    int exponent;
    return v > 0 && std::frexp(v, &exponent) == 0.5f;
  });
}

// Whether a byte is 0x7f or 0xff, the NaNs of E4M3. Eight at a time: one by one 9 GB took six seconds.
bool has_f8_nan(Bytes bytes) {
  constexpr uint64_t kEach = 0x0101010101010101;
  uint64_t carries = 0;
  size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    uint64_t word;
    std::memcpy(&word, bytes.data() + i, 8);
    carries |= (word & 0x7f * kEach) + kEach;
  }
  for (; i < bytes.size(); ++i) carries |= (std::to_integer<uint64_t>(bytes[i]) & 0x7f) + 1;
  return (carries & 0x80 * kEach) != 0;
}

class Loader {
 public:
  // made: what cannot be mapped goes there.
  Loader(const Model& model, Arena& made, const LoadOptions& options)
      : model_(model), made_(made), options_(options) {}

  void run(Weights& weights) {
    int64_t all = 0, done = 0;
    for_each_weight(model_.config, [&](const WeightSlot&) { ++all; });
    for_each_weight(model_.config, weights, [&](const WeightSlot& slot, Mat& mat) {
      load(slot, mat);
      if (options_.progress) options_.progress(++done, all);
    });
    for (const TensorView& t : tensors_of(model_)) {
      if (used_.contains(t.name) || options_.allowed.contains(t.name)) continue;
      if (is_known_extra(model_.config, t.name, model_.container())) continue;
      throw Error(fmt::format("{} {} is no weight of a {} model", in_quotes(t.name), t.describe(),
                              model_.config.arch),
                  model_.path.string(),
                  fmt::format("--allow-field '{}' loads the model as if it were not there", t.name));
    }
    if (options_.check_values && !to_check_.empty()) check_f8();
  }

  void load(const WeightSlot& slot, Mat& mat) {
    const std::vector<Source> sources = sources_of(model_.config, slot, model_.container());
    for (const Source& source : sources) {
      const TensorView* t = find(source.name);
      if (!t) continue;
      used_.insert(t->name);
      mat = slot.vector ? vector(slot, *t) : matrix(slot, *t, source.transform);
      return;
    }
    throw Error(fmt::format("tensor '{}' is missing", sources.front().name), model_.path.string(),
                "the file is incomplete, or its config is another model's");
  }

  int64_t made_bytes() const { return made_bytes_; }
  int64_t made_for_layout() const { return made_for_layout_; }

 private:
  const TensorView* find(std::string_view name) const {
    return model_.gguf() ? model_.gguf()->tensor(name) : model_.folder()->weights.tensor(name);
  }

  [[noreturn]] void wrong(const TensorView& t, std::string what) const {
    throw Error(std::move(what), fmt::format("{}: tensor {}", model_.path.string(), in_quotes(t.name)));
  }

  void expect_shape(const TensorView& t, std::initializer_list<int64_t> shape) const {
    if (t.dtype != DType::weights) wrong(t, fmt::format("{} cannot be a weight", t.describe()));
    if (!std::equal(t.shape.begin(), t.shape.end(), shape.begin(), shape.end()))
      wrong(t, fmt::format("expected shape {}, found {}", shape_text({shape.begin(), shape.size()}),
                           t.describe()));
  }

  // Vectors are copied: they are small, and f32 and aligned afterwards.
  Mat vector(const WeightSlot& slot, const TensorView& t) {
    expect_shape(t, {slot.cols});
    const Mat m = room(Format::f32, 1, slot.cols);
    if (options_.dry) return m;
    const std::vector<float> values = to_floats(t);
    std::memcpy(writable(m), values.data(), values.size() * sizeof(float));
    return m;
  }

  // Room for a matrix that the model owns; null in a dry run.
  Mat room(Format format, int64_t rows, int64_t cols) {
    const int64_t bytes = row_bytes(format, cols);
    made_bytes_ += (bytes * rows + 63) / 64 * 64;
    return {options_.dry ? nullptr : made_.take(bytes * rows),
            nullptr,
            format,
            static_cast<int32_t>(rows),
            static_cast<int32_t>(cols),
            bytes};
  }
  static std::byte* writable(const Mat& m) { return const_cast<std::byte*>(m.data); }

  // A matrix as it lies in the file.
  Mat whole(const TensorView& t, int64_t rows, int64_t cols) {
    Mat m{t.bytes.data(),           nullptr, t.format, static_cast<int32_t>(rows), static_cast<int32_t>(cols),
          row_bytes(t.format, cols)};
    if (t.format == Format::f8_e4m3) m.scales = scales_of(t, rows, cols);
    return m;
  }

  // The scales beside an FP8 weight, copied so that they are aligned.
  const float* scales_of(const TensorView& t, int64_t rows, int64_t cols) {
    const std::string name = t.name + "_scale_inv";
    const TensorView* s = find(name);
    if (!s) wrong(t, fmt::format("F8_E4M3, but its scales '{}' are missing", name));
    used_.insert(name);
    const int64_t across = (cols + kScaleBlock - 1) / kScaleBlock,
                  down = (rows + kScaleBlock - 1) / kScaleBlock;
    expect_shape(*s, {down, across});
    const Mat copy = room(Format::f32, down, across);
    if (options_.dry) return nullptr;
    const std::vector<float> values = to_floats(*s);
    std::memcpy(writable(copy), values.data(), values.size() * sizeof(float));
    for (const float scale : values)
      if (!std::isfinite(scale)) wrong(t, "one of its scales is not finite");
    if (to_check_.empty() || to_check_.back() != &t) to_check_.push_back(&t);
    return copy.f32();
  }

  // Reads every FP8 weight, on all threads.
  void check_f8() const {
    constexpr int64_t kPiece = 1 << 20;
    ThreadPool pool(usable_cores());
    for (const TensorView* t : to_check_) {
      std::atomic<bool> found = false;
      pool.for_each(static_cast<int64_t>(t->bytes.size()), kPiece, [&](int64_t begin, int64_t end, int) {
        if (has_f8_nan(t->bytes.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin))))
          found = true;
      });
      if (found) say_where_nans_are(*t);
    }
  }

  [[noreturn]] void say_where_nans_are(const TensorView& t) const {
    constexpr size_t kRun = 4096;
    for (size_t at = 0; at < t.bytes.size(); at += kRun) {
      const Bytes run = t.bytes.subspan(at, std::min(kRun, t.bytes.size() - at));
      const auto nans = std::ranges::count_if(run, [](std::byte b) { return has_f8_nan({&b, 1}); });
      if (nans > 0) wrong(t, fmt::format("{} NaN bytes in bytes {} to {}", nans, at, at + run.size()));
    }
    wrong(t, "NaN bytes, which went away while they were looked for");  // somebody writes to the file
  }

  Mat matrix(const WeightSlot& slot, const TensorView& t, Transform transform) {
    const int64_t rows = slot.rows, cols = slot.cols;
    const Config& c = model_.config;
    switch (transform) {
      case Transform::as_is: expect_shape(t, {rows, cols}); return whole(t, rows, cols);
      case Transform::expert_slice:
        expect_shape(t, {c.moe->router.experts, rows, cols});
        return slice(t, slot.expert * rows, rows, cols);
      case Transform::gate_rows:
      case Transform::up_rows:
        expect_shape(t, {c.moe->router.experts, 2 * rows, cols});
        return slice(t, (2 * slot.expert + (transform == Transform::up_rows)) * rows, rows, cols);
      case Transform::head_stack:
        if (t.shape.size() == 2)
          expect_shape(t, {rows, cols});
        else
          expect_shape(t, {c.heads, rows / c.heads, cols});
        return slice(t, 0, rows, cols);
      case Transform::kv_b_keys:
      case Transform::kv_b_values: return kv_b_part(t, transform == Transform::kv_b_keys);
      case Transform::gate_half:
      case Transform::up_half:
        expect_shape(t, {c.moe->router.experts, cols, 2 * rows});
        return transposed(t, slot, 2 * rows, transform == Transform::up_half ? rows : 0);
      case Transform::expert_transposed:
        expect_shape(t, {c.moe->router.experts, cols, rows});
        return transposed(t, slot, rows, 0);
    }
    MINKE_CHECK(false);
  }

  // Rows [first, first + rows) of a stack seen as one tall matrix.
  Mat slice(const TensorView& t, int64_t first, int64_t rows, int64_t cols) const {
    if (t.format == Format::f8_e4m3) wrong(t, "F8_E4M3 stacks are not supported");
    const int64_t bytes = row_bytes(t.format, cols);
    return {t.bytes.data() + first * bytes, nullptr, t.format, static_cast<int32_t>(rows),
            static_cast<int32_t>(cols),     bytes};
  }

  // kv_b's rows are, head after head, nope rows for keys and v rows for values, each of kv_lora columns.
  Mat kv_b_part(const TensorView& t, bool keys) {
    const Config& c = model_.config;
    const MlaConfig& m = *c.mla;
    const int64_t per_head = m.nope + m.v;
    expect_shape(t, {c.heads * per_head, m.kv_lora});
    const Mat source = whole(t, c.heads * per_head, m.kv_lora);
    const int64_t rows = keys ? int64_t{c.heads} * m.kv_lora : int64_t{c.heads} * m.v,
                  cols = keys ? m.nope : m.kv_lora;
    const Mat result = room(format_of_parts(t), rows, cols);
    made_for_layout_ += result.bytes();
    if (options_.dry) return result;
    std::vector<float> row(static_cast<size_t>(m.kv_lora)), values(static_cast<size_t>(rows * cols));
    for (int h = 0; h < c.heads; ++h) {
      for (int i = 0; i < (keys ? m.nope : m.v); ++i) {
        dequantize_row(source, h * per_head + (keys ? i : m.nope + i), row.data());
        if (!keys) {
          std::copy(row.begin(), row.end(), values.begin() + (int64_t{h} * m.v + i) * m.kv_lora);
          continue;
        }
        for (int j = 0; j < m.kv_lora; ++j)
          values[static_cast<size_t>((int64_t{h} * m.kv_lora + j) * m.nope + i)] =
              row[static_cast<size_t>(j)];
      }
    }
    info(result.format).quantize(values.data(), writable(result), rows * cols);
    return result;
  }

  // The shortest float format that holds the tensor's values exactly.
  Format format_of_parts(const TensorView& t) const {
    if (t.format == Format::bf16 || t.format == Format::f16) return t.format;
    if (t.format != Format::f8_e4m3) return Format::f32;
    const TensorView* scales = find(t.name + "_scale_inv");  // three bits under a power of two fit BF16
    return powers_of_two(to_floats(*scales)) ? Format::bf16 : Format::f32;
  }

  // Expert slot.expert of [E][cols][stride]: columns [first, first + rows), transposed to [rows][cols].
  Mat transposed(const TensorView& t, const WeightSlot& slot, int64_t stride, int64_t first) {
    if (info(t.format).block != 1 || t.format == Format::f8_e4m3)
      wrong(t, fmt::format("{} cannot be transposed", t.describe()));
    const int64_t size = info(t.format).block_bytes, rows = slot.rows, cols = slot.cols;
    const Mat result = room(t.format, rows, cols);
    made_for_layout_ += result.bytes();
    if (options_.dry) return result;
    std::byte* data = writable(result);
    const std::byte* from = t.bytes.data() + slot.expert * cols * stride * size;
    for (int64_t c = 0; c < cols; ++c)
      for (int64_t r = 0; r < rows; ++r)
        std::memcpy(data + (r * cols + c) * size, from + (c * stride + first + r) * size,
                    static_cast<size_t>(size));
    return result;
  }

  const Model& model_;
  Arena& made_;
  const LoadOptions& options_;
  int64_t made_bytes_ = 0, made_for_layout_ = 0;
  std::set<std::string, std::less<>> used_;
  std::vector<const TensorView*> to_check_;  // FP8 weights
};

}  // namespace

std::span<const TensorView> tensors_of(const Model& model) {
  return model.gguf() ? model.gguf()->tensors() : model.folder()->weights.tensors();
}

std::string sample_of(const Model& model) {
  constexpr size_t kSample = 256;  // bytes of a tensor, from its middle
  if (!model.placement.sample.empty()) return model.placement.sample;
  std::string all;
  for (const TensorView& t : tensors_of(model)) {
    const size_t bytes = std::min(kSample, t.bytes.size());
    all += fmt::format("{} {} {}\n", t.name, name(t.format), fmt::join(t.shape, " "));
    all += as_text(t.bytes.subspan((t.bytes.size() - bytes) / 2, bytes));
  }
  return all;
}

std::span<const MappedFile> files_of(const Model& model) {
  return model.gguf() ? model.gguf()->files() : model.folder()->weights.files();
}

Tokenizer load_tokenizer(const Model& model) {
  if (model.gguf()) return Tokenizer::from_gguf(*model.gguf());
  const HfFolder& folder = *model.folder();
  if (!folder.tokenizer)
    throw Error("no tokenizer.json", folder.path.string(),
                "it lies beside the weights where they were published");
  return Tokenizer::from_file(*folder.tokenizer);
}

Model open_model(const fs::path& path, const LoadOptions& options) {
  Model model;
  model.path = path;
  std::error_code unknown;  // what is no folder is opened as a file, which tells what is wrong with it
  if (fs::is_directory(path, unknown)) {
    model.files = HfFolder::open(path);
    const HfFolder& folder = *model.folder();
    const auto has = [&](std::string_view name) { return folder.weights.tensor(name) != nullptr; };
    model.config = config_from_json(folder.config, (path / "config.json").string(), has, options.allowed);
    model.config.name = fs::canonical(path).filename().string();
    if (!folder.generation.eos_ids.empty()) {
      model.config.eos.clear();
      for (const int64_t id : folder.generation.eos_ids)
        if (id >= 0 && id < model.config.vocab) model.config.eos.push_back(static_cast<int32_t>(id));
    }
  } else {
    model.files = Gguf::open(path);
    model.config = config_from_gguf(*model.gguf(), options.allowed);
  }
  return model;
}

Model load_model(const fs::path& path, const LoadOptions& options) {
  Model model = open_model(path, options);
  for (const MappedFile& file : files_of(model))
    prefer_huge_pages(file.bytes(), options.huge_pages != HugePages::off);
  Loader loader(model, model.made, options);
  loader.run(model.weights);
  model.made_bytes = loader.made_bytes();
  model.made_for_layout = loader.made_for_layout();
  if (!options.adapters.empty()) load_adapters(model, options.adapters, options);
  // Looked up by row, the embedding would grow into memory with the words of the prompt: a first answer that
  // waits for the disk, and a size nobody could announce. All other weights are read by the first step.
  if (!options.dry && !model.config.tied && model.weights.embed.data)
    read_in({model.weights.embed.data, static_cast<size_t>(model.weights.embed.bytes())});
  return model;
}

Mat load_weight(const Model& model, const WeightSlot& slot, Arena& made) {
  LoadOptions options;
  options.check_values = false;
  Mat mat;
  Loader(model, made, options).load(slot, mat);
  return mat;
}

}  // namespace minke
