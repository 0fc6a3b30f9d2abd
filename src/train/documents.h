#pragma once
// Documents out of files: text, one a file or with separators between, and JSONL; gzip or zstd of either.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "formats/input_file.h"

namespace minke {

struct Document {
  std::string text;             // empty where there are messages
  Json chat;                    // the line's object, where it has "messages"; else null
  std::string source, license;  // as the line says, or empty
  std::string place;            // for errors: "FILE line 12"
};

struct DocumentOptions {
  std::string separator = {};  // of text files; empty: a file is a document
  bool skip_invalid = false;   // pass over what is no UTF-8 or no JSON, instead of an error
};

// Files as they are named; of folders all files below, in the order of their paths, hidden ones left out.
// Throws Error naming what is not there, and where there is nothing at all.
std::vector<fs::path> files_below(const std::vector<std::string>& named);

// Reads one file after the other; holds no more than a document and a buffer.
class DocumentReader {
 public:
  DocumentReader(std::vector<fs::path> files, DocumentOptions options);

  // The next document that is not blank; false at the end. Throws Error naming the file: no UTF-8, with the
  // byte; a line that is no JSON object with "text" or "messages", with its number; damaged, unreadable, too
  // long.
  bool next(Document& document);

  int64_t skipped() const { return skipped_; }  // that were invalid
  int64_t blank() const { return blank_; }
  const std::vector<std::string>& first_skipped() const { return reasons_; }  // a few, for a warning
  int64_t done() const;  // bytes of the files, for progress
  int64_t size() const { return size_; }

 private:
  bool fill();  // reads more of the file; false at its end
  bool open_next();
  // Up to `mark`, which is passed over, or to the file's end; false where nothing is left. `begin` is where
  // the piece begins in the file's content.
  bool take_until(std::string_view mark, std::string& piece, int64_t& begin);
  bool understand(std::string piece, int64_t begin, Document& document);
  void understand_line(const std::string& line, Document& document) const;

  std::vector<fs::path> files_;
  DocumentOptions options_;
  size_t index_ = 0;  // of the next file
  std::optional<InputFile> file_;
  bool lines_ = false;  // the open file is JSONL
  std::string buffer_;
  size_t at_ = 0;       // in buffer_
  int64_t passed_ = 0;  // bytes of content before buffer_
  int64_t line_ = 0;    // of the last piece
  bool ended_ = true;   // the open file gives no more
  int64_t before_ = 0, size_ = 0;
  int64_t skipped_ = 0, blank_ = 0;
  std::vector<std::string> reasons_;
};

}  // namespace minke
