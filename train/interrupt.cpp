#include "train/interrupt.hpp"

#include <cstddef>
#include <iterator>

namespace minima {
namespace {

constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};
volatile std::sig_atomic_t interrupted_by = 0;

extern "C" void on_interrupt(int signal) {
  if (interrupted_by != 0) {  // the second one
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
  interrupted_by = signal;
}

}  // namespace

InterruptRequests::InterruptRequests() {
  interrupted_by = 0;
  for (std::size_t i = 0; i < std::size(kSignals); ++i) {
    struct sigaction action {};
    action.sa_handler = on_interrupt;
    action.sa_flags = SA_RESTART;
    sigaction(kSignals[i], &action, &before_[i]);
    // Under nohup. Of SIGINT that says nothing: shells start background jobs so.
    if (kSignals[i] == SIGHUP && before_[i].sa_handler == SIG_IGN)
      sigaction(kSignals[i], &before_[i], nullptr);
  }
}
InterruptRequests::~InterruptRequests() {
  for (std::size_t i = 0; i < std::size(kSignals); ++i)
    sigaction(kSignals[i], &before_[i], nullptr);
  interrupted_by = 0;
}
int InterruptRequests::received() { return interrupted_by; }

}  // namespace minima
