#include "train/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <system_error>

#include <fmt/format.h>

#include "base/error.h"
#include "base/hash128.h"
#include "formats/folder.h"
#include "formats/safetensors.h"

namespace minke {
namespace {

constexpr int kVersion = 2;
constexpr std::string_view kPrefix = "step-", kSuffix = ".safetensors";
constexpr const char* kParts[] = {"weights", "first_moments", "second_moments"};

Bytes bytes_of(std::span<const float> values) {
  return {reinterpret_cast<const std::byte*>(values.data()), values.size_bytes()};
}

std::vector<fs::path> all_checkpoints(const fs::path& folder) {
  std::error_code none;
  if (!fs::is_directory(folder, none)) return {};
  std::vector<fs::path> files;
  for (const std::string& name : file_names(folder))  // sorted: numbers have leading zeroes
    if (name.starts_with(kPrefix) && name.ends_with(kSuffix)) files.push_back(folder / name);
  return files;
}

// The state of an open checkpoint, with what says whether it may be used.
Json state_of(const Safetensors& file, const std::string& identity) {
  const std::string where = file.path().string();
  for (const auto& [key, value] : file.metadata()) {
    if (key != "minke.training") continue;
    Json state;
    try {
      state = parse_json(value);
      if (state.at("version").as_int() != kVersion)
        throw Error(
            fmt::format("is of version {}, this program writes {}", state.at("version").as_int(), kVersion));
      if (state.at("run").as_string() != hex(hash128(identity)))
        throw Error("is of another run: its model, data, stages or seed were not these", {},
                    "train to another output folder, or give the config it was made with");
    } catch (const Error& e) {
      throw e.within(where);
    }
    return state;
  }
  throw Error("is no checkpoint of a training run", where);
}

}  // namespace

Json to_json(const RunPosition& p) {
  Json json = JsonObject{{"stage", p.stage}, {"step", p.step}, {"seen", p.seen}, {"tokens", p.tokens}};
  json.set("mean_loss", p.mean_loss);
  json.set("judged", p.judged);
  json.set("seconds", p.seconds);
  json.set("skipped", Json(JsonArray(p.skipped.begin(), p.skipped.end())));
  return json;
}

RunPosition position_from_json(const Json& json) {
  RunPosition p;
  p.stage = static_cast<int>(json.at("stage").as_int());
  p.step = json.at("step").as_int();
  p.seen = json.at("seen").as_int();
  p.tokens = json.at("tokens").as_int();
  p.mean_loss = json.at("mean_loss").as_double();
  p.judged = json.at("judged").as_int();
  p.seconds = json.at("seconds").as_double();
  for (const Json& step : json.at("skipped").as_array()) p.skipped.insert(step.as_int());
  if (p.stage < 0 || p.step < 0 || p.seen < 0) throw Error("a position below 0");
  return p;
}

void write_checkpoint(const fs::path& folder, int64_t number, const std::string& identity,
                      const RunPosition& position, const RunNumbers& numbers, int keep) {
  std::error_code failed;
  fs::create_directories(folder, failed);
  if (failed) throw Error(fmt::format("cannot be made: {}", failed.message()), folder.string());
  const std::span<float> parts[] = {numbers.weights, numbers.first, numbers.second};
  std::vector<TensorView> tensors;
  Json state = JsonObject{{"version", kVersion}, {"run", hex(hash128(identity))}};
  state.set("position", to_json(position));
  for (size_t i = 0; i < 3; ++i) {
    const Bytes bytes = bytes_of(parts[i]);
    tensors.push_back({.name = kParts[i], .shape = {static_cast<int64_t>(parts[i].size())}, .bytes = bytes});
    state.set(kParts[i], hex(hash128(bytes)));
  }
  const std::pair<std::string, std::string> metadata = {"minke.training", to_string(state)};
  save_safetensors(folder / fmt::format("{}{:09}{}", kPrefix, number, kSuffix), tensors, {&metadata, 1});
  std::vector<fs::path> files = all_checkpoints(folder);
  while (static_cast<int>(files.size()) > keep) {
    fs::remove(files.front(), failed);
    files.erase(files.begin());
  }
}

std::optional<fs::path> newest_checkpoint(const fs::path& folder) {
  const std::vector<fs::path> files = all_checkpoints(folder);
  if (files.empty()) return std::nullopt;
  return files.back();
}

RunPosition read_position(const fs::path& path, const std::string& identity) {
  const Safetensors file = Safetensors::open(path);
  const Json state = state_of(file, identity);
  try {
    return position_from_json(state.at("position"));
  } catch (const Error& e) {
    throw e.within(path.string());
  }
}

RunPosition read_checkpoint(const fs::path& path, const std::string& identity, const RunNumbers& numbers) {
  const Safetensors file = Safetensors::open(path);
  const Json state = state_of(file, identity);
  const std::span<float> parts[] = {numbers.weights, numbers.first, numbers.second};
  try {
    for (size_t i = 0; i < 3; ++i) {
      const TensorView* t = file.tensor(kParts[i]);
      if (!t || t->dtype != DType::weights || t->format != Format::f32 ||
          t->bytes.size() != parts[i].size_bytes())
        throw Error(fmt::format("'{}' is missing, or of another size", kParts[i]), {},
                    "an older checkpoint may lie beside it");
      if (hex(hash128(t->bytes)) != state.at(kParts[i]).as_string())
        throw Error(fmt::format("'{}' is damaged", kParts[i]), {},
                    "take it away: an older one may lie beside it");
    }
    for (size_t i = 0; i < 3; ++i)
      std::memcpy(parts[i].data(), file.tensor(kParts[i])->bytes.data(), parts[i].size_bytes());
    return position_from_json(state.at("position"));
  } catch (const Error& e) {
    throw e.within(path.string());
  }
}

}  // namespace minke
