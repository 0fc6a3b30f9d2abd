#include "train/documents.h"

#include <algorithm>
#include <system_error>

#include <fmt/format.h>

#include "base/error.h"
#include "text/utf8.h"

namespace minke {
namespace {

constexpr size_t kPiece = 1 << 20, kLongest = size_t{1} << 30;  // of a document
constexpr size_t kReasons = 3;
constexpr std::string_view kMark = "\xEF\xBB\xBF";  // some editors begin a file with it

bool is_jsonl(const fs::path& path) {
  fs::path name = path.filename();
  if (name.extension() == ".gz" || name.extension() == ".zst") name = name.stem();
  return name.extension() == ".jsonl" || name.extension() == ".ndjson";
}

bool is_blank(std::string_view text) { return text.find_first_not_of(" \t\r\n\f\v") == text.npos; }

void add_folder(const fs::path& folder, std::vector<fs::path>& files) {
  std::vector<fs::path> found;
  std::error_code failed;
  for (auto it = fs::recursive_directory_iterator(folder, failed);
       !failed && it != fs::recursive_directory_iterator(); it.increment(failed)) {
    std::error_code unknown;
    if (it->path().filename().string().starts_with('.')) {
      if (it->is_directory(unknown)) it.disable_recursion_pending();
    } else if (it->is_regular_file(unknown)) {
      found.push_back(it->path());
    }
  }
  if (failed) throw Error(failed.message(), folder.string());
  std::ranges::sort(found);
  files.insert(files.end(), found.begin(), found.end());
}

std::string text_of(const Json& object, std::string_view key) {
  const Json* member = object.find(key);
  return member && member->is_string() ? member->as_string() : std::string();
}

}  // namespace

std::vector<fs::path> files_below(const std::vector<std::string>& named) {
  std::vector<fs::path> files;
  for (const fs::path path : named) {
    std::error_code failed;
    if (fs::is_directory(path, failed))
      add_folder(path, files);
    else if (fs::exists(path, failed))
      files.push_back(path);
    else
      throw Error("is not there", path.string());
  }
  if (files.empty()) throw Error("has no files", named.empty() ? "" : named.front());
  return files;
}

DocumentReader::DocumentReader(std::vector<fs::path> files, DocumentOptions options)
    : files_(std::move(files)), options_(std::move(options)) {
  for (const fs::path& path : files_) {
    std::error_code unknown;
    const auto size = fs::file_size(path, unknown);
    if (!unknown) size_ += static_cast<int64_t>(size);
  }
}

int64_t DocumentReader::done() const { return before_ + (file_ ? file_->consumed() : 0); }

bool DocumentReader::open_next() {
  if (file_) before_ += file_->consumed();
  file_.reset();
  if (index_ == files_.size()) return false;
  file_.emplace(files_[index_]);
  lines_ = is_jsonl(files_[index_]);
  ++index_;
  buffer_.clear();
  at_ = 0;
  passed_ = line_ = 0;
  ended_ = false;
  fill();
  if (std::string_view(buffer_).starts_with(kMark)) at_ = kMark.size();
  return true;
}

bool DocumentReader::fill() {
  if (ended_) return false;
  passed_ += static_cast<int64_t>(at_);
  buffer_.erase(0, at_);
  at_ = 0;
  const size_t held = buffer_.size();
  if (held > kLongest)
    throw Error(fmt::format("holds a document of more than {} MB from byte {} on", kLongest >> 20, passed_),
                files_[index_ - 1].string(), "--separator cuts text files, and JSONL has a document a line");
  buffer_.resize(held + kPiece);
  const size_t got = file_->read(std::span(buffer_).subspan(held));
  buffer_.resize(held + got);
  ended_ = got < kPiece;
  return got > 0;
}

bool DocumentReader::take_until(std::string_view mark, std::string& piece, int64_t& begin) {
  size_t searched = 0, end = std::string::npos;
  for (;;) {
    if (!mark.empty()) end = buffer_.find(mark, at_ + searched);
    if (end != std::string::npos) break;
    const size_t held = buffer_.size() - at_;
    searched = held >= mark.size() ? held - mark.size() : 0;
    if (!fill()) break;
  }
  begin = passed_ + static_cast<int64_t>(at_);
  ++line_;
  const bool more = end != std::string::npos || at_ < buffer_.size();
  piece.assign(buffer_, at_, end == std::string::npos ? end : end - at_);
  at_ = end == std::string::npos ? buffer_.size() : end + mark.size();
  return more;
}

bool DocumentReader::next(Document& document) {
  for (;;) {
    if (!file_ && !open_next()) return false;
    std::string piece;
    int64_t begin = 0;
    if (!take_until(lines_ ? "\n" : options_.separator, piece, begin)) {
      if (!open_next()) return false;
      continue;
    }
    if (is_blank(piece)) {
      blank_ += !lines_;
      continue;
    }
    try {
      if (understand(std::move(piece), begin, document)) return true;
      ++blank_;
    } catch (const Error& e) {
      if (!options_.skip_invalid) throw;
      ++skipped_;
      if (reasons_.size() < kReasons) reasons_.emplace_back(e.what());
    }
  }
}

bool DocumentReader::understand(std::string piece, int64_t begin, Document& document) {
  const std::string file = files_[index_ - 1].string();
  document = {};
  document.place = lines_ ? fmt::format("{} line {}", file, line_) : file;
  if (const size_t at = find_invalid_utf8(piece); at != std::string::npos)
    throw Error(fmt::format("is not UTF-8 at byte {}", begin + static_cast<int64_t>(at)), document.place,
                "--skip-invalid passes over such documents");
  if (lines_)
    understand_line(piece, document);
  else
    document.text = std::move(piece);
  return !document.chat.is_null() || !is_blank(document.text);
}

void DocumentReader::understand_line(const std::string& line, Document& document) const {
  Json json;
  try {
    json = parse_json(line, {.reject_repeated_keys = false});
  } catch (const Error& e) {
    throw Error(fmt::format("is no JSON: {}", e.happened()), document.place,
                "--skip-invalid passes over such documents");
  }
  document.source = text_of(json, "source");
  document.license = text_of(json, "license");
  const Json *text = json.find("text"), *messages = json.find("messages");
  if (messages && messages->is_array())
    document.chat = std::move(json);
  else if (text && text->is_string())
    document.text = text->as_string();
  else
    throw Error("has neither a text \"text\" nor an array \"messages\"", document.place);
}

}  // namespace minke
