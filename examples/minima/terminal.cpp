#include "examples/minima/terminal.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "core/error.hpp"

namespace minima {

void hold_closed_streams() {
  for (int fd = 0; fd <= 2; ++fd)  // the lowest that is free is what open gives
    if (fcntl(fd, F_GETFD) < 0) open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}

void write_to_standard_error(const std::string& text) {
  const auto before = std::signal(SIGPIPE, SIG_IGN);
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::signal(SIGPIPE, before);
}

std::string for_output(std::string text) { return isatty(STDOUT_FILENO) ? visible(text) : text; }

void flush_output() {
  if (std::fflush(stdout) != 0)
    fail_at_run_time("standard output cannot be written: {}", std::strerror(errno));
}

}  // namespace minima
