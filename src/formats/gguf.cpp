#include "formats/gguf.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>

#include <fmt/format.h>

#include "base/error.h"

namespace minke {
namespace {

constexpr uint64_t kMaxEntries = 1 << 16, kMaxTensors = 1 << 20;
constexpr uint64_t kMaxKeyBytes = (1 << 16) - 1, kMaxNameBytes = 63, kMaxStringBytes = 64 << 20;
constexpr uint64_t kMaxElements = 1 << 30;
constexpr uint32_t kMaxDims = 4;
constexpr int64_t kDefaultAlignment = 32, kMinAlignment = 8, kMaxAlignment = 1 << 20;
constexpr uint64_t kMaxDataBytes = uint64_t{1} << 62;  // so that sums of offsets stay within 64 bits

constexpr const char* kCutShort = "the file is cut short or damaged: download it again";
constexpr const char* kDamaged = "the file is damaged: download it again";

struct TypeRow {
  const char* name;
  uint64_t bytes;  // 0 where elements differ in size
};
constexpr TypeRow kTypes[] = {{"u8", 1},  {"i8", 1},  {"u16", 2},  {"i16", 2},    {"u32", 4},
                              {"i32", 4}, {"f32", 4}, {"bool", 1}, {"string", 0}, {"array", 0},
                              {"u64", 8}, {"i64", 8}, {"f64", 8}};

// Tensor types that exist but are not read, so that a refusal can name them.
struct KnownType {
  uint32_t id;
  const char* name;
};
constexpr KnownType kUnread[] = {{9, "Q8_1"},   {15, "Q8_K"}, {34, "TQ1_0"}, {35, "TQ2_0"},
                                 {40, "NVFP4"}, {41, "Q1_0"}, {42, "Q2_0"}};

// Reads the file from front to back and never past its end.
class Cursor {
 public:
  explicit Cursor(Bytes bytes) : bytes_(bytes) {}

  uint64_t at() const { return at_; }
  uint64_t left() const { return bytes_.size() - at_; }

  Bytes take(uint64_t n) {
    if (n > left())
      throw Error(fmt::format("needs {} bytes at byte {}, the file ends at byte {}", n, at_, bytes_.size()),
                  "", kCutShort);
    const Bytes taken = bytes_.subspan(at_, n);
    at_ += n;
    return taken;
  }
  template <typename T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }
  std::string_view string(uint64_t max_bytes) {
    const auto bytes = number<uint64_t>();
    if (bytes > max_bytes)
      throw Error(fmt::format("has a string of {} bytes, at most {} are allowed", bytes, max_bytes), "",
                  kDamaged);
    return as_text(take(bytes));
  }

 private:
  Bytes bytes_;
  size_t at_ = 0;
};

template <typename Wide, typename T>
Wide load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return static_cast<Wide>(value);
}

using Number = std::variant<uint64_t, int64_t, double>;

Number load_number(GgufType type, const std::byte* from) {
  switch (type) {
    case GgufType::u8: return load<uint64_t, uint8_t>(from);
    case GgufType::i8: return load<int64_t, int8_t>(from);
    case GgufType::u16: return load<uint64_t, uint16_t>(from);
    case GgufType::i16: return load<int64_t, int16_t>(from);
    case GgufType::u32: return load<uint64_t, uint32_t>(from);
    case GgufType::i32: return load<int64_t, int32_t>(from);
    case GgufType::f32: return load<double, float>(from);
    case GgufType::u64: return load<uint64_t, uint64_t>(from);
    case GgufType::i64: return load<int64_t, int64_t>(from);
    case GgufType::f64: return load<double, double>(from);
    case GgufType::boolean:
    case GgufType::string:
    case GgufType::array: break;
  }
  MINKE_CHECK(false, "no number: {}", type_name(type));
}

GgufType read_type(Cursor& cursor) {
  const auto type = cursor.number<uint32_t>();
  if (type >= std::size(kTypes)) throw Error(fmt::format("is of unknown type {}", type), "", kDamaged);
  return static_cast<GgufType>(type);
}

bool to_bool(std::byte byte) {
  if (byte > std::byte{1})
    throw Error(fmt::format("has {} for a bool, which is 0 or 1", static_cast<int>(byte)), "", kDamaged);
  return byte == std::byte{1};
}

GgufArray read_array(Cursor& cursor) {
  GgufArray array;
  array.type = read_type(cursor);
  array.count = cursor.number<uint64_t>();
  if (array.type == GgufType::array)
    throw Error("is an array of arrays, which GGUF does not allow", "", kDamaged);
  if (array.count > kMaxElements)
    throw Error(fmt::format("has {} elements, at most {} are allowed", array.count, kMaxElements), "",
                kDamaged);
  if (array.type != GgufType::string) {
    array.bytes = cursor.take(array.count * kTypes[static_cast<size_t>(array.type)].bytes);
    if (array.type == GgufType::boolean)
      for (const std::byte byte : array.bytes) to_bool(byte);
    return array;
  }
  Cursor run = cursor;
  for (uint64_t i = 0; i < array.count; ++i) run.string(kMaxStringBytes);
  array.bytes = cursor.take(run.at() - cursor.at());
  return array;
}

GgufValue read_value(Cursor& cursor) {
  GgufValue value;
  value.type = read_type(cursor);
  switch (value.type) {
    case GgufType::array: value.value = read_array(cursor); break;
    case GgufType::string: value.value = cursor.string(kMaxStringBytes); break;
    case GgufType::boolean: value.value = to_bool(cursor.take(1)[0]); break;
    default: {
      const Bytes bytes = cursor.take(kTypes[static_cast<size_t>(value.type)].bytes);
      std::visit([&](auto number) { value.value = number; }, load_number(value.type, bytes.data()));
    }
  }
  return value;
}

std::pair<std::string, GgufValue> read_entry(Cursor& cursor, uint64_t i, uint64_t count) {
  std::string key;
  try {
    key = cursor.string(kMaxKeyBytes);
    if (key.empty()) throw Error("has an empty key", "", kDamaged);
  } catch (const Error& e) {
    throw e.within(fmt::format("metadata entry {} of {}", i + 1, count));
  }
  try {
    return {key, read_value(cursor)};
  } catch (const Error& e) {
    throw e.within(fmt::format("key {}", in_quotes(key)));
  }
}

void set_type(TensorView& tensor, uint32_t type) {
  switch (type) {
    case 24: tensor.dtype = DType::i8; return;
    case 25: tensor.dtype = DType::i16; return;
    case 26: tensor.dtype = DType::i32; return;
    case 27: tensor.dtype = DType::i64; return;
    case 28: tensor.dtype = DType::f64; return;
    default: break;
  }
  if (const std::optional<Format> format = format_by_gguf_type(type)) {
    tensor.format = *format;
    return;
  }
  const auto* known = std::ranges::find(kUnread, type, &KnownType::id);
  if (known != std::end(kUnread))
    throw Error(fmt::format("is of type {} ({}), which Minke does not read", known->name, type), "",
                "use a file of another quantisation");
  throw Error(fmt::format("is of unknown type {}", type), "",
              "the file is newer than this program, or damaged");
}

// A tensor's entry in the list; its offset from the data start goes to `offset`.
TensorView read_info(Cursor& cursor, uint64_t& offset) {
  TensorView tensor;
  try {
    tensor.name = cursor.string(kMaxNameBytes);
    if (tensor.name.empty()) throw Error("has an empty name", "", kDamaged);
  } catch (const Error& e) {
    throw e.within("the list of tensors");
  }
  try {
    const auto dims = cursor.number<uint32_t>();
    if (dims < 1 || dims > kMaxDims)
      throw Error(fmt::format("has {} dimensions, 1 to {} are allowed", dims, kMaxDims), "", kDamaged);
    for (uint32_t i = 0; i < dims; ++i) {
      const auto size = cursor.number<int64_t>();
      if (size < 1) throw Error(fmt::format("has a dimension of {}", size), "", kDamaged);
      tensor.shape.insert(tensor.shape.begin(), size);
    }
    set_type(tensor, cursor.number<uint32_t>());
    offset = cursor.number<uint64_t>();
    if (const FormatInfo& format = info(tensor.format); tensor.shape.back() % format.block != 0)
      throw Error(fmt::format("has rows of {} weights, which are no whole blocks of {} (of {} weights)",
                              tensor.shape.back(), format.name, format.block),
                  "", kDamaged);
    return tensor;
  } catch (const Error& e) {
    throw e.within(fmt::format("tensor {}", in_quotes(tensor.name)));
  }
}

uint64_t padded(uint64_t n, uint64_t alignment) { return (n + alignment - 1) & ~(alignment - 1); }

// Gives each tensor its bytes. Data lies in the order of the list, each tensor padded to the alignment.
void place_tensors(Bytes file, uint64_t list_end, uint64_t alignment, std::span<const uint64_t> offsets,
                   std::vector<TensorView>& tensors) {
  const uint64_t start = padded(list_end, alignment);
  uint64_t offset = 0, end = 0, missing = 0, first_end = 0;
  const TensorView* first_missing = nullptr;
  for (size_t i = 0; i < tensors.size(); ++i) {
    TensorView& tensor = tensors[i];
    const std::string subject = fmt::format("tensor {}", in_quotes(tensor.name));
    const std::optional<int64_t> bytes = byte_size(tensor);
    if (!bytes || static_cast<uint64_t>(*bytes) > kMaxDataBytes - offset)
      throw Error(fmt::format("ends beyond what a file can hold: {}", tensor.describe()), subject, kDamaged);
    if (offsets[i] != offset)
      throw Error(fmt::format("its data is at offset {} instead of {}", offsets[i], offset), subject,
                  kDamaged);
    end = start + offset + static_cast<uint64_t>(*bytes);
    if (end <= file.size()) {
      tensor.bytes = file.subspan(start + offset, static_cast<size_t>(*bytes));
    } else if (missing++ == 0) {
      first_missing = &tensor;
      first_end = end;
    }
    offset = padded(offset + static_cast<uint64_t>(*bytes), alignment);
  }
  if (first_missing)
    throw Error(
        fmt::format("its data ends at byte {}, the file at byte {}: the file is cut short, {} of {} tensors "
                    "are not whole",
                    first_end, file.size(), missing, tensors.size()),
        fmt::format("tensor {}", in_quotes(first_missing->name)),
        fmt::format("download it again: whole, it has {} bytes or a few more", end));
}

uint64_t read_alignment(const Gguf& gguf) {
  const std::optional<int64_t> alignment = gguf.integer("general.alignment");
  if (!alignment) return kDefaultAlignment;
  if (*alignment < kMinAlignment || *alignment > kMaxAlignment ||
      !std::has_single_bit(static_cast<uint64_t>(*alignment)))
    throw Error(fmt::format("is {}, a power of two from {} to {} is needed", *alignment, kMinAlignment,
                            kMaxAlignment),
                "key 'general.alignment'", kDamaged);
  return static_cast<uint64_t>(*alignment);
}

// Counts are checked against the least that so many entries can take.
uint64_t read_count(Cursor& cursor, const char* what, uint64_t most, uint64_t least_bytes) {
  const auto count = cursor.number<uint64_t>();
  if (count > most)
    throw Error(fmt::format("says it has {} {}, at most {} are allowed", count, what, most), "", kDamaged);
  if (count > cursor.left() / least_bytes)
    throw Error(fmt::format("says it has {} {}, but ends {} bytes later", count, what, cursor.left()), "",
                kCutShort);
  return count;
}

uint32_t read_version(Cursor& cursor, Bytes file) {
  if (!as_text(file).starts_with("GGUF")) throw not_a("GGUF", file);
  cursor.take(4);
  const auto version = cursor.number<uint32_t>();
  if (version == 2 || version == 3) return version;
  if (version == 1) throw Error("is GGUF version 1, which is no longer read", "", "convert the model again");
  if ((version & 0xffff) == 0)
    throw Error("is a big-endian GGUF file, only little-endian ones are read", "",
                "use the common little-endian file");
  throw Error(fmt::format("is GGUF version {}, versions 2 and 3 are read", version), "",
              "the file is newer than this program, or damaged");
}

}  // namespace

const char* type_name(GgufType type) { return kTypes[static_cast<size_t>(type)].name; }

Gguf Gguf::parse(Bytes bytes, std::string_view name) {
  Gguf gguf;
  try {
    Cursor cursor(bytes);
    gguf.version_ = read_version(cursor, bytes);
    const uint64_t tensors = read_count(cursor, "tensors", kMaxTensors, 8 + 1 + 4 + 8 + 4 + 8);
    const uint64_t entries = read_count(cursor, "metadata entries", kMaxEntries, 8 + 1 + 4 + 1);
    for (uint64_t i = 0; i < entries; ++i) {
      gguf.metadata_.push_back(read_entry(cursor, i, entries));
      if (!gguf.keys_.emplace(gguf.metadata_.back().first, i).second)
        throw Error("appears twice", fmt::format("key {}", in_quotes(gguf.metadata_.back().first)), kDamaged);
    }
    std::vector<uint64_t> offsets(tensors);
    for (uint64_t i = 0; i < tensors; ++i) {
      gguf.tensors_.push_back(read_info(cursor, offsets[i]));
      if (!gguf.names_.emplace(gguf.tensors_.back().name, i).second)
        throw Error("appears twice", fmt::format("tensor {}", in_quotes(gguf.tensors_.back().name)),
                    kDamaged);
    }
    place_tensors(bytes, cursor.at(), read_alignment(gguf), offsets, gguf.tensors_);
  } catch (const Error& e) {
    throw e.within(name);
  }
  gguf.path_ = name;
  return gguf;
}

namespace {

// A number as an integer; nothing where it has a fraction part in its type or leaves 63 bits.
std::optional<int64_t> as_integer(const Number& number) {
  if (const auto* u = std::get_if<uint64_t>(&number); u && *u <= uint64_t{INT64_MAX})
    return static_cast<int64_t>(*u);
  if (const auto* i = std::get_if<int64_t>(&number)) return *i;
  return std::nullopt;
}
double as_double(const Number& number) {
  return std::visit([](auto n) { return static_cast<double>(n); }, number);
}

std::optional<Number> as_number(const GgufValue& value) {
  if (const auto* u = std::get_if<uint64_t>(&value.value)) return *u;
  if (const auto* i = std::get_if<int64_t>(&value.value)) return *i;
  if (const auto* d = std::get_if<double>(&value.value)) return *d;
  return std::nullopt;
}

std::string describe(const GgufValue& value) {
  if (const auto* array = std::get_if<GgufArray>(&value.value))
    return fmt::format("an array of {}", type_name(array->type));
  if (const auto* u = std::get_if<uint64_t>(&value.value))
    return fmt::format("{} ({})", *u, type_name(value.type));
  return type_name(value.type);
}

[[noreturn]] void wrong_type(const fs::path& file, std::string_view key, const GgufValue& value,
                             const char* wanted) {
  const Error error(fmt::format("is {}, {} is needed", describe(value), wanted),
                    fmt::format("key {}", in_quotes(key)));
  throw file.empty() ? error : error.within(file.string());
}

bool is_number(GgufType type) {
  return type != GgufType::boolean && type != GgufType::string && type != GgufType::array;
}

// The elements of an array of numbers through `convert`; false where it is none or one does not convert.
template <typename T, typename Convert>
bool read_numbers(const GgufValue& value, std::vector<T>& numbers, Convert convert) {
  const auto* array = std::get_if<GgufArray>(&value.value);
  if (!array || !is_number(array->type)) return false;
  const uint64_t size = kTypes[static_cast<size_t>(array->type)].bytes;
  numbers.reserve(array->count);
  for (uint64_t i = 0; i < array->count; ++i) {
    const std::optional<T> number = convert(load_number(array->type, array->bytes.data() + i * size));
    if (!number) return false;
    numbers.push_back(*number);
  }
  return true;
}

}  // namespace

const GgufValue* Gguf::find(std::string_view key) const {
  const auto found = keys_.find(key);
  return found == keys_.end() ? nullptr : &metadata_[found->second].second;
}

const TensorView* Gguf::tensor(std::string_view name) const {
  const auto found = names_.find(name);
  return found == names_.end() ? nullptr : &tensors_[found->second];
}

std::optional<int64_t> Gguf::integer(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  if (const std::optional<Number> number = as_number(*value))
    if (const std::optional<int64_t> integer = as_integer(*number)) return integer;
  wrong_type(path_, key, *value, "an integer below 2^63");
}

std::optional<double> Gguf::number(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  if (const std::optional<Number> number = as_number(*value)) return as_double(*number);
  wrong_type(path_, key, *value, "a number");
}

std::optional<bool> Gguf::boolean(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  if (const auto* b = std::get_if<bool>(&value->value)) return *b;
  wrong_type(path_, key, *value, "a bool");
}

std::optional<std::string_view> Gguf::string(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  if (const auto* s = std::get_if<std::string_view>(&value->value)) return *s;
  wrong_type(path_, key, *value, "a string");
}

std::optional<std::vector<int64_t>> Gguf::integers(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  std::vector<int64_t> integers;
  if (!read_numbers(*value, integers, as_integer)) wrong_type(path_, key, *value, "an array of integers");
  return integers;
}

std::optional<std::vector<double>> Gguf::numbers(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  std::vector<double> numbers;
  const auto convert = [](const Number& number) { return std::optional(as_double(number)); };
  if (!read_numbers(*value, numbers, convert)) wrong_type(path_, key, *value, "an array of numbers");
  return numbers;
}

std::optional<std::vector<std::string_view>> Gguf::strings(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  const auto* array = std::get_if<GgufArray>(&value->value);
  if (!array || array->type != GgufType::string) wrong_type(path_, key, *value, "an array of strings");
  std::vector<std::string_view> strings;
  strings.reserve(array->count);
  Cursor run(array->bytes);
  for (uint64_t i = 0; i < array->count; ++i) strings.push_back(run.string(kMaxStringBytes));
  return strings;
}

}  // namespace minke
