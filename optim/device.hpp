/// The engine on a GPU, as far as it goes today: AdamW over any storages, and a matrix pass. The kernels in
/// engine.cu run the same rule functors as the CPU. Pointers in a StepView, the code map included, are the
/// device's.
#pragma once

#include "core/device.hpp"
#include "optim/adamw.hpp"
#include "optim/factored.hpp"

namespace minima {

/// One step of one parameter with a dense gradient; the first two or three slots.
template <AnyGpu Gpu>
void step(Gpu gpu, const AdamW& rule, const StepView& view);
/// Sums by rows [batch·rows] and, for each chunk of 32 rows, by columns [chunks, columns].
template <AnyGpu Gpu>
void matrix_pass(Gpu gpu, const Squares& pass, const StepView& view, double* rows,
                 float* partial_columns, double* totals);

}  // namespace minima
