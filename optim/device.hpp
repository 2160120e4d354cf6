/// The engine on a GPU, as far as it goes today: AdamW over any storages, and a matrix pass. The kernels in
/// engine.cu run the same rule functors as the CPU. Pointers in a StepView, the code map included, are the
/// device's.
#pragma once

#include "optim/adamw.hpp"
#include "optim/factored.hpp"

#define MINIMA_DEVICE_ENGINE(backend)                                                             \
  namespace minima::backend {                                                                     \
  /** One step of one parameter with a dense gradient; the first two or three slots. */           \
  void step(const AdamW& rule, const StepView& view);                                             \
  /** Sums by rows [batch·rows] and, for each chunk of 32 rows, by columns [chunks, columns]. */ \
  void matrix_pass(const Squares& pass, const StepView& view, double* rows,                       \
                   float* partial_columns, double* totals);                                       \
  }

MINIMA_DEVICE_ENGINE(cuda)
MINIMA_DEVICE_ENGINE(emulated)

#undef MINIMA_DEVICE_ENGINE
