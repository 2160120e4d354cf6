#pragma once

#include "core/copy_ahead.hpp"

namespace minima {

template <AnyGpu Gpu>
std::unique_ptr<CopyAhead> copy_ahead_on(Gpu gpu);

}  // namespace minima
