/// Ctrl-C as a request, heeded where a run may stop.
#pragma once

#include <csignal>

namespace minima {

/// While one lives, Ctrl-C (and SIGTERM, and SIGHUP unless that is ignored, as under nohup) asks for an orderly end: the
/// trainer saves and stops. A second one ends the process at once. What these signals did before they do again
/// afterwards.
class InterruptRequests {
 public:
  InterruptRequests();
  ~InterruptRequests();
  InterruptRequests(const InterruptRequests&) = delete;
  InterruptRequests& operator=(const InterruptRequests&) = delete;
  static int received();  ///< which signal; 0: none

 private:
  struct sigaction before_[3];
};

}  // namespace minima
