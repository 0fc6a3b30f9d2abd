#include "formats/safetensors.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "base/error.h"
#include "base/json.h"

namespace minke {
namespace {

constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr size_t kMaxDims = 8;
constexpr const char* kMetadata = "__metadata__";
constexpr const char* kDamaged = "the file is damaged: download it again";

struct TypeRow {
  const char* name;
  DType dtype;
  Format format = Format::f32;
};
constexpr TypeRow kTypes[] = {
    {"F64", DType::f64},
    {"I64", DType::i64},
    {"F32", DType::weights, Format::f32},
    {"I32", DType::i32},
    {"F16", DType::weights, Format::f16},
    {"BF16", DType::weights, Format::bf16},
    {"I16", DType::i16},
    {"F8_E4M3", DType::weights, Format::f8_e4m3},
    {"I8", DType::i8},
    {"U8", DType::u8},
    {"BOOL", DType::boolean},
};

std::string subject(std::string_view tensor) { return fmt::format("tensor {}", in_quotes(tensor)); }

// A tensor of the header with its place in the data, [begin, end).
struct Entry {
  TensorView tensor;
  int64_t begin = 0, end = 0;
};

int64_t to_offset(const Json& json) {
  const int64_t offset = json.as_int();
  if (offset < 0) throw Error(fmt::format("has a negative offset {}", offset), "", kDamaged);
  return offset;
}

Entry read_entry(const std::string& name, const Json& json) {
  if (json.as_object().size() != 3)
    throw Error("'dtype', 'shape' and 'data_offsets' must be all its keys", "", kDamaged);
  Entry entry;
  TensorView& tensor = entry.tensor;
  tensor.name = name;
  const std::string& dtype = json.at("dtype").as_string();
  const auto* type = std::ranges::find(kTypes, dtype, &TypeRow::name);
  if (type == std::end(kTypes))
    throw Error(fmt::format("is of type {}, which Minke does not read", in_quotes(dtype)), "",
                "convert it to BF16, or use other weights");
  tensor.dtype = type->dtype;
  tensor.format = type->format;

  const JsonArray& shape = json.at("shape").as_array();
  if (shape.size() > kMaxDims)
    throw Error(fmt::format("has {} dimensions, at most {} are allowed", shape.size(), kMaxDims), "",
                kDamaged);
  for (const Json& size : shape) tensor.shape.push_back(size.as_int());

  const JsonArray& offsets = json.at("data_offsets").as_array();
  if (offsets.size() != 2) throw Error("'data_offsets' must be [begin, end]", "", kDamaged);
  entry.begin = to_offset(offsets[0]);
  entry.end = to_offset(offsets[1]);
  const std::optional<int64_t> bytes = byte_size(tensor);
  if (!bytes || entry.end < entry.begin || entry.end - entry.begin != *bytes)
    throw Error(fmt::format("{} does not lie in bytes {} to {}", tensor.describe(), entry.begin, entry.end),
                "", kDamaged);
  return entry;
}

void read_metadata(const Json& json, std::vector<std::pair<std::string, std::string>>& metadata) {
  try {
    for (const auto& [key, value] : json.as_object()) metadata.emplace_back(key, value.as_string());
  } catch (const Error& e) {
    throw e.within(kMetadata);
  }
}

// Gives each tensor its bytes. Sorted by place, they must follow one another without holes or overlaps.
void place_tensors(Bytes data, uint64_t data_begin, std::vector<Entry>& entries) {
  std::ranges::sort(entries, [](const Entry& a, const Entry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  int64_t expected = 0;
  size_t missing = 0;
  const Entry* first_missing = nullptr;
  const auto size = static_cast<int64_t>(data.size());
  for (Entry& entry : entries) {
    if (entry.begin != expected)
      throw Error(
          fmt::format("its data begins at offset {}, the one before ends at {}", entry.begin, expected),
          subject(entry.tensor.name), kDamaged);
    expected = entry.end;
    if (entry.end <= size)
      entry.tensor.bytes =
          data.subspan(static_cast<size_t>(entry.begin), static_cast<size_t>(entry.end - entry.begin));
    else if (missing++ == 0)
      first_missing = &entry;
  }
  if (first_missing)
    throw Error(
        fmt::format("its data ends at byte {}, the file at byte {}: the file is cut short, {} of {} tensors "
                    "are not whole",
                    data_begin + static_cast<uint64_t>(first_missing->end), data_begin + data.size(), missing,
                    entries.size()),
        subject(first_missing->tensor.name),
        fmt::format("download it again: whole, it has {} bytes",
                    data_begin + static_cast<uint64_t>(expected)));
  if (expected != size)
    throw Error(fmt::format("{} bytes after the last tensor belong to none", size - expected), "", kDamaged);
}

// The header as text; what follows it is the data.
std::string_view header_text(Bytes file) {
  uint64_t bytes = 0;
  if (file.size() < sizeof bytes) throw not_a("safetensors", file);
  std::memcpy(&bytes, file.data(), sizeof bytes);
  if (bytes > kMaxHeaderBytes && bytes > file.size()) throw not_a("safetensors", file);
  if (bytes > kMaxHeaderBytes)
    throw Error(fmt::format("its header has {} bytes, at most {} are allowed", bytes, kMaxHeaderBytes));
  if (bytes > file.size() - sizeof bytes)
    throw Error(fmt::format("its header ends at byte {}, the file at byte {}: the file is cut short",
                            bytes + sizeof bytes, file.size()),
                "", "download it again");
  return as_text(file).substr(sizeof bytes, bytes);
}

}  // namespace

Safetensors Safetensors::parse(Bytes bytes, std::string_view name) {
  Safetensors file;
  file.path_ = name;
  try {
    const std::string_view header = header_text(bytes);
    const uint64_t data_begin = sizeof(uint64_t) + header.size();
    const Json json = parse_json(header, {.max_depth = 4, .max_bytes = kMaxHeaderBytes});
    std::vector<Entry> entries;
    for (const auto& [key, value] : json.as_object()) {
      if (key == kMetadata) {
        read_metadata(value, file.metadata_);
        continue;
      }
      try {
        entries.push_back(read_entry(key, value));
      } catch (const Error& e) {
        throw e.within(subject(key));
      }
    }
    place_tensors(bytes.subspan(data_begin), data_begin, entries);
    for (Entry& entry : entries) {
      file.names_.emplace(entry.tensor.name, file.tensors_.size());
      file.tensors_.push_back(std::move(entry.tensor));
    }
  } catch (const Error& e) {
    throw e.within(name);
  }
  return file;
}

Safetensors Safetensors::open(const fs::path& path) {
  MappedFile mapped(path);
  Safetensors file = parse(mapped.bytes(), path.string());
  file.files_.push_back(std::move(mapped));
  return file;
}

const TensorView* Safetensors::tensor(std::string_view name) const {
  const auto found = names_.find(name);
  return found == names_.end() ? nullptr : &tensors_[found->second];
}

namespace {

const TypeRow& row_of(const TensorView& tensor) {
  const auto* type = std::ranges::find_if(kTypes, [&](const TypeRow& row) {
    return row.dtype == tensor.dtype && (row.dtype != DType::weights || row.format == tensor.format);
  });
  if (type == std::end(kTypes))
    throw Error(fmt::format("safetensors has no type for {}", type_name(tensor)), subject(tensor.name),
                "convert it to another type");
  return *type;
}

}  // namespace

std::string safetensors_header(std::span<const TensorView> tensors,
                               std::span<const std::pair<std::string, std::string>> metadata) {
  std::set<std::string_view> names = {kMetadata};
  JsonObject header;
  if (!metadata.empty()) {
    JsonObject strings;
    for (const auto& [key, value] : metadata) strings.emplace_back(key, Json(value));
    header.emplace_back(kMetadata, Json(std::move(strings)));
  }
  uint64_t end = 0;
  for (const TensorView& tensor : tensors) {
    const TypeRow& type = row_of(tensor);
    if (!names.insert(tensor.name).second) throw Error("its name is taken", subject(tensor.name));
    const std::optional<int64_t> bytes = byte_size(tensor);
    MINKE_CHECK(bytes, "{} {}", tensor.name, tensor.describe());
    const uint64_t begin = end;
    end += static_cast<uint64_t>(*bytes);
    JsonObject entry;
    entry.emplace_back("dtype", Json(type.name));
    entry.emplace_back("shape", Json(JsonArray(tensor.shape.begin(), tensor.shape.end())));
    entry.emplace_back("data_offsets", Json(JsonArray{Json(begin), Json(end)}));
    header.emplace_back(tensor.name, Json(std::move(entry)));
  }
  std::string text = to_string(Json(std::move(header)));
  text.append((8 - text.size() % 8) % 8, ' ');
  const uint64_t length = text.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + text;
}

void save_safetensors(const fs::path& path, std::span<const TensorView> tensors,
                      std::span<const std::pair<std::string, std::string>> metadata) {
  // By place in the table, which goes from wide to narrow elements, then in the order given.
  std::vector<TensorView> order(tensors.begin(), tensors.end());
  std::ranges::stable_sort(order, {}, [](const TensorView& t) { return &row_of(t); });
  AtomicFile file(path);
  file.write(as_bytes(safetensors_header(order, metadata)));
  for (const TensorView& tensor : order) {
    MINKE_CHECK(byte_size(tensor) == static_cast<int64_t>(tensor.bytes.size()), "{}", tensor.name);
    file.write(tensor.bytes);
  }
  file.commit();
}

std::vector<size_t> shard_ends(std::span<const TensorView> tensors, int64_t most_bytes) {
  std::vector<size_t> ends;
  int64_t bytes = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const int64_t more = byte_size(tensors[i]).value();
    if (bytes > 0 && bytes + more > most_bytes) {
      ends.push_back(i);
      bytes = 0;
    }
    bytes += more;
  }
  ends.push_back(tensors.size());
  return ends;
}

SafetensorsShards safetensors_shards(std::span<const TensorView> tensors, std::span<const size_t> ends) {
  SafetensorsShards made;
  JsonObject shard_of;
  int64_t bytes = 0;
  for (size_t begin = 0; const size_t end : ends) {
    const std::string name = ends.size() == 1 ? "model.safetensors"
                                              : fmt::format("model-{:05}-of-{:05}.safetensors",
                                                            made.shards.size() + 1, ends.size());
    const std::span<const TensorView> here = tensors.subspan(begin, end - begin);
    for (const TensorView& tensor : here) {
      shard_of.emplace_back(tensor.name, Json(name));
      bytes += byte_size(tensor).value();
    }
    made.shards.push_back({name, safetensors_header(here, {{{"format", "pt"}}}), begin, end});
    begin = end;
  }
  if (ends.size() == 1) return made;
  std::ranges::sort(shard_of, {}, &JsonMember::first);
  Json index;
  index.set("metadata", JsonObject{{"total_size", Json(bytes)}});
  index.set("weight_map", Json(std::move(shard_of)));
  made.index = to_string(index, 2) + "\n";
  return made;
}

}  // namespace minke
