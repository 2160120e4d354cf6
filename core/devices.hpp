/// Which devices this program can compute on.
#pragma once

#include "core/device.hpp"

namespace minima {

/// Throws Error, saying what is missing, unless the program was built for the device and the machine has it.
void require_device(Device device);

/// Of a GPU, 90 for 9.0; 0 of the cpu.
int compute_capability(Device device);

/// The first GPU, or the CPU where there is none, or the program was built without CUDA.
Device default_device();

}  // namespace minima
