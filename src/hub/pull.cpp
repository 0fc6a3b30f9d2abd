#include "hub/pull.h"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

#include "base/json.h"
#include "hub/cache.h"
#include "hub/digest.h"
#include "hub/file_choice.h"

namespace minke {
namespace {

// A file that belongs to the model.
struct Member {
  HubFile file;
  std::string etag = {};
  uint64_t size = 0;
  bool present = false;  // in the snapshot already
};

std::string gigabytes(uint64_t bytes) { return fmt::format("{:.1f} GB", static_cast<double>(bytes) / 1e9); }

uint64_t saturating_sum(uint64_t a, uint64_t b) { return a + b < a ? UINT64_MAX : a + b; }

// The size of what a path leads to, if that is a file.
std::optional<uint64_t> size_at(const fs::path& path) {
  std::error_code ec;
  if (!fs::is_regular_file(path, ec)) return std::nullopt;
  const uint64_t size = fs::file_size(path, ec);
  return ec ? std::nullopt : std::optional(size);
}

class Puller {
 public:
  Puller(const HubOptions& options, const ModelName& name,
         const std::function<void(const PullProgress&)>& progress)
      : hub_(options), repo_{options.cache, name.repo}, progress_(progress) {
    listing_ = hub_.list(name.repo, name.revision);
    for (const HubFile& file : listing_.files) files_.emplace(file.path, &file);
  }

  PullResult run(const ModelName& name) {
    std::vector<std::string> paths;
    for (const HubFile& file : listing_.files) paths.push_back(file.path);
    FileChoice choice = choose_files(paths, name.select, repo_.repo);
    tag_cache(repo_.cache);
    if (choice.sharded) {
      fetch_all({kSafetensorsIndex});
      for (std::string& shard : shards()) choice.files.push_back(std::move(shard));
    }
    fetch_all(choice.files);
    write_ref(repo_, name.revision.empty() ? "main" : name.revision, listing_.commit);

    const fs::path snapshot = repo_.snapshot(listing_.commit);
    PullResult result{.path = choice.safetensors ? snapshot : snapshot / choice.files.front(),
                      .commit = listing_.commit,
                      .quant = choice.quant,
                      .files = choice.files,
                      .bytes = all_total_,
                      .fetched = fetched_};
    return result;
  }

 private:
  // The weights the index names (MODEL.md 4.3), each once.
  std::vector<std::string> shards() const {
    const std::string subject = repo_.repo + "/" + kSafetensorsIndex;
    std::set<std::string> names;
    try {
      const Json index = parse_json(read_file(repo_.snapshot(listing_.commit) / kSafetensorsIndex));
      for (const auto& [tensor, shard] : index.at("weight_map").as_object()) names.insert(shard.as_string());
    } catch (const Error& e) {
      throw Error(e.happened(), subject);
    }
    for (const std::string& name : names)
      if (!files_.count(name))
        throw Error(fmt::format("it names '{}', which the repository does not have", printable(name, 120)),
                    subject);
    return {names.begin(), names.end()};
  }

  void fetch_all(const std::vector<std::string>& paths) {
    std::vector<Member> members;
    for (const std::string& path : paths) members.push_back(ask(path));
    all_bytes_ = all_total_ = 0;
    for (const Member& m : members) all_total_ = saturating_sum(all_total_, m.size);
    check_space(members);
    for (const Member& m : members) {
      if (!m.present) fetch(m);
      report(m, PullPhase::done, m.size);
      all_bytes_ += m.size;
    }
  }

  // What is known of a file. The hub is asked about those the listing does not tell enough of: large files
  // are stored under their SHA-256, which is also their etag.
  Member ask(const std::string& path) const {
    check_repo_path(path);
    Member member{.file = *files_.at(path)};
    if (const auto size = size_at(repo_.snapshot(listing_.commit) / path); size && size == member.file.size) {
      member.size = *size;
      member.present = true;
      return member;
    }
    if (member.file.size && !member.file.sha256.empty()) {
      member.size = *member.file.size;
      member.etag = member.file.sha256;
      return member;
    }
    const std::string subject = repo_.repo + "/" + path;
    const HubFileHead head = hub_.head(repo_.repo, listing_.commit, path);
    member.etag = head.etag;
    const auto size = head.size ? head.size : member.file.size;
    if (!size) throw Error("the hub does not say how large this file is", subject);
    if (member.file.size.value_or(*size) != *size)
      throw Error(fmt::format("the hub gives two sizes: {} and {} bytes", *member.file.size, *size), subject);
    member.size = *size;
    if (is_hex(head.etag, 64)) {
      if (!member.file.sha256.empty() && member.file.sha256 != head.etag)
        throw Error("the hub gives two SHA-256 sums", subject);
      member.file.sha256 = head.etag;
    } else if (is_hex(head.etag, 40) && member.file.git_blob.empty()) {
      member.file.git_blob = head.etag;
    }
    return member;
  }

  bool has_blob(const Member& m) const { return size_at(repo_.blob(m.etag)) == m.size; }

  void check_space(const std::vector<Member>& members) const {
    uint64_t needed = 0;
    for (const Member& m : members) {
      if (m.present || has_blob(m)) continue;
      const uint64_t there = std::min(size_at(repo_.partial(m.etag)).value_or(0), m.size);
      needed = saturating_sum(needed, m.size - there);
    }
    std::error_code ec;
    const fs::space_info space = fs::space(repo_.cache, ec);
    if (ec || needed <= space.available) return;
    throw Error(fmt::format("{} are to be fetched for {}, {} are free", gigabytes(needed), repo_.repo,
                            gigabytes(space.available)),
                repo_.cache.string(), "another folder can be set with HF_HUB_CACHE");
  }

  void fetch(const Member& m) {
    const FileLock lock(repo_.lock(m.etag), [&] {
      if (hub_.is_canceled()) throw Error("canceled", repo_.repo + "/" + m.file.path);
      report(m, PullPhase::waiting, 0);
    });
    if (!has_blob(m)) {
      std::error_code ec;
      fs::create_directories(repo_.folder() / "blobs", ec);
      if (ec)
        throw Error(fmt::format("cannot create the folder: {}", ec.message()),
                    (repo_.folder() / "blobs").string());
      const Download wanted{repo_.repo,    listing_.commit, m.file.path,          m.size,
                            m.file.sha256, m.file.git_blob, repo_.partial(m.etag)};
      fetched_ += download(hub_, wanted, [&](PullPhase phase, uint64_t bytes) { report(m, phase, bytes); });
      fs::rename(wanted.partial, repo_.blob(m.etag), ec);
      if (ec) throw Error(fmt::format("cannot rename into place: {}", ec.message()), wanted.partial.string());
    }
    link_blob(repo_, listing_.commit, m.file.path, m.etag);
  }

  void report(const Member& m, PullPhase phase, uint64_t bytes) const {
    if (progress_) progress_({m.file.path, phase, bytes, m.size, all_bytes_ + bytes, all_total_});
  }

  Hub hub_;
  CachedRepo repo_;
  const std::function<void(const PullProgress&)>& progress_;
  HubListing listing_;
  std::map<std::string, const HubFile*> files_;
  uint64_t all_bytes_ = 0, all_total_ = 0, fetched_ = 0;
};

}  // namespace

PullResult pull(const HubOptions& options, const ModelName& name,
                const std::function<void(const PullProgress&)>& progress) {
  return Puller(options, name, progress).run(name);
}

}  // namespace minke
