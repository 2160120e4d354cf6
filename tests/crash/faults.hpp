/// Faults at chosen system calls: the program's calls that change files are counted, and the n-th ends the process as
/// `kill -9` does, or fails with an error of the system's.
///
/// faults.cpp defines write, fsync, rename, unlink, … itself: the program's definitions stand before those of the C
/// library, also for calls from the C++ library (std::filesystem).
#pragma once

#include <string>

namespace minima::test {

struct Fault {
  long at = 0;      ///< the call that it meets, counted from 1; 0: none
  int error = 0;    ///< errno of that call and of all later ones; 0: kill -9
  int lasting = 1;  ///< of an error: how many calls fail
  long room = -1;   ///< bytes that disks say they have left; -1: as it is
};

/// Counts from here on, and sets the fault.
void set_fault(const Fault& fault);
/// Calls counted since.
long calls_counted();
/// The name of the call that the fault met: "fsync"; empty where none was.
std::string fault_met();

}  // namespace minima::test
