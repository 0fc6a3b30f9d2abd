#include "cli/line_editor.h"

#include <cerrno>
#include <clocale>
#include <cstdio>
#include <iostream>
#include <unistd.h>

#include <histedit.h>

namespace minke {
namespace {

constexpr int kHistoryLines = 2000;

}  // namespace

struct LineEditor::Impl {
  fs::path file;
  std::string prompt;
  ::EditLine* editor = nullptr;
  ::History* history = nullptr;
  ::HistEvent event = {};

  static char* show_prompt(::EditLine* editor) {
    Impl* self = nullptr;
    ::el_get(editor, EL_CLIENTDATA, &self);
    return self->prompt.data();
  }
};

LineEditor::LineEditor(fs::path history) : impl_(std::make_unique<Impl>()) {
  impl_->file = std::move(history);
  if (!::isatty(STDIN_FILENO) || !::isatty(STDOUT_FILENO)) return;
  // The C locale would split characters beyond ASCII into bytes.
  const char* locale = std::setlocale(LC_CTYPE, "");
  if (!locale || std::string_view(locale) == "C" || std::string_view(locale) == "POSIX")
    std::setlocale(LC_CTYPE, "C.UTF-8");
  impl_->editor = ::el_init("minke", stdin, stdout, stderr);
  if (!impl_->editor) return;
  impl_->history = ::history_init();
  ::history(impl_->history, &impl_->event, H_SETSIZE, kHistoryLines);
  ::history(impl_->history, &impl_->event, H_SETUNIQUE, 1);
  if (!impl_->file.empty()) ::history(impl_->history, &impl_->event, H_LOAD, impl_->file.c_str());
  ::el_set(impl_->editor, EL_CLIENTDATA, impl_.get());
  ::el_set(impl_->editor, EL_PROMPT, &Impl::show_prompt);
  ::el_set(impl_->editor, EL_EDITOR, "emacs");
  ::el_set(impl_->editor, EL_HIST, ::history, impl_->history);
  ::el_set(impl_->editor, EL_SIGNAL, 0);
  ::el_source(impl_->editor, nullptr);  // the user's own ~/.editrc
}

LineEditor::~LineEditor() {
  if (!impl_->editor) return;
  if (!impl_->file.empty()) {
    std::error_code ignored;
    fs::create_directories(impl_->file.parent_path(), ignored);
    ::history(impl_->history, &impl_->event, H_SAVE, impl_->file.c_str());
  }
  ::history_end(impl_->history);
  ::el_end(impl_->editor);
}

bool LineEditor::interactive() const { return impl_->editor != nullptr; }

LineEditor::Result LineEditor::read(const std::string& prompt, std::string& line) {
  if (!impl_->editor) return std::getline(std::cin, line) ? Result::line : Result::end;
  impl_->prompt = prompt;
  int count = 0;
  ::el_set(impl_->editor, EL_PREP_TERM, 1);  // before the prompt: a key typed at once would be the terminal's
  errno = 0;
  const char* text = ::el_gets(impl_->editor, &count);
  if (!text || count <= 0) return errno == EINTR ? Result::interrupted : Result::end;
  line.assign(text, static_cast<size_t>(count));
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.pop_back();
  if (!line.empty()) ::history(impl_->history, &impl_->event, H_ENTER, line.c_str());
  return Result::line;
}

}  // namespace minke
