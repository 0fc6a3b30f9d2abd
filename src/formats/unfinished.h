#pragma once
// Output that outlives an interruption: files that are written one after the other, with a journal of what is
// known to be on the disk.

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"

namespace minke {

// Everything is written to the folder TARGET.unfinished beside the target, and moved into place when it is
// whole. The same bytes must come again when the work is taken up: what the journal vouches for, checked
// against its checksums, is passed over.
class UnfinishedOutput {
 public:
  enum class Kind { file, folder };
  struct Options {
    Kind kind = Kind::file;
    std::string identity;  // of all that decides about the bytes: what lies there of another is thrown away
    uint64_t sync_bytes = uint64_t{64} << 20;  // written to the disk and noted in the journal each time
    std::function<void(int64_t done, int64_t all)> checking = {};  // bytes of what was there before
  };

  // Takes up what is there, or begins. Throws Error naming the path: it cannot be made, or another program is
  // writing it.
  UnfinishedOutput(fs::path target, Options options);
  ~UnfinishedOutput();  // what is written stays, and is noted in the journal
  UnfinishedOutput(const UnfinishedOutput&) = delete;
  UnfinishedOutput& operator=(const UnfinishedOutput&) = delete;

  uint64_t kept() const { return kept_; }  // bytes that were there and are good
  const fs::path& folder() const { return folder_; }

  // Use: begin() a file, skip() or write() its bytes, end() it; then the next; then finish(). Each throws
  // Error naming the path ("No space left on device" among others).
  void begin(const std::string& name);  // of kind file: any name, there is but one
  bool skip(uint64_t bytes);            // whether the next so many are there; then they are passed over
  void write(Bytes bytes);
  void end();
  void write_file(const std::string& name, std::string_view text);  // all three

  // Moves the whole into place, over what is there.
  void finish();

 private:
  struct Piece {  // of a file, from the piece before or its beginning
    std::string file;
    uint64_t end = 0;
    uint32_t sum = 0;
  };

  void open_journal();
  void take_up(std::string_view text);
  bool check(const Piece& piece, uint64_t begin) const;
  void note();
  [[noreturn]] void failed(const fs::path& path, const char* doing) const;

  fs::path target_, folder_;
  Options options_;
  std::vector<Piece> good_;  // of the journal, checked
  uint64_t kept_ = 0;
  int journal_ = -1;
  // The file being written
  int fd_ = -1;
  std::string file_;
  uint64_t at_ = 0, noted_ = 0;  // where the next byte goes; up to where the journal vouches
  uint64_t started_ = 0;         // up to where bytes are on their way to the disk
  uint32_t sum_ = 0;             // of the bytes from noted_ to at_
  bool finished_ = false;
};

}  // namespace minke
