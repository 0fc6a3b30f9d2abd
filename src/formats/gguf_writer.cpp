#include "formats/gguf_writer.h"

#include <algorithm>
#include <array>
#include <ranges>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"

namespace minke {
namespace {

template <typename T>
void put(std::string& out, T number) {
  out.append(reinterpret_cast<const char*>(&number), sizeof number);
}
void put_string(std::string& out, std::string_view text) {
  put(out, uint64_t{text.size()});
  out += text;
}
void put_type(std::string& out, GgufType type) { put(out, static_cast<uint32_t>(type)); }

template <typename T>
void put_number(std::string& out, GgufType type, T number) {
  switch (type) {
    case GgufType::u8: return put(out, static_cast<uint8_t>(number));
    case GgufType::i8: return put(out, static_cast<int8_t>(number));
    case GgufType::u16: return put(out, static_cast<uint16_t>(number));
    case GgufType::i16: return put(out, static_cast<int16_t>(number));
    case GgufType::u32: return put(out, static_cast<uint32_t>(number));
    case GgufType::i32: return put(out, static_cast<int32_t>(number));
    case GgufType::f32: return put(out, static_cast<float>(number));
    case GgufType::boolean: return put(out, static_cast<uint8_t>(number));
    case GgufType::u64: return put(out, static_cast<uint64_t>(number));
    case GgufType::i64: return put(out, static_cast<int64_t>(number));
    case GgufType::f64: return put(out, static_cast<double>(number));
    case GgufType::string:
    case GgufType::array: break;
  }
  MINKE_CHECK(false, "no number: {}", type_name(type));
}

void put_value(std::string& out, const GgufValue& value) {
  put_type(out, value.type);
  if (const auto* text = std::get_if<std::string_view>(&value.value)) {
    put_string(out, *text);
  } else if (const auto* array = std::get_if<GgufArray>(&value.value)) {
    put_type(out, array->type);
    put(out, array->count);
    out += as_text(array->bytes);
  } else if (const auto* u = std::get_if<uint64_t>(&value.value)) {
    put_number(out, value.type, *u);
  } else if (const auto* i = std::get_if<int64_t>(&value.value)) {
    put_number(out, value.type, *i);
  } else if (const auto* d = std::get_if<double>(&value.value)) {
    put_number(out, value.type, *d);
  } else {
    put_number(out, value.type, std::get<bool>(value.value));
  }
}

template <typename T>
GgufValue array_of(GgufType type, std::span<const T> elements) {
  return {GgufType::array, GgufArray{type, elements.size(), std::as_bytes(elements)}};
}

uint32_t type_id(const TensorView& tensor) {
  switch (tensor.dtype) {
    case DType::i8: return 24;
    case DType::i16: return 25;
    case DType::i32: return 26;
    case DType::i64: return 27;
    case DType::f64: return 28;
    case DType::weights:
      if (const int type = info(tensor.format).gguf_type; type >= 0) return static_cast<uint32_t>(type);
      break;
    case DType::u8:
    case DType::boolean: break;
  }
  throw Error(fmt::format("GGUF has no type for {}", type_name(tensor)),
              fmt::format("tensor {}", in_quotes(tensor.name)), "convert it to another type");
}

}  // namespace

void GgufHeader::add(std::string_view key, const GgufValue& value) {
  MINKE_CHECK(!key.empty());
  if (key == "general.alignment") return;  // another file's; ours is the default and needs no key
  put_string(entries_, key);
  put_value(entries_, value);
  ++entry_count_;
}

void GgufHeader::add(std::string_view key, std::span<const std::string> strings) {
  const std::vector<std::string_view> views(strings.begin(), strings.end());
  add(key, std::span<const std::string_view>(views));
}

void GgufHeader::add(std::string_view key, std::span<const std::string_view> strings) {
  std::string run;
  for (const std::string_view text : strings) put_string(run, text);
  add(key, {GgufType::array, GgufArray{GgufType::string, strings.size(), as_bytes(run)}});
}

void GgufHeader::add(std::string_view key, std::span<const int32_t> integers) {
  add(key, array_of(GgufType::i32, integers));
}

void GgufHeader::add(std::string_view key, std::span<const float> numbers) {
  add(key, array_of(GgufType::f32, numbers));
}

void GgufHeader::declare(const TensorView& tensor) {
  const std::optional<int64_t> bytes = byte_size(tensor);
  const bool empty = std::ranges::find(tensor.shape, 0) != tensor.shape.end();
  if (!bytes || empty || tensor.shape.empty() || tensor.shape.size() > 4 || tensor.name.empty() ||
      tensor.name.size() > 63)
    throw Error(
        fmt::format("GGUF holds no {}: 1 to 4 dimensions, none of them 0, rows of whole blocks and a name of "
                    "1 to 63 bytes are needed",
                    tensor.describe()),
        fmt::format("tensor {}", in_quotes(tensor.name)));
  put_string(infos_, tensor.name);
  put(infos_, static_cast<uint32_t>(tensor.shape.size()));
  for (const int64_t n : std::views::reverse(tensor.shape)) put(infos_, n);
  put(infos_, type_id(tensor));
  put(infos_, data_bytes_);
  sizes_.push_back(static_cast<uint64_t>(*bytes));
  data_bytes_ += sizes_.back() + gguf_padding(sizes_.back()).size();
}

std::string GgufHeader::bytes() const {
  std::string header = "GGUF";
  put(header, uint32_t{3});
  put(header, uint64_t{sizes_.size()});
  put(header, entry_count_);
  header += entries_;
  header += infos_;
  header += as_text(gguf_padding(header.size()));
  return header;
}

Bytes gguf_padding(uint64_t bytes) {
  static constexpr std::array<std::byte, kGgufAlignment> kZeroes{};
  return Bytes(kZeroes).first((kGgufAlignment - bytes % kGgufAlignment) % kGgufAlignment);
}

GgufWriter::GgufWriter(const fs::path& path) : file_(path) {}

void GgufWriter::declare(const TensorView& tensor) {
  MINKE_CHECK(!header_written_);
  header_.declare(tensor);
}

void GgufWriter::write_header() {
  file_.write(as_bytes(header_.bytes()));
  header_written_ = true;
}

void GgufWriter::write(Bytes bytes) {
  if (!header_written_) write_header();
  MINKE_CHECK(tensor_ < header_.sizes().size() && bytes.size() <= header_.sizes()[tensor_] - written_,
              "{} bytes too many", bytes.size());
  file_.write(bytes);
  written_ += bytes.size();
  if (written_ < header_.sizes()[tensor_]) return;
  ++tensor_;
  file_.write(gguf_padding(std::exchange(written_, 0)));
}

void GgufWriter::commit() {
  if (!header_written_) write_header();
  MINKE_CHECK(tensor_ == header_.sizes().size(), "{} tensors are not written",
              header_.sizes().size() - tensor_);
  file_.commit();
}

}  // namespace minke
