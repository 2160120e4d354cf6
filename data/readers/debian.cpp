#include "data/readers/debian.hpp"

#include <sys/wait.h>

#include <algorithm>
#include <cstdio>

#include "core/error.hpp"
#include "core/text/utf8.hpp"

namespace minima {
namespace {

constexpr std::size_t kMaxTextBytes = 400;

/// At most kMaxTextBytes of a text, cut after a word.
std::string shortened(std::string text) {
  if (text.size() <= kMaxTextBytes) return text;
  const std::size_t space = text.rfind(' ', kMaxTextBytes);
  if (space == std::string::npos) return {};  // no prose
  text.resize(space);
  return text;
}

}  // namespace

std::vector<Row> read_package_list() {
  constexpr int kNotFound = 127;  // of the shell
  FILE* pipe = popen("apt-cache dumpavail 2>/dev/null", "r");
  if (!pipe) fail_at_run_time("debian: no process could be started for 'apt-cache dumpavail'");
  std::string list;
  char block[1 << 16];
  while (const std::size_t got = fread(block, 1, sizeof(block), pipe)) list.append(block, got);
  const int status = pclose(pipe);
  check(!(WIFEXITED(status) && WEXITSTATUS(status) == kNotFound),
        "debian: there is no apt-cache here; this data set is the package list of a Debian or "
        "Ubuntu machine. Choose --data builtin, a folder or a file");
  std::vector<Row> rows = parse_package_list(list);
  check(!rows.empty(),
        "debian: 'apt-cache dumpavail' lists no packages; fetch the list with 'apt-get update' "
        "(as root), or choose --data builtin, a folder or a file");
  return rows;
}

std::vector<Row> parse_package_list(std::string_view list) {
  std::vector<Row> rows;
  Row row;
  bool described = false, in_description = false;
  const auto finish = [&] {
    row.text = shortened(std::move(row.text));
    if (!row.text.empty() && !row.label.empty() && find_invalid_utf8(row.text) == std::string::npos)
      rows.push_back(std::move(row));
    row = {};
    described = in_description = false;
  };
  i64 number = 0;
  while (!list.empty()) {
    const std::size_t end = std::min(list.find('\n'), list.size());
    const std::string_view line = list.substr(0, end);
    list.remove_prefix(std::min(end + 1, list.size()));
    ++number;
    if (line.empty()) {
      finish();
      continue;
    }
    if (line.front() == ' ') {  // goes on with the field above; " ." is an empty line in it
      if (in_description && line != " .") row.text.append(line);
      continue;
    }
    const std::size_t colon = line.find(": ");
    const std::string_view field = line.substr(0, colon);
    const std::string_view value = colon == line.npos ? "" : line.substr(colon + 2);
    in_description = !described && (field == "Description" || field == "Description-en");
    if (in_description) {
      described = true;
      row.text = value;
      row.line = number;
    } else if (field == "Section") {
      row.label = value.substr(value.rfind('/') + 1);  // npos + 1 is 0
    }
  }
  finish();
  return rows;
}

}  // namespace minima
