#include "cli/document_flags.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/error.h"

namespace minke {
namespace {

std::string unescaped(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool escape = text[i] == '\\' && i + 1 < text.size();
    switch (escape ? text[i + 1] : '\0') {
      case 'n': out += '\n'; break;
      case 't': out += '\t'; break;
      case '\\': out += '\\'; break;
      default: out += text[i]; continue;
    }
    ++i;
  }
  return out;
}

}  // namespace

void DocumentFlags::add(CLI::App& command) {
  command
      .add_option(
          "FILES", files,
          "Text (a document a file) and JSONL ({\"text\": ...} or {\"messages\": [...]} a line), also as "
          ".gz or .zst; folders with such files")
      ->required();
  command
      .add_option("--separator", separator,
                  "What stands between the documents of a text file; \\n is a new line")
      ->type_name("TEXT");
  command.add_flag("--skip-invalid", skip_invalid, "Pass over documents that are no UTF-8 or no JSON");
}

DocumentReader DocumentFlags::open() const {
  return {files_below(files), {.separator = unescaped(separator), .skip_invalid = skip_invalid}};
}

void warn_of_skipped(const DocumentReader& reader) {
  if (reader.skipped() == 0) return;
  for (const std::string& reason : reader.first_skipped()) fmt::print(stderr, "minke: skipped: {}\n", reason);
  const auto more = reader.skipped() - static_cast<int64_t>(reader.first_skipped().size());
  if (more > 0) fmt::print(stderr, "minke: skipped: {} more\n", more);
}

}  // namespace minke
