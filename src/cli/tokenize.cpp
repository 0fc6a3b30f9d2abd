#include <charconv>
#include <map>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/input.h"
#include "cli/model_flags.h"
#include "text/tokenizer.h"

namespace minke {
namespace {

struct Flags {
  ModelFlags model;
  TextInput text;
  std::string added = "all";
  bool decode = false, json = false, table = false;
};

const std::map<std::string, Added> kAdded = {
    {"all", Added::all}, {"not-special", Added::special_as_text}, {"none", Added::none}};

// "1 2 3", "1,2,3", "[1, 2, 3]", or the JSON this command prints.
std::vector<Token> read_ids(const std::string& text) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  std::vector<Token> ids;
  if (first != std::string::npos && text[first] == '{') {
    const Json json = parse_json(text);
    for (const Json& id : json.at("ids").as_array()) {
      if (id.as_int() < 0 || id.as_int() > INT32_MAX)
        throw Error(fmt::format("token {} does not exist", id.as_int()));
      ids.push_back(static_cast<Token>(id.as_int()));
    }
    return ids;
  }
  constexpr const char* kBetween = " \t\r\n,[]";
  for (size_t at = text.find_first_not_of(kBetween); at != std::string::npos;) {
    const size_t end = std::min(text.find_first_of(kBetween, at), text.size());
    Token id = 0;
    const auto [stop, error] = std::from_chars(text.data() + at, text.data() + end, id);
    if (error != std::errc() || stop != text.data() + end)
      throw Error(fmt::format("'{}' is no token id", text.substr(at, std::min<size_t>(end - at, 40))), {},
                  "ids are numbers with blanks or commas between");
    ids.push_back(id);
    at = text.find_first_not_of(kBetween, end);
  }
  return ids;
}

// A token's bytes so that they stay on one line and can be told apart.
std::string shown(std::string_view bytes, const std::string& decoded) {
  std::string out = "'";
  const bool text = decoded == bytes;  // else a part of a character: byte by byte
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n')
      out += "\\n";
    else if (c == '\\' || c == '\'')
      out += fmt::format("\\{}", c);
    else if (byte < 0x20 || byte == 0x7f || (byte >= 0x80 && !text))
      out += fmt::format("\\x{:02x}", byte);
    else
      out += c;
  }
  return out + "'";
}

void print_json(const Tokenizer& tokenizer, const std::vector<Token>& ids) {
  JsonArray numbers, pieces;
  for (const Token id : ids) {
    numbers.push_back(Json(int64_t{id}));
    pieces.push_back(Json(tokenizer.decode({&id, 1})));
  }
  Json json;
  json.set("ids", std::move(numbers));
  json.set("pieces", std::move(pieces));
  json.set("text", tokenizer.decode(ids));
  fmt::print("{}\n", to_string(json));
}

int run(const Flags& flags) {
  const Tokenizer tokenizer = Tokenizer::open(flags.model.path());
  const std::string text = flags.text.read();
  std::vector<Token> ids;
  if (flags.decode) {
    ids = read_ids(text);
    for (const Token id : ids)
      tokenizer.bytes(id);  // those out of range are found before anything is printed
  } else {
    ids = tokenizer.encode(text, kAdded.at(flags.added));
  }
  if (flags.json) {
    print_json(tokenizer, ids);
  } else if (flags.table) {
    for (const Token id : ids)
      fmt::print("{:>7}  {}{}\n", id, shown(tokenizer.bytes(id), tokenizer.decode({&id, 1})),
                 tokenizer.is_added(id) ? "  added" : "");
  } else if (flags.decode) {
    for (const Token id : ids) {
      const std::string_view bytes = tokenizer.bytes(id);
      std::fwrite(bytes.data(), 1, bytes.size(), stdout);
    }
  } else {
    fmt::print("{}\n", fmt::join(ids, " "));
  }
  return kExitOk;
}

}  // namespace

void add_tokenize(CLI::App& app, Action& action) {
  auto flags = std::make_shared<Flags>();
  CLI::App& command = *app.add_subcommand("tokenize", "Turn text into token ids, and back");
  command
      .add_option("MODEL", flags->model.model, "A model, a folder with a tokenizer, or a tokenizer.json(.gz)")
      ->required();
  flags->text.add(command, "TEXT", "The text; with --decode, ids");
  command.add_flag("--decode", flags->decode,
                   "From ids to text: exactly the tokens' bytes, no newline added");
  command
      .add_option("--added", flags->added,
                  "Added tokens (<|im_end|>, <think>, ...) that are found in the text: all, those that are "
                  "not special, or none, as in text that users wrote")
      ->check(CLI::IsMember({"all", "not-special", "none"}))
      ->capture_default_str();
  command.add_flag("--table", flags->table, "One token a line, with its text");
  command.add_flag("--json", flags->json,
                   "Print ids, pieces and text as JSON; a part of a character is shown as U+FFFD");
  command.footer(
      "Examples:\n  minke tokenize model.gguf \"Hello, world\"\n  minke tokenize tokenizer.json --file "
      "notes.txt --json\n  minke tokenize model.gguf \"<|im_end|>\" --added none --table\n  minke tokenize "
      "model.gguf < notes.txt | minke tokenize model.gguf --decode");
  command.callback([flags, &action] { action = [flags] { return run(*flags); }; });
}

}  // namespace minke
