#include "train/checkpoint.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <map>
#include <sstream>

#include "core/error.hpp"
#include "core/files/checksum.hpp"
#include "core/files/file.hpp"
#include "core/files/folder.hpp"
#include "core/text/for_shell.hpp"

namespace minima {
namespace {

namespace fs = std::filesystem;

constexpr const char* kChecksums = "checksums.xxh128";

std::string checksum(const fs::path& path) {
  const InputFile file(path);
  std::vector<char> block(1 << 20);
  Checksum sum;
  for (u64 at = 0; at < file.size();) {
    const u64 count = std::min<u64>(block.size(), file.size() - at);
    file.read(block.data(), count, at);
    sum.add(block.data(), static_cast<i64>(count));
    at += count;
  }
  return sum.digits();
}

/// Steps of the checkpoints there are, whole or not, by falling number.
std::vector<i64> steps_of(const fs::path& folder) {
  std::vector<i64> steps;
  std::error_code none;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, none)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("step-")) continue;
    i64 step = 0;
    const char* const end = name.data() + name.size();
    const auto [rest, error] = std::from_chars(name.data() + 5, end, step);
    if (error == std::errc() && rest == end && step >= 0) steps.push_back(step);
  }
  std::ranges::sort(steps, std::greater());
  return steps;
}

fs::path folder_of(const fs::path& checkpoints, i64 step) {
  return checkpoints / fmt::format("step-{}", step);
}

/// Under another name first, so that a kill in between leaves no half checkpoint.
void remove_checkpoint(const fs::path& folder) {
  const fs::path away = part_of(folder);
  fs::remove_all(away);
  fs::rename(folder, away);
  fs::remove_all(away);
}

/// What a kill has left of checkpoints that were being written or removed; not those that another process is at.
void remove_parts(const fs::path& checkpoints) {
  std::error_code none;
  std::vector<fs::path> parts;
  for (const fs::directory_entry& entry : fs::directory_iterator(checkpoints, none))
    if (const std::string name = entry.path().filename().string();
        name.starts_with("step-") && name.ends_with(part_of("").string()))
      parts.push_back(entry.path());
  for (const fs::path& part : parts) try {
      std::optional<FolderLock> left;
      if (is_folder(part)) left.emplace(part);
      fs::remove_all(part, none);
    } catch (const Error&) {  // somebody has it, or it is not ours to change
    }
}

/// The file's next reading comes from the disk, as far as the system takes the hint.
void forget_cached(const fs::path& file) {
  const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  close(fd);
}

}  // namespace

void require_room(const fs::path& folder, i64 bytes) {
  std::error_code unknown;
  const fs::space_info space = fs::space(folder, unknown);
  if (!unknown && space.available < static_cast<std::uintmax_t>(bytes))
    fail_at_run_time("{}: a checkpoint takes {:.1f} MB, the disk has {:.1f} MB left; make room",
                     folder.string(), static_cast<double>(bytes) / 0x1p20,
                     static_cast<double>(space.available) / 0x1p20);
}

void write_run(const fs::path& run, const Json& json) {
  write_file(run / "run.json", json.dump(2) + "\n");
}

void remove_checkpoints(const fs::path& run) {
  for (const i64 step : steps_of(run / "checkpoints"))
    remove_checkpoint(folder_of(run / "checkpoints", step));
}

fs::path write_checkpoint(const fs::path& run, i64 step, const Json& state, i64 bytes, i64 keep,
                          const std::function<void(const fs::path&)>& fill) {
  const fs::path checkpoints = run / "checkpoints", folder = folder_of(checkpoints, step);
  try {
    make_folders(checkpoints);
    const std::string text = state.dump(1) + "\n";
    const bool is_same =
        is_there(folder) && damage(folder).empty() && read_file(folder / "state.json") == text;
    if (is_same) return folder;
    write_folder(folder, [&](const fs::path& part) {
      require_room(checkpoints, bytes);
      fill(part);
      write_file(part / "state.json", text);
      std::map<std::string, std::string> sums;
      for (const fs::directory_entry& entry : fs::directory_iterator(part))
        sums[entry.path().filename().string()] = checksum(entry.path());
      std::string lines;
      for (const auto& [name, sum] : sums) lines += fmt::format("{}  {}\n", sum, name);
      write_file(part / kChecksums, lines);  // and flushes the folder
    });
    std::vector<i64> steps = steps_of(checkpoints);
    std::erase_if(steps,
                  [&](i64 other) { return other > step; });  // later ones, which were passed over
    for (std::size_t i = static_cast<std::size_t>(keep); keep > 0 && i < steps.size(); ++i)
      remove_checkpoint(folder_of(checkpoints, steps[i]));
  } catch (const std::exception& error) {
    const std::vector<i64> steps = steps_of(checkpoints);
    fail_at_run_time(
        "checkpoint of step {}: {}{}", step, error.what(),
        steps.empty() ? "" : fmt::format("; the last one is that of step {}", steps[0]));
  }
  return folder;
}

void check_written(const fs::path& path, const std::vector<NamedTensor>& tensors) {
  forget_cached(path);
  const SafetensorsFile file(path);
  for (const auto& [name, tensor] : tensors) {
    const Tensor there = file.read(name), here = tensor.to(Device());
    if (there.shape() != here.shape() || there.dtype() != here.dtype() ||
        std::memcmp(there.raw(), here.raw(), static_cast<std::size_t>(here.bytes())) != 0)
      fail_at_run_time("{}: '{}' reads back otherwise than it was written", path.string(), name);
  }
}

std::string damage(const fs::path& checkpoint) {
  try {
    std::istringstream lines(read_file(checkpoint / kChecksums));
    i64 files = 0;
    bool state = false;
    for (std::string line; std::getline(lines, line); ++files) {
      if (line.size() < 35 || line.substr(32, 2) != "  " || line.find('/') != std::string::npos)
        return fmt::format("{} has a line that is no checksum", kChecksums);
      const std::string name = line.substr(34);
      if (checksum(checkpoint / name) != line.substr(0, 32))
        return fmt::format("{} is not what was written (its checksum differs)", name);
      state |= name == "state.json";
    }
    if (!state) return fmt::format("{} does not list state.json", kChecksums);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

std::optional<fs::path> newest_whole_checkpoint(const fs::path& run) {
  for (const i64 step : steps_of(run / "checkpoints"))
    if (fs::path folder = folder_of(run / "checkpoints", step); damage(folder).empty())
      return folder;
  return {};
}

std::optional<Checkpoint> newest_checkpoint(const fs::path& run,
                                            const std::function<void(const std::string&)>& say) {
  const fs::path checkpoints = run / "checkpoints";
  remove_parts(checkpoints);
  for (const i64 step : steps_of(checkpoints)) {
    const fs::path folder = folder_of(checkpoints, step),
                   aside = free_name(folder.string() + ".damaged");
    const std::string problem = damage(folder);
    if (problem.empty()) return Checkpoint{folder, step, read_json(folder / "state.json")};
    std::error_code refused;  // then it is passed over where it stands
    fs::rename(folder, aside, refused);
    if (say)
      say(fmt::format("{} is damaged and passed over: {}; it is kept as {}", folder.string(),
                      problem, refused ? "it is" : aside.filename().string()));
  }
  bool damaged = !steps_of(checkpoints).empty();
  std::error_code none;
  for (const fs::directory_entry& entry : fs::directory_iterator(checkpoints, none))
    damaged |= entry.path().extension().string().starts_with(".damaged");
  check(!damaged,
        "{}: has no whole checkpoint any more; put a copy of one back, or remove {} to begin anew, "
        "which replaces the log",
        run.string(), checkpoints.string());
  return {};
}

Json read_run(const fs::path& run, const std::function<void(const std::string&)>& say) {
  const fs::path file = run / "run.json", checkpoints = run / "checkpoints";
  std::string problem = fmt::format(
      "{}: was not written by minima train, pretrain or compare: it has no \"arguments\"",
      file.string());
  try {
    if (Json json = read_json(file); json.is_object() && json.contains("arguments")) return json;
  } catch (const Error& error) {
    problem = error.what();
  }
  for (const i64 step : steps_of(checkpoints)) {
    const fs::path folder = folder_of(checkpoints, step);
    if (const std::string flaw = damage(folder); !flaw.empty()) {
      problem += fmt::format("; {} is damaged: {}", folder.string(), flaw);
      continue;
    }
    Json state = read_json(folder / "state.json");
    if (!state.contains("run") || !state["run"].contains("arguments")) continue;
    if (say) say(fmt::format("{}; {} has kept what it said", problem, folder.string()));
    return std::move(state["run"]);
  }
  for (const char* up : {"..", "../.."})  // from final/ and checkpoints/step-N/
    check(is_there(file) || !is_there(run / up / "run.json"),
          "{}: is a folder within a run's; give that: {}", run.string(),
          (run / up).lexically_normal().string());
  fail("{}", problem);
}

void check_same(std::string_view what, const Json& here, const Json& then, std::string_view where) {
  check(here == then, "resume: {} is {} here, {} in the {}; it must be the same", what, here.dump(),
        then.dump(), where);
}

bool is_foreign(const fs::path& file) {
  if (!is_there(file)) return false;
  try {
    const InputFile opened(file);  // refuses pipes
    const auto beginning = [&] {
      std::string bytes(std::min<u64>(opened.size(), 1024), '\0');
      opened.read(bytes.data(), bytes.size(), 0);
      return bytes;
    };
    if (file.extension() == ".html")
      return beginning().find("<title>minima: ") == std::string::npos;
    if (file.extension() == ".csv")
      return !beginning().starts_with("label,predicted,probability,text");
    const Json json = read_json(file);
    const std::vector<const char*> keys =
        file.filename() == "run.json" ? std::vector{"arguments"}
                                      : std::vector{"data", "model", "training", "runs", "failed"};
    return !std::ranges::all_of(keys, [&](const char* key) { return json.contains(key); });
  } catch (const Error&) {
    return true;
  }
}

void refuse_foreign(const fs::path& file) {
  check(!is_foreign(file),
        "{}: was not written by this program, or is damaged, and would be replaced; name another "
        "folder, or remove this file first",
        file.string());
}

void refuse_used_folder(const fs::path& run) {
  refuse_earlier_run(run);
  check(!is_there(run / "config.json"),
        "{}: is the folder of a model (it has a config.json); a run has a folder of its own",
        run.string());
  for (const char* name : {"run.json", "report.html", "predictions.csv"})
    refuse_foreign(run / name);
}

void refuse_earlier_run(const fs::path& run) {
  check(!is_there(run / "final"),
        "{}: has the model of an earlier run; name another folder, or remove this one first",
        run.string());
  const std::vector<i64> steps = steps_of(run / "checkpoints");
  check(steps.empty(),
        "{}: has checkpoints of an earlier run (the last after step {}); go on with it (--resume "
        "{}), or name another folder",
        run.string(), steps.empty() ? 0 : steps[0], for_shell(run.string()));
  check(!is_there(run / "comparison.json"),
        "{}: has a comparison; go on with it (minima compare --resume {}), or name another folder",
        run.string(), for_shell(run.string()));
  std::error_code none;
  const auto logged = fs::file_size(run / "metrics.jsonl", none);
  check(none || logged == 0,
        "{}: has the log of an earlier run; go on with it (--resume {}), name another folder, or "
        "remove this one first",
        run.string(), for_shell(run.string()));
}

}  // namespace minima
