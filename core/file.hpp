/// Whole files: read with a clear error, written so that a kill at any moment leaves the old one or
/// the new one.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace minima {

/// The bytes of a file. Throws Error, with the system's reason, when it cannot be read.
std::string read_file(const std::filesystem::path& path);

/// Writes under a temporary name, flushes, renames, and flushes the folder. Throws Error (run time)
/// when the disk refuses.
void write_file(const std::filesystem::path& path, std::string_view bytes);

/// The same, for content that is produced piece by piece through `append`.
using Append = std::function<void(const void* bytes, std::size_t count)>;
void write_file(const std::filesystem::path& path,
                const std::function<void(const Append&)>& produce);

}  // namespace minima
