#include "api/embeddings.h"

#include <cstring>

#include "api/openai.h"
#include "base/error.h"

namespace minke {
namespace {

constexpr size_t kMostInputs = 2048;  // OpenAI's

constexpr Field kFields[] = {
    {"input"},
    {"model"},
    {"encoding_format"},
    {"dimensions", Treatment::honoured, {}, "must be the model's own"},
    {"cache_salt"},
    {"user", Treatment::harmless},
    {"priority", Treatment::harmless},
    {"request_id", Treatment::harmless},
    {"truncate_prompt_tokens", Treatment::refused, {}, "nothing is left out of a text"},
    {"add_special_tokens", Treatment::refused, "true"},
};

std::string base64(std::string_view bytes) {
  static constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t three = 0;
    for (size_t j = i; j < i + 3; ++j)
      three = three << 8 | (j < bytes.size() ? static_cast<unsigned char>(bytes[j]) : 0u);
    for (size_t digit = 0; digit < 4; ++digit)
      out += i + digit > bytes.size() ? '=' : kDigits[three >> (18 - 6 * digit) & 63];
  }
  return out;
}

}  // namespace

std::span<const Field> embeddings_fields() { return kFields; }

EmbeddingExchange read_embeddings(const Json& body, const ModelCard& card) {
  check_fields(body, kFields);
  const FieldReader fields(body);
  EmbeddingExchange exchange;
  exchange.model = fields.text("model").value_or("");
  exchange.request.inputs = read_prompts(fields.require("input"), "input", kMostInputs);
  for (size_t i = 0; i < exchange.request.inputs.size(); ++i) {
    const PlainPrompt& one = exchange.request.inputs[i];
    if (one.text.empty() && one.tokens.empty()) throw Error("a text is empty", fmt::format("input[{}]", i));
  }
  exchange.request.cache_salt = fields.text("cache_salt").value_or("");
  const std::string format = fields.text("encoding_format").value_or("float");
  if (format != "float" && format != "base64")
    throw Error(fmt::format("unknown format '{}'", format.substr(0, 100)), "encoding_format",
                "'float' or 'base64'");
  exchange.base64 = format == "base64";
  if (const auto dim = fields.integer("dimensions", 1, INT32_MAX); dim && *dim != card.dim)
    throw Error(fmt::format("{}, and this model's vectors have {}", *dim, card.dim), "dimensions");
  return exchange;
}

Json embeddings_json(const EmbeddingExchange& exchange, const Embeddings& made, const ModelCard& card) {
  JsonArray data;
  for (const std::vector<float>& vector : made.vectors) {
    Json embedding;
    if (exchange.base64) {
      embedding = base64({reinterpret_cast<const char*>(vector.data()), vector.size() * sizeof(float)});
    } else {
      JsonArray numbers;
      numbers.reserve(vector.size());
      for (const float x : vector) numbers.emplace_back(double{x});
      embedding = std::move(numbers);
    }
    data.push_back(JsonObject{{"object", "embedding"},
                              {"index", static_cast<int64_t>(data.size())},
                              {"embedding", std::move(embedding)}});
  }
  return JsonObject{
      {"object", "list"},
      {"data", std::move(data)},
      {"model", card.name},
      {"usage", JsonObject{{"prompt_tokens", made.prompt_tokens}, {"total_tokens", made.prompt_tokens}}}};
}

}  // namespace minke
