// OpenAI's older completions: https://platform.openai.com/docs/api-reference/completions

#include <algorithm>

#include "api/openai.h"
#include "base/error.h"
#include "text/utf8.h"

namespace minke {
namespace {

constexpr auto kHarmless = Treatment::harmless;
constexpr auto kRefused = Treatment::refused;
constexpr std::string_view kNotEnforced = "constraints on the answer cannot be enforced";
constexpr int kDefaultTokens = 16;  // OpenAI's
constexpr size_t kMostPrompts = 64;

constexpr Field kFields[] = {
    {"prompt"},
    {"suffix"},
    {"model"},
    {"echo"},
    {"stream"},
    {"stream_options"},
    {"n"},
    {"seed"},
    {"temperature"},
    {"top_p"},
    {"top_k"},
    {"min_p"},
    {"typical_p"},
    {"repetition_penalty"},
    {"presence_penalty"},
    {"frequency_penalty"},
    {"logit_bias"},
    {"logprobs"},
    {"stop"},
    {"stop_token_ids"},
    {"ignore_eos"},
    {"cache_salt"},
    {"max_tokens"},
    {"user", kHarmless},
    {"metadata", kHarmless},
    {"cache_prompt", kHarmless},
    {"priority", kHarmless},
    {"request_id", kHarmless},
    {"best_of", kRefused, "1"},
    {"response_format", kRefused, R"({"type":"text"})", kNotEnforced},
    {"structured_outputs", kRefused, {}, kNotEnforced},
    {"guided_json", kRefused, {}, kNotEnforced},
    {"guided_regex", kRefused, {}, kNotEnforced},
    {"guided_choice", kRefused, {}, kNotEnforced},
    {"guided_grammar", kRefused, {}, kNotEnforced},
    {"json_schema", kRefused, {}, kNotEnforced},
    {"grammar", kRefused, {}, kNotEnforced},
    {"use_beam_search", kRefused, "false"},
    {"min_tokens", kRefused, "0"},
    {"length_penalty", kRefused, "1"},
    {"prompt_logprobs", kRefused},
    {"add_special_tokens", kRefused, "true"},
};

constexpr Field kStreamOptions[] = {{"include_usage"}, {"continuous_usage_stats", kRefused, "false"}};

// `offset`: characters of the text before the first of these tokens; moved on.
Json logprobs_json(const std::vector<TokenLogprob>& all, int64_t& offset) {
  const auto finite = [](float logprob) { return double{std::max(logprob, -9999.0f)}; };
  const auto characters = [](const std::string& bytes) {
    return std::ranges::count_if(bytes, [](char c) { return (c & 0xC0) != 0x80; });
  };
  JsonArray tokens, own, top, offsets;
  for (const TokenLogprob& one : all) {
    tokens.push_back(mend_utf8(one.bytes));
    own.push_back(finite(one.logprob));
    Json others = JsonObject{};
    for (const auto& [bytes, logprob] : one.top) others.set(mend_utf8(bytes), finite(logprob));
    top.push_back(std::move(others));
    offsets.emplace_back(offset);
    offset += characters(one.bytes);
  }
  return JsonObject{{"tokens", std::move(tokens)},
                    {"token_logprobs", std::move(own)},
                    {"top_logprobs", std::move(top)},
                    {"text_offset", std::move(offsets)}};
}

std::vector<Token> read_tokens(const JsonArray& list, const std::string& path) {
  std::vector<Token> tokens;
  for (const Json& id : list) {
    if (!id.is_int() || id.as_int() < 0 || id.as_int() > INT32_MAX)
      throw Error("is not the id of a token", fmt::format("{}[{}]", path, tokens.size()));
    tokens.push_back(static_cast<Token>(id.as_int()));
  }
  if (tokens.empty()) throw Error("the prompt is empty", path);
  return tokens;
}

class TextWriter final : public AnswerWriter {
 public:
  struct Form {
    bool logprobs = false, usage = false;
    std::vector<std::string> echoes;  // of each choice
  };
  TextWriter(std::string model, Form form)
      : model_(std::move(model)),
        form_(std::move(form)),
        choices_(form_.echoes.size()),
        offsets_(choices_.size()) {}

  std::string begin() override {
    std::string out;
    for (size_t i = 0; i < choices_.size(); ++i)
      if (!form_.echoes[i].empty()) out += chunk(static_cast<int>(i), form_.echoes[i], {}, {});
    return out;
  }

  std::string event(const CompletionEvent& event) override {
    switch (event.kind) {
      case CompletionEvent::Kind::start: return {};
      case CompletionEvent::Kind::part: return part(event);
      case CompletionEvent::Kind::end:
        choices_[static_cast<size_t>(event.choice)].end(event);
        return chunk(event.choice, "", reason(event.reason), {});
      case CompletionEvent::Kind::done: usage_ = event.usage; return done();
      case CompletionEvent::Kind::failed: return sse(to_string(openai_fault(event.fault)));
    }
    return {};
  }

  Json whole() const override {
    JsonArray list;
    for (const CollectedChoice& choice : choices_) {
      int64_t offset = 0;
      list.push_back(entry(static_cast<int>(list.size()), form_.echoes[list.size()] + choice.content,
                           reason(choice.reason),
                           form_.logprobs ? logprobs_json(choice.logprobs, offset) : Json()));
    }
    return frame(std::move(list), openai_usage(usage_));
  }

 private:
  static const char* reason(EndReason reason) { return reason == EndReason::stop ? "stop" : "length"; }

  static Json entry(int choice, const std::string& text, Json reason, Json logprobs) {
    return JsonObject{{"index", choice},
                      {"text", text},
                      {"logprobs", std::move(logprobs)},
                      {"finish_reason", std::move(reason)}};
  }

  Json frame(JsonArray choices, Json usage) const {
    Json json = JsonObject{{"id", id_},
                           {"object", "text_completion"},
                           {"created", created_},
                           {"model", model_},
                           {"choices", std::move(choices)}};
    if (!usage.is_null() || form_.usage) json.set("usage", std::move(usage));
    return json;
  }

  std::string chunk(int choice, const std::string& text, Json reason, Json logprobs) const {
    return sse(to_string(frame({entry(choice, text, std::move(reason), std::move(logprobs))}, {})));
  }

  std::string part(const CompletionEvent& event) {
    const auto at = static_cast<size_t>(event.choice);
    CollectedChoice& choice = choices_[at];
    std::string text;
    for (const AnswerEvent& p : event.parts) {
      choice.add(p, "call_");
      text += p.text;
    }
    choice.logprobs.insert(choice.logprobs.end(), event.logprobs.begin(), event.logprobs.end());
    return chunk(event.choice, text, {},
                 form_.logprobs ? logprobs_json(event.logprobs, offsets_[at]) : Json());
  }

  std::string done() const {
    return (form_.usage ? sse(to_string(frame({}, openai_usage(usage_)))) : std::string()) + sse("[DONE]");
  }

  const std::string id_ = new_id("cmpl-"), model_;
  const int64_t created_ = unix_time();
  const Form form_;
  std::vector<CollectedChoice> choices_;
  std::vector<int64_t> offsets_;
  Usage usage_;
};

}  // namespace

std::span<const Field> text_fields() { return kFields; }

std::vector<PlainPrompt> read_prompts(const Json& json, const std::string& field, size_t most) {
  if (json.is_string()) return {{json.as_string(), {}, {}}};
  if (!json.is_array()) wrong_field_type(field, "a string or an array", json);
  const JsonArray& list = json.as_array();
  if (list.empty()) throw Error("the prompt is empty", field);
  if (list.front().is_number()) return {{{}, read_tokens(list, field), {}}};
  if (list.size() > most)
    throw Error(fmt::format("{} texts, and at most {} are taken", list.size(), most), field);
  std::vector<PlainPrompt> prompts;
  for (const Json& entry : list) {
    const std::string path = fmt::format("{}[{}]", field, prompts.size());
    if (entry.is_string())
      prompts.push_back({entry.as_string(), {}, {}});
    else if (entry.is_array())
      prompts.push_back({{}, read_tokens(entry.as_array(), path), {}});
    else
      wrong_field_type(path, "a string or an array of tokens", entry);
  }
  return prompts;
}

Exchange read_text(const Json& body, const ModelCard& card) {
  check_fields(body, kFields);
  const FieldReader fields(body);
  Exchange exchange;
  CompletionRequest& request = exchange.request;
  TextWriter::Form form;
  exchange.model = fields.text("model").value_or("");
  exchange.stream = fields.flag("stream").value_or(false);
  if (const Json* options = fields.object("stream_options")) {
    check_fields(*options, kStreamOptions, "stream_options");
    form.usage = FieldReader(*options, "stream_options").flag("include_usage").value_or(false);
  }
  request.prompts = read_prompts(fields.require("prompt"), "prompt", kMostPrompts);
  read_sampling(fields, request);
  if (request.choices() > kMostChoices)
    throw Error(fmt::format("{} choices in all, and at most {} are given", request.choices(), kMostChoices),
                "n");
  request.max_tokens = static_cast<int>(fields.integer("max_tokens", 1, INT32_MAX).value_or(kDefaultTokens));
  if (const auto suffix = fields.text("suffix"); suffix && !suffix->empty())
    for (PlainPrompt& prompt : request.prompts) {
      if (!prompt.tokens.empty()) throw Error("a prompt of tokens cannot have one", "suffix");
      prompt.suffix = suffix;
    }
  const bool echo = fields.flag("echo").value_or(false);
  if (const auto logprobs = fields.integer("logprobs", 0, kMostLogprobs)) {
    if (echo)
      throw Error("log-probabilities of the prompt are not supported", "echo", "without logprobs it is");
    form.logprobs = true;
    request.sampling.logprobs = static_cast<int>(*logprobs);
  }
  for (int i = 0; i < request.choices(); ++i) {
    const PlainPrompt& prompt = request.prompts[static_cast<size_t>(i / request.n)];
    if (echo && !prompt.tokens.empty()) throw Error("a prompt of tokens cannot be echoed", "echo");
    form.echoes.push_back(echo ? prompt.text : std::string());
  }
  exchange.writer = std::make_unique<TextWriter>(card.name, std::move(form));
  return exchange;
}

}  // namespace minke
