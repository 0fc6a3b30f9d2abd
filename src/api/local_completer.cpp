#include "api/local_completer.h"

#include <algorithm>
#include <ctime>
#include <map>
#include <mutex>
#include <random>

#include "api/embedding.h"
#include "api/running.h"
#include "text/answer_format.h"
#include "text/call_mask.h"

namespace minke {
namespace {

// The conversation as the template gets it: without tools where none may be called.
ChatPrompt effective(const CompletionRequest& request, const Json& kwargs) {
  ChatPrompt chat = *request.chat;
  if (request.tool_choice.kind == ToolChoice::Kind::none) chat.tools = Json();
  Json all = kwargs;
  for (const auto& [key, value] : chat.kwargs.as_object()) all.set(key, value);
  chat.kwargs = std::move(all);
  return chat;
}

std::vector<Token> fill_in(const Tokenizer& tokenizer, const PlainPrompt& prompt) {
  const auto fim = tokenizer.fim();
  if (!fim) throw Error("this model cannot fill gaps: its vocabulary has no tokens for it", "suffix");
  std::vector<Token> tokens{fim->prefix};
  const auto add = [&](std::string_view text) {
    const std::vector<Token> more = tokenizer.encode(text, Added::none);
    tokens.insert(tokens.end(), more.begin(), more.end());
  };
  add(prompt.text);
  tokens.push_back(fim->suffix);
  add(*prompt.suffix);
  tokens.push_back(fim->middle);
  return tokens;
}

// Those of the tools of which one has to be called. Throws Error where it was not offered.
Json required_tools(const ChatPrompt& chat, const ToolChoice& choice) {
  if (chat.tools.is_null()) throw Error("there are no tools to choose from", "tool_choice");
  if (choice.kind == ToolChoice::Kind::required) return chat.tools;
  for (const Json& tool : chat.tools.as_array())
    if (tool.at("function").at("name") == Json(choice.name)) return JsonArray{tool};
  throw Error(fmt::format("there is no tool '{}'", choice.name.substr(0, 100)), "tool_choice");
}

std::tm today() {
  const std::time_t now = std::time(nullptr);
  std::tm tm{};
  ::localtime_r(&now, &tm);
  return tm;
}

}  // namespace

struct LocalCompleter::Impl {
  struct Prepared {
    std::vector<Token> tokens;
    AnswerOptions answer;
    bool plain = false;
    KeptAnswer kept;                             // its prompt, for the answer to come
    std::shared_ptr<const CallGrammar> grammar;  // where a call is required
  };

  Impl(Engine& e, const Tokenizer& t, ChatFormat c, LocalCompleterOptions o)
      : engine(e),
        tokenizer(t),
        chat(std::move(c)),
        options(std::move(o)),
        answers(AnswerFormat::of(
            chat, [&t](std::string_view text) { return t.has_added(text); }, options.card.name)),
        table(std::make_shared<TokenTable>(t)),
        written(tokens_of(answers.markers())),
        memory(options.keeper, tokenizer, answers, written, engine.end_tokens()) {
    ModelCard& card = options.card;
    card.context = card.context > 0 ? std::min(card.context, engine.context()) : engine.context();
  }

  std::vector<Token> tokens_of(const std::vector<std::string>& markers) const {
    std::vector<Token> all;
    for (const std::string& marker : markers) all.push_back(*tokenizer.find(marker));
    return all;
  }

  // Text that cannot fit is not tokenised to find out: that of some megabytes takes seconds.
  void check_bytes(size_t bytes, const std::string& field) const {
    const auto most =
        static_cast<size_t>(options.card.context) * static_cast<size_t>(2 * table->all.longest());
    if (bytes > most)
      throw Error(fmt::format("{} bytes, and the context holds {} tokens with the answer", bytes,
                              options.card.context),
                  field, "a shorter prompt, or a server with a larger --ctx");
  }

  // Before a request of several prompts has begun with the first of them.
  void check_tokens(std::span<const Token> tokens, const std::string& field) const {
    for (const Token token : tokens)
      if (token < 0 || token >= engine.vocab())
        throw Error(fmt::format("token {} is outside the vocabulary", token), field);
  }

  Prepared prepare_chat(const CompletionRequest& request) const {
    check_messages(request.chat->messages);
    check_tools(request.chat->tools);
    const ChatPrompt prompt = effective(request, options.kwargs);
    Prepared made;
    made.answer.tools = tool_names(prompt.tools);
    if (!made.answer.tools.empty() && answers.calls == CallSyntax::none)
      throw Error("this model's chat template knows no tools", "tools");
    ChatRenderOptions render;
    render.now = today();
    const Pieces pieces = chat.render(prompt, render);
    made.answer.in_reasoning = ends_in_reasoning(pieces);
    const MarkedText text(pieces);
    check_bytes(text.text.size(), "messages");
    made.tokens = memory.encode(text, prompt.messages.as_array(), made.answer.tools, request.cache_salt);
    made.kept = {text.text.size(), text.key(text.text.size()) + prompt_tokens_key(made.tokens), {}};
    const ToolChoice& choice = request.tool_choice;
    if (choice.kind == ToolChoice::Kind::required || choice.kind == ToolChoice::Kind::named) {
      if (request.ignore_end) throw Error("an answer that has to be a call ends with it", "ignore_eos");
      const bool several = request.parallel_calls && choice.kind == ToolChoice::Kind::required;
      const CallRules rules{required_tools(prompt, choice), several, made.answer.in_reasoning};
      made.grammar = std::make_shared<CallGrammar>(answers, rules);
    }
    return made;
  }

  Prepared prepare_plain(const PlainPrompt& prompt, const std::string& field = "prompt") const {
    Prepared made;
    made.plain = true;
    check_bytes(prompt.text.size() + (prompt.suffix ? prompt.suffix->size() : 0), field);
    if (prompt.suffix) {
      made.tokens = fill_in(tokenizer, prompt);
    } else if (!prompt.tokens.empty()) {
      check_tokens(prompt.tokens, field);
      made.tokens = prompt.tokens;
      return made;
    } else {
      made.tokens = tokenizer.encode(prompt.text);
    }
    const auto bos = tokenizer.bos();
    if (tokenizer.add_bos() && bos && (made.tokens.empty() || made.tokens.front() != *bos))
      made.tokens.insert(made.tokens.begin(), *bos);
    if (made.tokens.empty()) throw Error("the prompt is empty", "prompt");
    return made;
  }

  std::vector<Prepared> prepare(const CompletionRequest& request) const {
    std::vector<Prepared> all;
    if (request.chat)
      all.push_back(prepare_chat(request));
    else
      for (const PlainPrompt& prompt : request.prompts) all.push_back(prepare_plain(prompt));
    const char* field = request.chat ? "messages" : "prompt";
    for (const Prepared& made : all) check_length(made, field);
    return all;
  }

  void check_length(const Prepared& made, const std::string& field) const {
    if (made.tokens.size() >= static_cast<size_t>(options.card.context))
      throw Error(fmt::format("{} tokens, and the context holds {} with the answer", made.tokens.size(),
                              options.card.context),
                  field, "a shorter prompt, or a server with a larger --ctx");
  }

  Request engine_request(const CompletionRequest& asked, const Prepared& made, uint64_t seed) const {
    Request r;
    r.prompt = made.tokens;
    r.sampling = asked.sampling.over(options.advised);
    r.sampling.seed = seed;
    const int room = options.card.context - static_cast<int>(made.tokens.size());
    r.max_tokens = asked.max_tokens < 0 ? room : std::min(asked.max_tokens, room);
    r.stop = asked.stop;
    r.stop_tokens = asked.stop_tokens;
    r.ignore_end = asked.ignore_end;
    r.cache_salt = asked.cache_salt;
    if (!made.plain) r.written = written;
    if (made.grammar) {
      const int least = made.grammar->least(made.grammar->start()) + 1;
      if (r.max_tokens < least)
        throw Error(fmt::format("{} tokens may not be enough for a call, {} are", r.max_tokens, least),
                    "max_tokens");
      r.mask = std::make_shared<CallMask>(tokenizer, table, made.grammar, engine.end_tokens());
    }
    if (const auto fim = tokenizer.fim(); fim && !asked.chat)
      for (const Token t : {fim->prefix, fim->suffix, fim->middle}) r.stop_tokens.push_back(t);
    return r;
  }

  uint64_t submit(const CompletionRequest& request, OnEvent on_event) {
    const std::vector<Prepared> prompts = prepare(request);
    const uint64_t seed = request.sampling.seed.value_or(fresh_seed());
    uint64_t id;
    {
      const std::lock_guard lock(mutex);
      id = ++last_id;
    }
    auto running = std::make_shared<Running>(engine, tokenizer, request, std::move(on_event));
    {
      const std::lock_guard lock(mutex);
      under_way[id] = running;
    }
    running->when_over = [this, id] {
      const std::lock_guard lock(mutex);
      under_way.erase(id);
    };
    try {
      for (int choice = 0; choice < request.choices(); ++choice) {
        const Prepared& made = prompts[static_cast<size_t>(choice / request.n)];
        Running::Reading reading{made.plain ? AnswerFormat{} : answers, made.answer, made.plain,
                                 choice % request.n == 0};
        if (options.keeper && !made.plain && !request.ignore_end)
          reading.keep = [this, kept = made.kept, salt = request.cache_salt](const ParsedAnswer& answer,
                                                                             std::vector<Token> tokens) {
            memory.keep(answer, {kept.prompt_bytes, kept.prompt_key, std::move(tokens)}, salt);
          };
        running->add(choice, std::move(reading),
                     engine_request(request, made, seed + static_cast<uint64_t>(choice)));
      }
    } catch (const Error&) {
      running->give_up();
      const std::lock_guard lock(mutex);
      under_way.erase(id);
      throw;
    }
    return id;
  }

  uint64_t embed(const EmbeddingRequest& request, Completer::OnEmbedded on_done) {
    std::vector<Request> texts;
    for (const PlainPrompt& input : request.inputs) {
      const std::string field = fmt::format("input[{}]", texts.size());
      const Prepared made = prepare_plain(input, field);
      check_length(made, field);
      Request& text = texts.emplace_back();
      text.prompt = made.tokens;
      text.cache_salt = request.cache_salt;
      text.pooling = options.pooling;
    }
    auto embedding = std::make_shared<Embedding>(engine, std::move(texts), std::move(on_done));
    uint64_t id;
    {
      const std::lock_guard lock(mutex);
      id = ++last_id;
      embeddings[id] = embedding;
    }
    embedding->when_over = [this, id] {
      const std::lock_guard lock(mutex);
      embeddings.erase(id);
    };
    embedding->start();
    return id;
  }

  uint64_t fresh_seed() {
    const std::lock_guard lock(mutex);
    return seeds();
  }

  Engine& engine;
  const Tokenizer& tokenizer;
  const ChatFormat chat;
  LocalCompleterOptions options;
  const AnswerFormat answers;
  const std::shared_ptr<const TokenTable> table;
  const std::vector<Token> written;  // special tokens that the parser of answers looks for
  const AnswerMemory memory;
  std::mutex mutex;
  std::mt19937_64 seeds{std::random_device{}()};
  std::map<uint64_t, std::shared_ptr<Running>> under_way;
  std::map<uint64_t, std::shared_ptr<Embedding>> embeddings;
  uint64_t last_id = 0;
};

LocalCompleter::LocalCompleter(Engine& engine, const Tokenizer& tokenizer, ChatFormat chat,
                               LocalCompleterOptions options)
    : impl_(std::make_unique<Impl>(engine, tokenizer, std::move(chat), std::move(options))) {}

LocalCompleter::~LocalCompleter() = default;

const ModelCard& LocalCompleter::card() const { return impl_->options.card; }

uint64_t LocalCompleter::submit(const CompletionRequest& request, OnEvent on_event) {
  return impl_->submit(request, std::move(on_event));
}

uint64_t LocalCompleter::embed(const EmbeddingRequest& request, OnEmbedded on_done) {
  return impl_->embed(request, std::move(on_done));
}

void LocalCompleter::cancel(uint64_t id) {
  std::shared_ptr<Running> running;
  std::shared_ptr<Embedding> embedding;
  {
    const std::lock_guard lock(impl_->mutex);
    const auto it = impl_->under_way.find(id);
    if (it != impl_->under_way.end()) running = it->second;
    const auto other = impl_->embeddings.find(id);
    if (other != impl_->embeddings.end()) embedding = other->second;
  }
  if (running) running->cancel();
  if (embedding) embedding->cancel();
}

std::vector<Token> LocalCompleter::tokens(const CompletionRequest& request) const {
  if (request.chat) return impl_->prepare_chat(request).tokens;
  return impl_->prepare_plain(request.prompts.at(0)).tokens;
}

std::string LocalCompleter::rendered(const ChatPrompt& chat) const {
  CompletionRequest request;
  request.chat = chat;
  ChatRenderOptions render;
  render.now = today();
  return plain(impl_->chat.render(effective(request, impl_->options.kwargs), render));
}

std::string LocalCompleter::text(std::span<const Token> tokens) const {
  return impl_->tokenizer.decode(tokens);
}

}  // namespace minke
