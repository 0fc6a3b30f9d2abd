// Opening GGUF files: one, or the parts of a split one.

#include <algorithm>
#include <type_traits>

#include <fmt/format.h>

#include "base/error.h"
#include "formats/folder.h"
#include "formats/gguf.h"

namespace minke {
namespace {

// A file name model-00002-of-00005.gguf taken apart.
struct SplitName {
  std::string stem;  // "model"
  int number = 1, count = 1;

  fs::path part(const fs::path& any, int i) const {
    return any.parent_path() / fmt::format("{}-{:05}-of-{:05}.gguf", stem, i, count);
  }
};

std::optional<SplitName> parse_split_name(const fs::path& path) {
  const std::string file = path.filename().string();
  constexpr std::string_view kForm = "-00000-of-00000.gguf";
  if (file.size() < kForm.size()) return std::nullopt;
  SplitName split{file.substr(0, file.size() - kForm.size()), 0, 0};
  for (size_t i = 0; i < kForm.size(); ++i) {
    const char c = file[split.stem.size() + i];
    if (kForm[i] != '0' && c != kForm[i]) return std::nullopt;
    if (kForm[i] != '0') continue;
    if (c < '0' || c > '9') return std::nullopt;
    int& number = i < kForm.size() / 2 ? split.number : split.count;
    number = 10 * number + (c - '0');
  }
  if (split.number < 1 || split.number > split.count) return std::nullopt;
  return split;
}

// Whether two values lie the same way in their files.
bool same(const GgufValue& a, const GgufValue& b) {
  if (a.type != b.type || a.value.index() != b.value.index()) return false;
  const auto *x = std::get_if<GgufArray>(&a.value), *y = std::get_if<GgufArray>(&b.value);
  if (x) return x->type == y->type && x->count == y->count && std::ranges::equal(x->bytes, y->bytes);
  return std::visit(
      [&](const auto& value) {
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<T, GgufArray>)
          return false;
        else
          return value == std::get<T>(b.value);
      },
      a.value);
}

// Checks that a part says of itself what its name says.
void check_part(const Gguf& part, const SplitName& split, int number) {
  const auto check = [&](const char* key, int64_t expected) {
    const std::optional<int64_t> found = part.integer(key);
    if (!found && split.count == 1) return;  // a whole file that only looks like a part
    const std::string subject = fmt::format("{}: key '{}'", part.path().string(), key);
    if (!found)
      throw Error("is missing in a part of a split file", subject, "rename the file if it is whole");
    if (*found != expected)
      throw Error(fmt::format("is {}, the file's name says {}", *found, expected), subject,
                  "give the parts back the names they were published under");
  };
  check("split.no", number - 1);
  check("split.count", split.count);
}

// Checks that a further part belongs to the first one.
void check_same_model(const Gguf& first, const Gguf& part) {
  constexpr const char* kHelp = "all parts must be of one model";
  if (part.version() != first.version())
    throw Error(
        fmt::format("is GGUF version {}, the first part is version {}", part.version(), first.version()),
        part.path().string(), kHelp);
  for (const auto& [key, value] : part.metadata()) {
    const GgufValue* other = first.find(key);
    if (other && key != "split.no" && !same(*other, value))
      throw Error("differs from the first part's",
                  fmt::format("{}: key {}", part.path().string(), in_quotes(key)), kHelp);
  }
}

}  // namespace

void Gguf::append(Gguf part) {
  for (TensorView& tensor : part.tensors_) {
    if (!names_.emplace(tensor.name, tensors_.size()).second)
      throw Error("is in an earlier part too",
                  fmt::format("{}: tensor {}", part.path_.string(), in_quotes(tensor.name)),
                  "all parts must be of one model");
    tensors_.push_back(std::move(tensor));
  }
}

Gguf Gguf::open(const fs::path& path) {
  const std::optional<SplitName> split = parse_split_name(path);
  const int count = split ? split->count : 1;
  Gguf gguf;
  std::vector<MappedFile> files;
  for (int i = 1; i <= count; ++i) {
    const fs::path file = split ? split->part(path, i) : path;
    if (split && !is_file(file))
      throw Error(fmt::format("part {} of {} is missing", i, count), file.string(),
                  "all parts must lie in one folder");
    files.emplace_back(file);
    Gguf part = parse(files.back().bytes(), file.string());
    if (split) check_part(part, *split, i);
    if (i == 1) {
      gguf = std::move(part);
    } else {
      check_same_model(gguf, part);
      gguf.append(std::move(part));
    }
  }
  gguf.files_ = std::move(files);
  gguf.path_ = path;
  gguf.check_whole(split.has_value());
  return gguf;
}

// All tensors that the parts together should have are there, and a part is not taken for the whole.
void Gguf::check_whole(bool split) const {
  const int64_t count = integer("split.count").value_or(1);
  if (!split && count > 1)
    throw Error(fmt::format("is part {} of {} of a split file, but is not named so",
                            integer("split.no").value_or(0) + 1, count),
                path_.string(), fmt::format("name the parts MODEL-0000K-of-{:05}.gguf", count));
  const std::optional<int64_t> tensors = integer("split.tensors.count");
  if (tensors && *tensors != static_cast<int64_t>(tensors_.size()))
    throw Error(fmt::format("the parts hold {} tensors, key 'split.tensors.count' says {}", tensors_.size(),
                            *tensors),
                path_.string(), "all parts must be of one model");
}

bool is_split_name(const fs::path& path) { return parse_split_name(path).has_value(); }

}  // namespace minke
