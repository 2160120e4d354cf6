/// The package list of a Debian or Ubuntu machine as labelled texts: what a package is for → the
/// section of the archive that it is filed under.
#pragma once

#include <string_view>
#include <vector>

#include "data/readers/row.hpp"

namespace minima {

/// The rows of `apt-cache dumpavail`. Throws Error, with the way out, where there is no apt-cache
/// or it knows no packages.
std::vector<Row> read_package_list();

/// The rows of such a list: its text is the description, first line and paragraphs, cut after a
/// word at 400 bytes; its label is the section without the archive's component ("contrib/").
/// Packages without either, and those whose description is not UTF-8, yield none.
std::vector<Row> parse_package_list(std::string_view list);

}  // namespace minima
