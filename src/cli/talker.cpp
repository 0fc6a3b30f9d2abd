#include "cli/talker.h"

#include <fmt/format.h>

#include "base/error.h"

namespace minke {
namespace {

void print(std::string_view text) {
  fmt::print("{}", text);
  std::fflush(stdout);
}

Json message_of(const std::string& reasoning, const std::string& content) {
  Json message = JsonObject{{"role", "assistant"}, {"content", content}};
  if (!reasoning.empty()) message.set("reasoning_content", reasoning);
  return message;
}

class LocalTalker final : public Talker {
 public:
  explicit LocalTalker(const EngineFlags& flags)
      : loaded_(flags),
        format_(chat_format(loaded_, flags)),
        advised_(advised_sampling(loaded_.model, chat_template_of(loaded_.model, loaded_.tokenizer))),
        engine_(loaded_.model, loaded_.tokenizer, flags.options(loaded_.model)) {}

  std::string title() const override {
    const std::string& own = loaded_.model.config.name;
    return fmt::format("{} · {} tokens of context",
                       own.empty() ? loaded_.model.path.filename().string() : own, engine_.context());
  }

  Spoken answer(const ChatPrompt& prompt, const SamplingFlags& sampling,
                const std::function<bool()>& stop) override {
    const Pieces pieces = format_.render(prompt);
    const bool reasoning = ends_in_reasoning(pieces);
    Request request = sampling.request(advised_);
    request.prompt = loaded_.tokenizer.encode(pieces);
    std::string text;
    if (reasoning) print("<think>\n");
    const Finish finish = complete(
        engine_, std::move(request),
        [&](std::string_view piece) {
          text += piece;
          print(piece);
        },
        stop);
    print("\n");
    if (finish.reason == FinishReason::failed) throw Error(finish.error);
    std::string thoughts, content;
    split_reasoning(text, reasoning, thoughts, content);
    return {message_of(thoughts, content), timing_line(finish), finish.reason == FinishReason::context};
  }

 private:
  Loaded loaded_;
  ChatFormat format_;
  Sampling advised_;
  Engine engine_;
};

class ServerTalker final : public Talker {
 public:
  explicit ServerTalker(const ServerFlags& flags)
      : client_(flags.client()), model_(flags.chosen_model(client_)) {}

  std::string title() const override { return fmt::format("{} at {}", model_, client_.url()); }

  Spoken answer(const ChatPrompt& prompt, const SamplingFlags& sampling,
                const std::function<bool()>& stop) override {
    ServerPrinter printer;
    const ServerAnswer answer = client_.answer(chat_request(model_, sampling, prompt), printer.show(stop));
    printer.end(answer);
    Json message = message_of(answer.reasoning, answer.content);
    if (!answer.calls.empty()) message.set("tool_calls", answer.calls);
    return {std::move(message), timing_line(answer), false};
  }

 private:
  ServerClient client_;
  std::string model_;
};

}  // namespace

std::unique_ptr<Talker> local_talker(const EngineFlags& flags) {
  return std::make_unique<LocalTalker>(flags);
}
std::unique_ptr<Talker> server_talker(const ServerFlags& flags) {
  return std::make_unique<ServerTalker>(flags);
}

ServerClient::Show ServerPrinter::show(std::function<bool()> stop) {
  ServerClient::Show show;
  show.reasoning = [this](std::string_view text) {
    if (at_ == At::start) print("<think>\n");
    at_ = At::reasoning;
    print(text);
  };
  show.content = [this](std::string_view text) {
    if (at_ == At::reasoning) print("\n</think>\n\n");
    at_ = At::content;
    print(text);
  };
  show.stop = std::move(stop);
  return show;
}

void ServerPrinter::end(const ServerAnswer& answer) {
  for (const Json& call : answer.calls) {
    const Json& function = call.at("function");
    if (at_ != At::start) print("\n");
    at_ = At::content;
    print(
        fmt::format("[calls {} {}]", function.at("name").as_string(), function.at("arguments").as_string()));
  }
  print("\n");
}

}  // namespace minke
