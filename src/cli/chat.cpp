#include <unistd.h>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/error.h"
#include "cli/command.h"
#include "cli/environment.h"
#include "cli/input.h"
#include "cli/interrupt.h"
#include "cli/line_editor.h"
#include "cli/talker.h"

namespace minke {
namespace {

struct Flags {
  EngineFlags engine;
  ServerFlags server;
  SamplingFlags sampling;
  std::string system, tools;
  bool no_history = false;
};

constexpr const char* kHelp = R"(  /help               this
  /system TEXT        set the system message (without TEXT: show it; the conversation starts anew)
  /save FILE          write the conversation as JSON
  /load FILE          go on with a saved conversation
  /regenerate         answer the last message again
  /set NAME VALUE     change how answers are drawn: temperature, top_k, top_p, min_p, seed, max_tokens, ...
  /clear              start anew
  /exit               leave (so does Ctrl-D)
A line that ends in \ goes on in the next one. Ctrl-C stops an answer.
)";

fs::path history_file() {
  if (const auto state = variable("XDG_STATE_HOME")) return fs::path(*state) / "minke" / "history";
  if (const auto home = variable("HOME")) return fs::path(*home) / ".local" / "state" / "minke" / "history";
  return {};
}

Json message(const char* role, const std::string& content) {
  return JsonObject{{"role", role}, {"content", content}};
}

class Chat {
 public:
  explicit Chat(const Flags& flags)
      : flags_(flags),
        talker_(flags.server.given() ? server_talker(flags.server) : local_talker(flags.engine)),
        editor_(flags.no_history ? fs::path() : history_file()),
        dim_(::isatty(STDOUT_FILENO) && !variable("NO_COLOR")) {
    if (!flags.tools.empty()) prompt_.tools = read_json_file(flags.tools);
    prompt_.kwargs = template_kwargs(flags.engine);
    start_anew();
  }

  int run() {
    if (editor_.interactive()) fmt::print("{} · /help\n", talker_->title());
    for (std::string line; read(line);) {
      if (line.empty()) continue;
      try {
        if (line[0] == '/' && line != "/") {
          if (!command(line)) break;
        } else {
          prompt_.messages.as_array().push_back(message("user", line));
          answer();
        }
      } catch (const Error& e) {
        fmt::print(stderr, "minke: {}\n", e.what());
      }
    }
    return kExitOk;
  }

 private:
  // A message, of several lines where they end in a backslash. False at the end of the input.
  bool read(std::string& text) {
    text.clear();
    for (bool more = true; more;) {
      std::string line;
      interrupt_.clear();
      switch (editor_.read(text.empty() ? "> " : ". ", line)) {
        case LineEditor::Result::end:
          if (editor_.interactive()) fmt::print("\n");
          return !text.empty();
        case LineEditor::Result::interrupted:
          fmt::print("\n");
          text.clear();
          return true;
        case LineEditor::Result::line: break;
      }
      more = !line.empty() && line.back() == '\\';
      if (more) line.back() = '\n';
      text += line;
    }
    return true;
  }

  void start_anew() {
    JsonArray messages;
    if (!flags_.system.empty()) messages.push_back(message("system", flags_.system));
    prompt_.messages = std::move(messages);
  }

  // Answers the conversation as it stands. What the user said stays even where the answer was stopped.
  void answer() {
    const Spoken spoken = talker_->answer(prompt_, flags_.sampling, [&] { return interrupt_.asked(); });
    if (editor_.interactive())
      fmt::print("{}{}{}\n", dim_ ? "\033[2m" : "", spoken.rates, dim_ ? "\033[0m" : "");
    if (spoken.context_full)
      fmt::print(stderr, "minke: the context is full; /clear starts anew, --ctx makes it larger\n");
    prompt_.messages.as_array().push_back(spoken.message);
  }

  void save(const std::string& file) const {
    Json json;
    json.set("messages", prompt_.messages);
    if (!prompt_.tools.is_null()) json.set("tools", prompt_.tools);
    write_file(file, to_string(json, 1) + "\n");
  }

  void load(const std::string& file) {
    ChatPrompt read;
    try {
      read = read_chat_prompt(read_json_file(file));
    } catch (const Error& e) {
      throw e.subject().starts_with(file) ? e : e.within(file);
    }
    prompt_.messages = std::move(read.messages);
    if (!read.tools.is_null()) prompt_.tools = std::move(read.tools);
    fmt::print("{} messages\n", prompt_.messages.as_array().size());
  }

  void regenerate() {
    JsonArray& messages = prompt_.messages.as_array();
    if (!messages.empty() && messages.back().at("role").as_string() == "assistant") messages.pop_back();
    if (messages.empty() || messages.back().at("role").as_string() != "user")
      throw Error("there is nothing to answer again");
    if (!fixed_seed_)
      flags_.sampling.seed = flags_.sampling.seed.value_or(0) + 1;  // else it would be the same answer
    answer();
  }

  // False: leave.
  bool command(const std::string& line) {
    const size_t space = line.find(' ');
    const std::string name = line.substr(0, space),
                      rest = space == std::string::npos ? "" : line.substr(space + 1);
    const auto need = [&](const char* what) {
      if (rest.empty()) throw Error(fmt::format("{} needs {}", name, what));
    };
    if (name == "/exit" || name == "/quit" || name == "/bye") return false;
    if (name == "/help") {
      fmt::print("{}", kHelp);
    } else if (name == "/clear") {
      start_anew();
    } else if (name == "/system") {
      if (rest.empty())
        fmt::print("{}\n", flags_.system.empty() ? "(none)" : flags_.system);
      else
        flags_.system = rest, start_anew();
    } else if (name == "/save") {
      need("a file name");
      save(rest);
    } else if (name == "/load") {
      need("a file name");
      load(rest);
    } else if (name == "/regenerate") {
      regenerate();
    } else if (name == "/set") {
      const size_t at = rest.find(' ');
      if (at == std::string::npos) throw Error("/set needs a name and a value");
      set_sampling(flags_.sampling, rest.substr(0, at), rest.substr(at + 1));
      if (rest.substr(0, at) == "seed") fixed_seed_ = true;
    } else {
      throw Error(fmt::format("unknown command {}", name), {}, "/help lists them");
    }
    return true;
  }

  Flags flags_;
  std::unique_ptr<Talker> talker_;
  LineEditor editor_;
  Interrupt interrupt_{Interrupt::Second::is_a_flag};
  ChatPrompt prompt_;
  bool dim_, fixed_seed_ = false;
};

}  // namespace

void add_chat(CLI::App& app, Action& action) {
  auto flags = std::make_shared<Flags>();
  CLI::App& command = *app.add_subcommand("chat", "Talk with a model");
  flags->engine.add(command);
  flags->server.add(command);
  command.add_option("--system", flags->system, "A system message");
  command.add_option("--tools", flags->tools, "Tool definitions for the template, a JSON file");
  command.add_flag("--no-history", flags->no_history, "Keep no history of typed lines");
  flags->sampling.add(command);
  command.footer(
      "Examples:\n  minke chat model.gguf\n  printf 'Hello\\nAnd in French?\\n' | minke chat model.gguf "
      "--max-tokens 60\n"
      "  minke chat --server http://127.0.0.1:6710\n"
      "In the chat, /help lists its commands.");
  command.callback([flags, &action] {
    flags->server.check(flags->engine);
    flags->sampling.check();
    action = [flags] { return Chat(*flags).run(); };
  });
}

}  // namespace minke
