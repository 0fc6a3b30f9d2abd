#include "model/quantize.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <map>
#include <system_error>

#include <fmt/format.h>

#include "base/error.h"
#include "base/thread_pool.h"
#include "formats/gguf_writer.h"
#include "quant/encode.h"

namespace minke {
namespace {

// Of a tensor, in memory at once; and then stopped() is asked.
constexpr int64_t kPieceWeights = int64_t{2} << 20, kPieceBytes = int64_t{8} << 20;
constexpr std::array<std::string_view, 7> kGroups = {"embd",   "output",  "attn",   "ffn",
                                                     "shared", "experts", "default"};

}  // namespace

uint64_t file_type(Format format) {
  switch (format) {
    case Format::f32: return 0;
    case Format::f16: return 1;
    case Format::q4_0: return 2;
    case Format::q4_1: return 3;
    case Format::q8_0: return 7;
    case Format::q5_0: return 8;
    case Format::q5_1: return 9;
    case Format::q2_k: return 10;
    case Format::q3_k: return 11;
    case Format::q4_k: return 14;
    case Format::q5_k: return 16;
    case Format::q6_k: return 18;
    case Format::iq2_xxs: return 19;
    case Format::iq2_xs: return 20;
    case Format::iq3_xxs: return 23;
    case Format::iq1_s: return 24;
    case Format::iq4_nl: return 25;
    case Format::iq3_s: return 26;
    case Format::iq2_s: return 28;
    case Format::iq4_xs: return 30;
    case Format::iq1_m: return 31;
    case Format::bf16: return 32;
    case Format::mxfp4: return 38;
    case Format::f8_e4m3: break;
  }
  return 0;
}

namespace {

// A format of about the same size for rows that fill blocks of 32, but not of 256.
Format for_short_rows(Format format) {
  switch (format) {
    case Format::q2_k:
    case Format::q3_k: return Format::q4_0;
    case Format::q4_k: return Format::q5_0;
    case Format::q5_k: return Format::q5_1;
    case Format::q6_k: return Format::q8_0;
    case Format::iq4_xs: return Format::iq4_nl;
    default: return format;
  }
}

}  // namespace

std::optional<Format> fitting_format(Format wanted, int64_t cols) {
  for (const Format format : {wanted, for_short_rows(wanted)})
    if (cols % info(format).block == 0) return format;
  return std::nullopt;
}

namespace {

bool was_rounded(const TensorView& tensor) { return info(tensor.format).block > 1; }

// "attn_v" of "blk.3.attn_v.weight".
std::string_view part_of(std::string_view tensor) {
  if (tensor.ends_with(".weight")) tensor.remove_suffix(7);
  if (tensor.starts_with("blk."))
    if (const size_t dot = tensor.find('.', 4); dot != tensor.npos) tensor.remove_prefix(dot + 1);
  return tensor;
}

// Whether the text is what the pattern says, in which * stands for any text. A star that was passed takes one
// character more whenever what follows it does not fit.
bool fits(std::string_view text, std::string_view pattern) {
  size_t t = 0, p = 0, star = pattern.npos, taken = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      taken = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p, ++t;
    } else if (star != pattern.npos) {
      p = star + 1;
      t = ++taken;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == pattern.npos;
}

std::optional<Format> parse_format(std::string_view text) {
  if (text == "keep") return std::nullopt;
  const std::optional<Format> format = format_by_name(text);
  if (format && can_encode(*format)) return format;
  std::string known;
  for (const FormatInfo& row : all_formats())
    if (can_encode(row.format)) known += fmt::format("{}, ", row.name);
  throw Error(fmt::format("{} is no format to write", in_quotes(text)), "--type", known + "or keep");
}

}  // namespace

TypeRules TypeRules::parse(std::string_view text) {
  TypeRules rules;
  rules.text_ = text;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    const std::string_view rule = text.substr(at, end - at);
    const size_t equals = rule.find('=');
    const std::string_view name = equals == rule.npos ? "default" : rule.substr(0, equals);
    const std::string_view format = equals == rule.npos ? rule : rule.substr(equals + 1);
    if (name.empty()) throw Error(fmt::format("{} names no weights", in_quotes(rule)), "--type");
    if (rules.find(name)) throw Error(fmt::format("says {} twice", in_quotes(name)), "--type");
    rules.rules_.push_back({std::string(name), parse_format(format)});
    at = end + 1;
  }
  return rules;
}

const TypeRules::Rule* TypeRules::find(std::string_view name) const {
  const auto found = std::ranges::find(rules_, name, &Rule::name);
  return found == rules_.end() ? nullptr : &*found;
}

std::optional<Format> TypeRules::of(std::string_view tensor, bool tied) const {
  for (const Rule& rule : rules_)
    if (rule.name.find('.') != std::string::npos && fits(tensor, rule.name)) return rule.format;
  std::string_view group = weight_group(tensor);
  if (const Rule* rule = find(part_of(tensor))) return rule->format;
  if (tied && group == "embd" && !find("embd")) group = "output";
  if (const Rule* rule = group.empty() ? nullptr : find(group)) return rule->format;
  const Rule* rule = find("default");
  return rule ? rule->format : std::nullopt;
}

std::string_view weight_group(std::string_view tensor) {
  const std::string_view part = part_of(tensor);
  if (part == "token_embd" || part == "nextn.embed_tokens") return "embd";
  if (part == "output" || part == "nextn.shared_head_head") return "output";
  if (part.ends_with("_exps")) return "experts";
  if (part.ends_with("_shexp")) return "shared";
  if (part.starts_with("attn_") || part.starts_with("indexer.")) return "attn";
  if (part.starts_with("ffn_")) return "ffn";
  return "";
}

bool is_quantizable(const TensorView& tensor) {
  const std::string_view part = part_of(tensor.name);
  return tensor.dtype == DType::weights && tensor.name.ends_with(".weight") && tensor.shape.size() >= 2 &&
         tensor.count() > tensor.shape.back() && !part.ends_with("norm") &&
         !part.starts_with("ffn_gate_inp") && part != "indexer.proj";
}

void check_names(std::span<const TensorView> tensors, const TypeRules& rules) {
  for (const TypeRules::Rule& rule : rules.rules()) {
    if (std::ranges::find(kGroups, rule.name) != kGroups.end()) continue;
    const auto concerns = [&](const TensorView& t) {
      return is_quantizable(t) && (part_of(t.name) == rule.name || fits(t.name, rule.name));
    };
    if (std::ranges::any_of(tensors, concerns)) continue;
    throw Error(fmt::format("no weight that is quantised is called {}", in_quotes(rule.name)), "--type",
                "groups are embd, output, attn, ffn, shared, experts, default; others are tensors, such as "
                "ffn_down or "
                "'blk.0.*'");
  }
}

QuantizePlan plan_quantize(const Gguf& gguf, const TypeRules& rules, bool allow_requantize) {
  check_names(gguf.tensors(), rules);
  QuantizePlan plan;
  plan.rules = rules.text();
  const bool tied = gguf.tensor("output.weight") == nullptr;
  for (const TensorView& tensor : gguf.tensors()) {
    PlannedTensor planned{.from = &tensor, .to = tensor, .wanted = {}};
    planned.to.bytes = {};
    const std::optional<Format> wanted = is_quantizable(tensor) ? rules.of(tensor.name, tied) : std::nullopt;
    if (wanted) {
      const Format format = fitting_format(*wanted, tensor.shape.back()).value_or(tensor.format);
      if (format != *wanted) planned.wanted = wanted;
      planned.to.format = format;
      if (!planned.copied() && was_rounded(tensor) && !allow_requantize)
        throw Error(fmt::format("is {} already: as {} it would be rounded a second time", name(tensor.format),
                                name(format)),
                    fmt::format("{}: tensor {}", gguf.path().string(), in_quotes(tensor.name)),
                    "start from an F16, BF16 or F32 file, or say --allow-requantize");
    }
    plan.bytes_before += static_cast<int64_t>(tensor.bytes.size());
    plan.bytes_after += byte_size(planned.to).value_or(0);
    plan.tensors.push_back(std::move(planned));
  }
  return plan;
}

namespace {

void check_target(const Gguf& gguf, const QuantizePlan& plan, const fs::path& out, bool overwrite) {
  std::error_code ec;
  if (fs::equivalent(gguf.path(), out, ec))
    throw Error("is the file that is read", out.string(), "give the new file another name");
  if (is_split_name(out))
    throw Error("is the name of a part of a split file, and one whole file is written", out.string(),
                "give it another name");
  if (fs::is_directory(out, ec)) throw Error("is a folder", out.string(), "name a file in it");
  if (!overwrite && fs::exists(fs::symlink_status(out, ec)))
    throw Error("is there already", out.string(), "--force writes over it");
  const fs::path folder = out.has_parent_path() ? out.parent_path() : fs::path(".");
  const fs::space_info space = fs::space(folder, ec);
  if (!ec && space.available < static_cast<uintmax_t>(plan.bytes_after))
    throw Error(fmt::format("{} MB are needed, {} MB are free", plan.bytes_after / 1'000'000,
                            space.available / 1'000'000),
                folder.string());
}

Format most_used(const QuantizePlan& plan) {
  std::map<Format, int64_t> weights;
  for (const PlannedTensor& t : plan.tensors)
    if (is_quantizable(t.to)) weights[t.to.format] += t.to.count();
  const auto most = std::ranges::max_element(weights, {}, &std::pair<const Format, int64_t>::second);
  return most == weights.end() ? Format::f32 : most->first;
}

// All of the source's metadata but what was true of its file only, and where this one comes from.
void add_metadata(GgufWriter& writer, const Gguf& gguf, const QuantizePlan& plan) {
  constexpr std::string_view kBy = "general.quantized_by", kVersion = "general.quantization_version",
                             kType = "general.file_type", kSource = "minke.quantize.source",
                             kRules = "minke.quantize.types", kImatrix = kImportanceKeys;
  for (const auto& [key, value] : gguf.metadata()) {
    const bool ours = key == kBy || key == kVersion || key == kType || key == kSource || key == kRules ||
                      key.starts_with(kImatrix);
    if (!ours && !key.starts_with("split.")) writer.add(key, value);
  }
  const std::string source = gguf.path().filename().string();
  writer.add(kType, {GgufType::u32, file_type(most_used(plan))});
  writer.add(kVersion, {GgufType::u32, uint64_t{2}});
  writer.add(kBy, {GgufType::string, std::string_view("minke")});
  writer.add(kSource, {GgufType::string, std::string_view(source)});
  writer.add(kRules, {GgufType::string, std::string_view(plan.rules)});
  if (!plan.importance) return;
  for (const auto& [key, value] : importance_keys(*plan.importance, plan.importance_file))
    writer.add(key, value);
}

// Rounds a tensor, a piece after the other; rows of a piece in parallel.
class Encoder {
 public:
  Encoder(int threads) : pool_(threads) {}

  // hand_over(blocks, bytes of the source) for each piece; false from it ends. Throws Error naming the
  // tensor.
  template <typename F>
  bool encode(const PlannedTensor& planned, Rounding& rounding, F hand_over) {
    const TensorView& from = *planned.from;
    const int64_t cols = from.shape.back(), rows = from.count() / cols;
    const int64_t bytes_in = row_bytes(from.format, cols), bytes_out = row_bytes(planned.to.format, cols);
    const int64_t at_once = std::clamp(kPieceWeights / cols, int64_t{1}, rows);
    const int64_t grain = std::max(int64_t{1}, 16384 / cols);
    blocks_.resize(static_cast<size_t>(at_once * bytes_out));
    losses_.resize(static_cast<size_t>(at_once));
    rows_.assign(static_cast<size_t>(pool_.size()), std::vector<float>(static_cast<size_t>(2 * cols)));
    const RowImportance importance(planned);
    for (int64_t first = 0; first < rows; first += at_once) {
      const int64_t count = std::min(at_once, rows - first);
      std::atomic<bool> finite = true;
      pool_.for_each(count, grain, [&](int64_t begin, int64_t end, int thread) {
        float* values = rows_[static_cast<size_t>(thread)].data();
        for (int64_t r = begin; r < end; ++r) {
          info(from.format).dequantize(from.bytes.data() + (first + r) * bytes_in, values, cols);
          std::byte* blocks = blocks_.data() + r * bytes_out;
          minke::encode(planned.to.format, values, importance.of_row(first + r), blocks, cols);
          info(planned.to.format).dequantize(blocks, values + cols, cols);
          losses_[static_cast<size_t>(r)] = loss_of(values, cols);
          if (!std::isfinite(losses_[static_cast<size_t>(r)].size)) finite = false;
        }
      });
      if (!finite)
        throw Error("has values that are not finite", fmt::format("tensor {}", in_quotes(from.name)),
                    "the file is damaged, or was made wrongly");
      for (int64_t r = 0; r < count; ++r) {  // in order: the same sum with any number of threads
        rounding.error += losses_[static_cast<size_t>(r)].error;
        rounding.size += losses_[static_cast<size_t>(r)].size;
      }
      if (!hand_over(Bytes(blocks_).first(static_cast<size_t>(count * bytes_out)), count * bytes_in))
        return false;
    }
    return true;
  }

 private:
  struct Loss {
    double error = 0, size = 0;
  };

  // Of the values, and what they were rounded to behind them.
  static Loss loss_of(const float* values, int64_t cols) {
    Loss loss;
    for (int64_t i = 0; i < cols; ++i) {
      const double off = double{values[i]} - values[cols + i];
      loss.error += off * off;
      loss.size += double{values[i]} * values[i];
    }
    return loss;
  }

  ThreadPool pool_;
  std::vector<std::byte> blocks_;
  std::vector<Loss> losses_;
  std::vector<std::vector<float>> rows_;
};

}  // namespace

Quantized write_quantized(const Gguf& gguf, const QuantizePlan& plan, const fs::path& out,
                          const QuantizeOptions& options) {
  check_target(gguf, plan, out, options.overwrite);
  GgufWriter writer(out);
  add_metadata(writer, gguf, plan);
  for (const PlannedTensor& t : plan.tensors) writer.declare(t.to);
  Encoder encoder(options.threads);
  Quantized result;
  std::map<Format, Rounding> roundings;
  int64_t done = 0;
  const auto write = [&](Bytes bytes, int64_t read) {
    writer.write(bytes);
    done += read;
    if (options.progress) options.progress(done, plan.bytes_before);
    return !(options.stopped && options.stopped());
  };
  const auto copy = [&](Bytes bytes) {
    for (size_t at = 0; at < bytes.size(); at += kPieceBytes) {
      const Bytes piece = bytes.subspan(at, std::min<size_t>(kPieceBytes, bytes.size() - at));
      if (!write(piece, static_cast<int64_t>(piece.size()))) return false;
    }
    return true;
  };
  try {
    for (const PlannedTensor& t : plan.tensors)
      if (!(t.copied() ? copy(t.from->bytes) : encoder.encode(t, roundings[t.to.format], write)))
        return result;
  } catch (const Error& e) {
    throw e.subject().starts_with("tensor") ? e.within(gguf.path().string()) : e;
  }
  writer.commit();
  for (auto& [format, rounding] : roundings) {
    rounding.format = format;
    result.roundings.push_back(rounding);
  }
  result.whole = true;
  return result;
}

}  // namespace minke
