#include "formats/unfinished.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <fcntl.h>
#include <optional>
#include <sys/file.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>
#include <zlib.h>

#include <fmt/format.h>

#include "base/error.h"

namespace minke {
namespace {

constexpr std::string_view kHead = "minke unfinished 1 ";
constexpr const char* kJournal = "journal";
constexpr size_t kMaxJournal = size_t{64} << 20, kPiece = size_t{4} << 20;
constexpr uint64_t kAhead = uint64_t{8} << 20;  // on their way to the disk at once

uint32_t checksum(uint32_t so_far, Bytes bytes) {
  return static_cast<uint32_t>(::crc32_z(so_far, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

void sync_folder(const fs::path& folder) {  // not every file system allows it
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

// The next line, without its end; nothing where it is not whole.
std::optional<std::string_view> take_line(std::string_view& text) {
  const size_t end = text.find('\n');
  if (end == text.npos) return std::nullopt;
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end + 1);
  return line;
}

}  // namespace

UnfinishedOutput::UnfinishedOutput(fs::path target, Options options)
    : target_(std::move(target)), folder_(target_), options_(std::move(options)) {
  folder_ += ".unfinished";
  std::error_code error;
  fs::create_directory(folder_, error);
  if (error) throw Error(fmt::format("cannot create: {}", error.message()), folder_.string());
  open_journal();
}

UnfinishedOutput::~UnfinishedOutput() {
  try {
    if (fd_ >= 0) note();
  } catch (const Error&) {  // then the journal ends earlier
  }
  if (fd_ >= 0) ::close(fd_);
  if (journal_ >= 0) ::close(journal_);
}

void UnfinishedOutput::failed(const fs::path& path, const char* doing) const {
  const int error = errno;
  throw Error(fmt::format("cannot {}: {}", doing, std::generic_category().message(error)), path.string(),
              error == ENOSPC || error == EDQUOT || error == EFBIG
                  ? "what is written so far is kept: make room, and run the same command again"
                  : "");
}

void UnfinishedOutput::open_journal() {
  const fs::path path = folder_ / kJournal;
  journal_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (journal_ < 0) failed(path, "create");
  if (::flock(journal_, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) throw Error("another program is writing it", target_.string());
    failed(path, "lock");
  }
  const std::string text = read_file(path, kMaxJournal);
  const std::string head = std::string(kHead) + options_.identity;
  std::string_view rest = text;
  if (take_line(rest) == head) return take_up(rest);
  for (const auto& entry : fs::directory_iterator(folder_))
    if (entry.path().filename() != kJournal) fs::remove_all(entry.path());
  if (::ftruncate(journal_, 0) != 0) failed(path, "empty");
  const std::string line = head + "\n";
  if (::write(journal_, line.data(), line.size()) != static_cast<ssize_t>(line.size())) failed(path, "write");
}

// Lines "END CRC NAME". Up to the first that is not whole or not true.
void UnfinishedOutput::take_up(std::string_view text) {
  std::vector<Piece> pieces;
  uint64_t all = 0, done = 0;
  while (const auto line = take_line(text)) {
    Piece piece;
    const char *p = line->data(), *const last = p + line->size();
    auto read = std::from_chars(p, last, piece.end);
    if (read.ec != std::errc() || read.ptr == last || *read.ptr != ' ') break;
    read = std::from_chars(read.ptr + 1, last, piece.sum, 16);
    if (read.ec != std::errc() || read.ptr == last || *read.ptr != ' ') break;
    piece.file.assign(read.ptr + 1, last);
    if (piece.file.find('/') != piece.file.npos) break;
    const bool same = !pieces.empty() && pieces.back().file == piece.file;
    if (same && piece.end < pieces.back().end) break;
    all += piece.end - (same ? pieces.back().end : 0);
    pieces.push_back(std::move(piece));
  }
  for (Piece& piece : pieces) {
    const uint64_t begin = !good_.empty() && good_.back().file == piece.file ? good_.back().end : 0;
    if (!check(piece, begin)) break;
    done += piece.end - begin;
    if (options_.checking) options_.checking(static_cast<int64_t>(done), static_cast<int64_t>(all));
    good_.push_back(std::move(piece));
  }
  kept_ = done;
  // The journal goes on behind what is good.
  std::string again = std::string(kHead) + options_.identity + "\n";
  for (const Piece& piece : good_) again += fmt::format("{} {:08x} {}\n", piece.end, piece.sum, piece.file);
  const fs::path path = folder_ / kJournal;
  if (::ftruncate(journal_, 0) != 0) failed(path, "empty");
  if (::write(journal_, again.data(), again.size()) != static_cast<ssize_t>(again.size()))
    failed(path, "write");
}

bool UnfinishedOutput::check(const Piece& piece, uint64_t begin) const {
  const int fd = ::open((folder_ / piece.file).c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  std::vector<std::byte> bytes(static_cast<size_t>(std::min<uint64_t>(kPiece, piece.end - begin)));
  uint32_t sum = 0;
  uint64_t at = begin;
  while (at < piece.end) {
    const auto wanted = static_cast<size_t>(std::min<uint64_t>(bytes.size(), piece.end - at));
    const ssize_t n = ::pread(fd, bytes.data(), wanted, static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    sum = checksum(sum, Bytes(bytes).first(static_cast<size_t>(n)));
    at += static_cast<uint64_t>(n);
  }
  ::close(fd);
  return at == piece.end && sum == piece.sum;
}

void UnfinishedOutput::begin(const std::string& name) {
  MINKE_CHECK(fd_ < 0 && name != kJournal && name.find('/') == name.npos, "{}", name);
  file_ = name;
  at_ = noted_ = started_ = 0;
  sum_ = 0;
  for (const Piece& piece : good_)
    if (piece.file == name) noted_ = started_ = piece.end;
  const fs::path path = folder_ / name;
  fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
  if (fd_ < 0) failed(path, "create");
  if (::ftruncate(fd_, static_cast<off_t>(noted_)) != 0) failed(path, "shorten");
}

bool UnfinishedOutput::skip(uint64_t bytes) {
  if (at_ + bytes > noted_) return false;
  at_ += bytes;
  return true;
}

void UnfinishedOutput::write(Bytes bytes) {
  MINKE_CHECK(fd_ >= 0);
  if (at_ < noted_) {  // there already, up to a place inside of these
    const uint64_t there = std::min<uint64_t>(bytes.size(), noted_ - at_);
    at_ += there;
    bytes = bytes.subspan(static_cast<size_t>(there));
  }
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(at_));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) failed(folder_ / file_, "write");
    sum_ = checksum(sum_, bytes.first(static_cast<size_t>(n)));  // as far as it was taken
    bytes = bytes.subspan(static_cast<size_t>(n));
    at_ += static_cast<uint64_t>(n);
  }
  if (at_ <= noted_) return;
  if (at_ - started_ >= kAhead) {  // so that there is less to wait for in the end
    ::sync_file_range(fd_, static_cast<off_t>(started_), static_cast<off_t>(at_ - started_),
                      SYNC_FILE_RANGE_WRITE);
    started_ = at_;
  }
  if (at_ - noted_ >= options_.sync_bytes) note();
}

// To the disk first, then into the journal.
void UnfinishedOutput::note() {
  if (at_ <= noted_) return;
  if (::fdatasync(fd_) != 0) failed(folder_ / file_, "sync");
  const std::string line = fmt::format("{} {:08x} {}\n", at_, sum_, file_);
  if (::write(journal_, line.data(), line.size()) != static_cast<ssize_t>(line.size()))
    failed(folder_ / kJournal, "write");
  noted_ = at_;
  sum_ = 0;
}

void UnfinishedOutput::end() {
  note();
  if (::fsync(fd_) != 0) failed(folder_ / file_, "sync");
  ::close(std::exchange(fd_, -1));
}

void UnfinishedOutput::write_file(const std::string& name, std::string_view text) {
  begin(name);
  if (!skip(text.size())) write(as_bytes(text));
  end();
}

void UnfinishedOutput::finish() {
  MINKE_CHECK(fd_ < 0 && !finished_);
  sync_folder(folder_);
  const auto move = [this](const fs::path& from, const fs::path& to) {
    if (::rename(from.c_str(), to.c_str()) != 0) failed(to, "move into place");
  };
  if (options_.kind == Kind::file) {
    move(folder_ / file_, target_);
    ::unlink((folder_ / kJournal).c_str());
    ::rmdir(folder_.c_str());
  } else {
    fs::path old = target_;
    old += ".replaced";
    std::error_code none;
    const bool there = fs::exists(fs::symlink_status(target_, none));
    if (there) move(target_, old);
    ::unlink((folder_ / kJournal).c_str());
    move(folder_, target_);
    if (there) fs::remove_all(old, none);
  }
  finished_ = true;
  sync_folder(target_.has_parent_path() ? target_.parent_path() : fs::path("."));
}

}  // namespace minke
