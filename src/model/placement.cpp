#include "model/placement.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include <fmt/format.h>

#include "base/cpu.h"
#include "base/error.h"
#include "kernels/kernels.h"
#include "model/interleave.h"

namespace minke {
namespace {

std::string gigabytes(int64_t bytes) { return fmt::format("{:.2f} GB", static_cast<double>(bytes) / 1e9); }

int64_t size_of(const MappedFile& file) { return static_cast<int64_t>(file.bytes().size()); }
int64_t size_of_files(const Model& model) {
  int64_t bytes = 0;
  for (const MappedFile& file : files_of(model)) bytes += size_of(file);
  return bytes;
}

// What the weights are read from.
std::vector<Bytes> ranges_of(const Model& model) {
  std::vector<Bytes> ranges;
  for (const Memory& copy : model.placement.copies)
    ranges.push_back({copy.data(), static_cast<size_t>(copy.size())});
  if (ranges.empty())
    for (const MappedFile& file : files_of(model)) ranges.push_back(file.bytes());
  return ranges;
}

class Placer {
 public:
  Placer(Model& model, const PlacementOptions& options)
      : model_(model), options_(options), pool_(usable_cores()), all_(size_of_files(model)), total_(all_) {
    if (!options.repack) return;
    interleavable_ = interleavable(model.config, model.weights);
    model.placement.sample = sample_of(model);
  }

  // Huge pages whatever it takes: as the files lie in the page cache, read anew from the disk, or copied.
  void huge_pages() {
    bool copy = false;
    for (const MappedFile& file : files_of(model_)) {
      if (size_of(file) < kHugePage) continue;
      copy = copy || !huge_in_cache(file);
      if (!copy) continue;
      if (huge_page_policy() == "never") {
        note(fmt::format(
            "no huge pages: files lie on small ones here, and the kernel gives a program none ({})",
            "as root: echo madvise >/sys/kernel/mm/transparent_hugepage/enabled"));
        return;
      }
      require_room(model_.placement.copied + size_of(file));
      take(file, true);
    }
    check_granted();
  }

  // Copies in which matrices are interleaved.
  void repack() {
    require_room(all_);
    for (const MappedFile& file : files_of(model_)) take(file, wants_huge());
    check_granted();
  }

  // Copies whose pages are those of every node in turn.
  void spread(const Topology& machine) {
    require_room(all_);
    for (const MappedFile& file : files_of(model_)) {
      take(file, wants_huge(), [&](std::span<std::byte> room) { placed_ = machine.spread(room) && placed_; });
    }
    check_granted();
  }

  // A copy on each node.
  void replicate(const Topology& machine) {
    const int nodes = static_cast<int>(machine.nodes().size());
    require_room(all_ * nodes);
    total_ = all_ * nodes;
    Replicas& replicas = model_.placement.replicas;
    for (const MappedFile& file : files_of(model_)) {
      const Bytes bytes = file.bytes();
      if (bytes.empty()) continue;
      Replicas::Part part{bytes.data(), bytes.data() + bytes.size(), {}};
      for (int node = 0; node < nodes; ++node) {
        Memory copy(size_of(file), "a copy of the weights");
        const std::span<std::byte> room(copy.data(), bytes.size());
        prefer_huge_pages(room, wants_huge());
        placed_ = machine.bind(room, node) && placed_;
        copy_file(pool_, file, room, node + 1 < nodes || cache_may_stay(nodes), counter());
        part.shift.push_back(copy.data() - bytes.data());
        model_.placement.copies.push_back(std::move(copy));
      }
      replicas.parts.push_back(std::move(part));
    }
    std::ranges::sort(replicas.parts, {}, &Replicas::Part::begin);
    replicas.node_of_thread = model_.placement.node_of_thread;
    model_.placement.copied = all_ * nodes;
    model_.placement.replaced = all_;
    check_granted();
  }

  void lock() {
    std::vector<Bytes> ranges = ranges_of(model_);
    for (const Memory& made : model_.made.chunks())
      ranges.push_back({made.data(), static_cast<size_t>(made.size())});
    int64_t bytes = 0;
    for (const Bytes& range : ranges) bytes += static_cast<int64_t>(range.size());
    if (bytes > machine_memory())
      throw Error(fmt::format("{} cannot stay in memory: this machine has {}", gigabytes(bytes),
                              gigabytes(machine_memory())),
                  "--lock");
    lock_in_memory(ranges);  // first, so that nothing is read in vain
    done_ = 0;
    total_ = bytes;
    for (const Bytes& range : ranges) read_in(pool_, range, counter());
    model_.placement.locked = all_ - model_.placement.replaced;
  }

  std::vector<std::string> take_notes() { return std::move(notes_); }
  void note(std::string text) { notes_.push_back(std::move(text)); }

 private:
  BytesDone counter() {
    if (!options_.progress) return {};
    return [this](int64_t bytes) {
      const std::lock_guard one_at_a_time(mutex_);
      done_ += bytes;
      options_.progress(std::min(done_, total_), total_);
    };
  }

  void take(const MappedFile& file, bool huge, const Room& prepare = {}) {
    std::vector<Mat> done;
    TakeOver how{huge, cache_may_stay(1), prepare, {}, counter()};
    if (options_.repack)
      how.finish = [&](std::span<std::byte> room) { done = interleave_in(file.bytes(), room); };
    take_over(pool_, file, how);
    mark_interleaved(model_.config, model_.weights, done);
    for (const Mat& m : done) model_.placement.interleaved += m.bytes();
    model_.placement.copied += size_of(file);
    model_.placement.replaced += size_of(file);
  }

  // Those of the file's matrices that can be, in `room`, which will stand in its place.
  std::vector<Mat> interleave_in(Bytes file, std::span<std::byte> room) {
    std::vector<Mat> done;
    for (const Mat& m : interleavable_) {
      if (m.data < file.data() || m.data >= file.data() + file.size()) continue;
      interleave(pool_, m, room.data() + (m.data - file.data()));
      done.push_back(m);
    }
    return done;
  }

  bool wants_huge() const { return options_.huge_pages != HugePages::off; }

  // Whether nearly all that can lie on huge pages does.
  static bool mostly_huge(const Residence& r) { return r.huge() >= r.bytes / kHugePage * kHugePage / 10 * 9; }

  // Whether the page cache has the file on huge pages, if need be after reading it anew; what the file system
  // does with the file's start is tried before that.
  bool huge_in_cache(const MappedFile& file) {
    if (mostly_huge(cached_part(file))) return true;
    const Bytes all = file.bytes(), start = all.first(std::min(all.size(), size_t{64} << 20));
    forget(file, start);
    read_in(pool_, start);
    if (!mostly_huge(minke::residence_of({&start, 1}))) return false;
    forget(file, all.subspan(start.size()));
    read_in(pool_, all, counter());
    return true;
  }

  // The page cache can keep the files beside copies of them.
  bool cache_may_stay(int copies) const { return all_ * (copies + 1) <= machine_memory() / 10 * 9; }

  void require_room(int64_t bytes) const {
    if (bytes <= machine_memory()) return;
    throw Error(fmt::format("copies of the weights take {}, and this machine has {}", gigabytes(bytes),
                            gigabytes(machine_memory())),
                options_.numa != Numa::off ? "--numa"
                : options_.repack          ? "--repack"
                                           : "--huge-pages on");
  }

  void check_granted() {
    if (!placed_) note("--numa: the system would not place memory on nodes");
    if (options_.huge_pages != HugePages::on) return;
    const Residence r = residence_of(model_);
    if (r.huge() == 0)
      note("no huge pages: the kernel granted none");
    else if (!mostly_huge(r))
      note(fmt::format("huge pages for {} of {}: the kernel granted no more", gigabytes(r.huge()),
                       gigabytes(r.bytes)));
  }

  Model& model_;
  const PlacementOptions& options_;
  ThreadPool pool_;
  std::mutex mutex_;
  const int64_t all_;
  int64_t total_, done_ = 0;
  bool placed_ = true;
  std::vector<std::string> notes_;
  std::vector<Mat> interleavable_;
};

}  // namespace

std::vector<std::string> place_weights(Model& model, const PlacementOptions& given,
                                       std::optional<Topology> machine) {
  if (given.numa == Numa::off && given.huge_pages != HugePages::on && !given.lock && !given.repack) return {};
  PlacementOptions options = given;
  options.repack = given.repack && kernels_for(given.isa).few_interleaved;
  Placer placer(model, options);
  if (given.repack && !options.repack)
    placer.note(fmt::format("--repack changes nothing: nothing is faster so with {}", name(given.isa)));
  if (options.numa != Numa::off && !machine) machine = Topology::machine();
  const bool several = machine && machine->nodes().size() > 1;
  if (machine && !several) placer.note("--numa changes nothing: there is one NUMA node here");
  if (several && options.repack && options.numa == Numa::replicate)
    throw Error("weights that are replicated cannot be interleaved", "--repack",
                "--numa spread can be had with it");
  if (several) {
    model.placement.node_of_thread = nodes_of_threads(machine->nodes(), options.threads);
    if (options.numa == Numa::spread) placer.spread(*machine);
    if (options.numa == Numa::replicate) placer.replicate(*machine);
    model.placement.machine = std::make_shared<const Topology>(*std::move(machine));
  } else if (options.repack) {
    placer.repack();
  } else if (options.huge_pages == HugePages::on) {
    placer.huge_pages();
  }
  if (options.lock) placer.lock();
  return placer.take_notes();
}

Residence residence_of(const Model& model) { return residence_of(ranges_of(model)); }

std::string residence_text(const Model& model) {
  const Residence r = residence_of(model);
  const size_t nodes = model.placement.machine ? model.placement.machine->nodes().size() : 1;
  std::string text = gigabytes(r.bytes);
  if (!model.placement.copies.empty()) text += fmt::format(" in {} copies", nodes);
  if (r.huge_file > 0) text += fmt::format(", {} on huge pages of the page cache", gigabytes(r.huge_file));
  if (r.huge_own > 0) text += fmt::format(", {} copied to huge pages", gigabytes(r.huge_own));
  if (r.huge() == 0) text += ", none on huge pages";
  if (model.placement.interleaved > 0)
    text += fmt::format(", {} interleaved", gigabytes(model.placement.interleaved));
  if (r.locked > 0) text += fmt::format(", {} locked", gigabytes(r.locked));
  if (nodes > 1) text += fmt::format(", threads on {} NUMA nodes", nodes);
  return text;
}

}  // namespace minke
