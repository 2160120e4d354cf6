/// The rules of this tree: a new one is a file and an entry here; the CPU and every GPU go by this list.
#pragma once

#include "optim/adafactor.hpp"
#include "optim/adafactor_torch.hpp"
#include "optim/adam.hpp"
#include "optim/adamw.hpp"
#include "optim/adapm.hpp"
#include "optim/came.hpp"
#include "optim/lion.hpp"
#include "optim/sgd.hpp"

namespace minima {

template <class... R>
struct Rules {};

using BuiltInRules = Rules<Sgd, Adam, AdamW, Adafactor, AdafactorTorch, Came, AdaPm, Lion>;

}  // namespace minima
