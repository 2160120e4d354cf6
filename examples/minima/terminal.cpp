#include "examples/minima/terminal.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>

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

}  // namespace minima
