/// Checkpoints on the disk: `RUN/checkpoints/step-N/`, each a folder of files with their checksums.
///
/// A folder is filled under the name `step-N.minima-part`, flushed and renamed, so that a kill at any moment leaves the
/// whole ones whole. What was written is read back before the renaming, from the disk as far as the system lets go of what
/// it has cached: tensors must be those in memory. `checksums.xxh128` lists every file as `xxhsum -H2` does (`xxhsum -c`
/// checks it), from what was read; a folder whose files do not fit it was damaged since: it is kept as
/// `step-N.damaged`, where it takes no whole one's place, and the newest one that is whole is used.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/files/json.hpp"
#include "core/files/safetensors.hpp"
#include "core/types.hpp"

namespace minima {

struct Checkpoint {
  std::filesystem::path folder;
  i64 step;
  Json state;  ///< state.json
};

/// Throws Error (run time) where the disk of a folder is known to have less room than `bytes`.
void require_room(const std::filesystem::path& folder, i64 bytes);

/// Writes checkpoints/step-N of `run`: what `fill` writes into a new folder, then `state`. Where there is a whole
/// one of this step with the same state already, nothing is done. Keeps the `keep` newest (0: all).
/// Throws Error (run time) when the disk has less room than `bytes` or refuses; then the others are as they were.
std::filesystem::path write_checkpoint(
    const std::filesystem::path& run, i64 step, const Json& state, i64 bytes, i64 keep,
    const std::function<void(const std::filesystem::path& folder)>& fill);

/// Throws Error (run time) unless the file has these tensors, to the bit.
void check_written(const std::filesystem::path& safetensors,
                   const std::vector<NamedTensor>& tensors);

/// What is wrong with a checkpoint's files: "model.safetensors is not what was written (…)"; empty where all is well.
std::string damage(const std::filesystem::path& checkpoint);

/// The newest whole checkpoint of a run; none where there never was one. Each one passed over is kept aside, and told to
/// `say`; what a kill left of one half written is removed. Throws Error where all are damaged: what they had may be worth
/// more than a new beginning.
std::optional<Checkpoint> newest_checkpoint(const std::filesystem::path& run,
                                            const std::function<void(const std::string&)>& say);

/// The folder of the newest whole checkpoint; none where there is none. Nothing is changed.
std::optional<std::filesystem::path> newest_whole_checkpoint(const std::filesystem::path& run);

/// What RUN/run.json says; where that is damaged or gone, what the newest whole checkpoint has kept of it, which is told
/// to `say`. Throws Error where neither tells the run's options.
Json read_run(const std::filesystem::path& run, const std::function<void(const std::string&)>& say);
void write_run(const std::filesystem::path& run, const Json& json);

/// Throws Error where a run's folder has checkpoints, a final model, a comparison or a log already, which a new run would
/// mix with its own or write over.
void refuse_earlier_run(const std::filesystem::path& run);

/// Removes those of a run that another replaces. What was damaged and is kept aside stays.
void remove_checkpoints(const std::filesystem::path& run);

/// Throws Error, naming both, where `what` ("the model's dim") is another one than a resumed run began with.
void check_same(std::string_view what, const Json& here, const Json& then,
                std::string_view where = "checkpoint");

/// Whether a run.json, comparison.json or page (.html) is there that was not written by this program, or is damaged.
bool is_foreign(const std::filesystem::path& file);
/// Throws Error for one.
void refuse_foreign(const std::filesystem::path& file);

/// Throws Error where a run's folder has an earlier run, or such a file of another's.
void refuse_used_folder(const std::filesystem::path& run);

}  // namespace minima
