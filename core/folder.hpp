/// Whole folders, written as core/file.hpp writes whole files.
#pragma once

#include <filesystem>
#include <functional>

namespace minima {

/// Fills a folder named FOLDER.part, which then takes the place of `folder`: the files of the old one
/// go, and are never mixed with the new ones. `fill` leaves its files on the disk, as write_file does;
/// where it throws, the old folder stays, and no folder above that was made for it. The two change names
/// in one step; where the file system cannot, the old one is FOLDER.replaced for a moment, which a kill
/// right then leaves. What a kill has left is removed by the next call. Throws Error (run time) when the
/// disk refuses; where it refused a new name only, the new files stay in FOLDER.part.
void write_folder(const std::filesystem::path& folder,
                  const std::function<void(const std::filesystem::path& part)>& fill);

}  // namespace minima
