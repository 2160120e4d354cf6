/// The `.cu` files on the emulated device, against the CPU backend.
#include <vector>

#include "core/cuda/launch.hpp"
#include "optim/device.hpp"
#include "optim/storage/block8.hpp"
#include "tests/optim/support.hpp"

using namespace minima;
using namespace minima::test;

namespace {

struct DeviceSlot {
  std::vector<u8> bytes;
  std::vector<float> absmax;
  SlotView view;
};

/// Zero, as an optimizer begins.
DeviceSlot make_slot(Storage storage, i64 n, i64 block_size, const CodeMap& map) {
  DeviceSlot slot;
  slot.bytes.resize(static_cast<std::size_t>(n * 4));
  slot.absmax.resize(static_cast<std::size_t>(Block8Storage::scales(n, block_size)));
  slot.view = {storage, slot.bytes.data(), slot.absmax.data(), block_size, &map};
  return slot;
}

void barrier_of_half(int* reached) {
  if (threadIdx.x < blockDim.x / 2) __syncthreads();
  ++*reached;
}

}  // namespace

TEST_CASE("AdamW's kernel has the bits of the CPU, over every storage") {
  for (const char* state : {"fp32", "bf16", "block8"})
    for (const char* more : {"", ":amsgrad=true", ":decay_order=after:maximize=true"})
      for (i64 block_size : {256, 64, 300}) {
        const std::string spec = fmt::format(
            "adamw:lr=0.01:weight_decay=0.1:min_8bit_size=1:non_finite_guard=true:state={}"
            ":block_size={}{}",
            state, block_size, more);
        CAPTURE(spec);
        for (i64 n : {1, 255, 256, 257, 1000}) {
          CAPTURE(n);
          const Model cpu({{"x", {n}}}), device({{"x", {n}}});
          Optimizer optimizer = make_optimizer(spec, cpu.all());
          AdamW::Options options{.lr = 0.01, .weight_decay = 0.1};
          options.amsgrad = std::string(more).find("amsgrad") != std::string::npos;
          options.maximize = std::string(more).find("maximize") != std::string::npos;
          if (options.maximize) options.decay_order = DecayOrder::after;
          const StatePlan& plan = optimizer.state();
          std::vector<DeviceSlot> slots;
          for (const PlannedSlot& slot : plan.slots)
            if (slot.slot != "step")
              slots.push_back(
                  make_slot(slot.storage, n, block_size,
                            slot.sign == Sign::any ? signed_code_map() : unsigned_code_map()));
          for (int k = 0; k < 3; ++k) {
            cpu.set_gradients(k);
            if (k == 1) cpu[0].gradient.mutable_values().data<float>()[n / 2] = std::nanf("");
            StepView view;
            view.shape = {n};
            view.value.values = device[0].value.raw();
            view.gradient.values.values = cpu[0].gradient.mutable_values().raw();
            for (std::size_t s = 0; s < slots.size(); ++s) view.slots[s] = slots[s].view;
            view.slot_count = static_cast<int>(slots.size());
            view.guard = true;
            optimizer.step();
            emulated::step(AdamW::prepare(options, k + 1), view);
          }
          CHECK(same_bits(cpu[0].value, device[0].value));
          std::size_t s = 0;
          for (const NamedTensor& x : optimizer.tensors()) {
            if (x.name.ends_with("/step")) continue;
            CAPTURE(x.name);
            const bool scales = x.name.ends_with(".absmax");
            const DeviceSlot& slot = slots[scales ? s - 1 : s];
            s += !scales;
            const void* found =
                scales ? static_cast<const void*>(slot.absmax.data()) : slot.bytes.data();
            CHECK(std::memcmp(x.tensor.raw(), found, static_cast<std::size_t>(x.tensor.bytes())) ==
                  0);
          }
        }
      }
}

TEST_CASE(
    "a matrix pass on the device has the column sums of the CPU in bits, the others in rounding") {
  for (const Shape& shape :
       {Shape{1, 1}, Shape{70, 37}, Shape{33, 300}, Shape{2, 40, 9}, Shape{500}}) {
    CAPTURE(fmt::format("{}", shape));
    Tensor p = random_tensor(shape, "p"), g = random_tensor(shape, "g");
    StepView view;
    view.shape = shape;
    view.value.values = p.raw();
    view.gradient.values.values = g.raw();
    view.gradient_scale = 0.5f;
    const Squares squares{1e-30f};
    const MatrixSums expected = matrix_pass(view, squares);
    const MatrixShape matrix(shape);
    const i64 per_matrix = minima::detail::chunks_per_matrix(matrix),
              chunks = matrix.batch * per_matrix;
    std::vector<double> rows(expected.rows.size()), totals(static_cast<std::size_t>(chunks)),
        columns(expected.columns.size());
    std::vector<float> partial(static_cast<std::size_t>(chunks * matrix.columns));
    emulated::matrix_pass(squares, view, rows.data(), partial.data(), totals.data());
    double total = 0;
    for (double each : totals) total += each;
    CHECK(total == doctest::Approx(expected.total).epsilon(1e-6));
    for (std::size_t i = 0; i < rows.size(); ++i)
      CHECK(rows[i] == doctest::Approx(expected.rows[i]).epsilon(1e-6));
    for (i64 chunk = 0; chunk < chunks; ++chunk)
      for (i64 j = 0; j < matrix.columns; ++j)
        columns[static_cast<std::size_t>(chunk / per_matrix * matrix.columns + j)] +=
            static_cast<double>(partial[static_cast<std::size_t>(chunk * matrix.columns + j)]);
    CHECK(columns == expected.columns);
  }
}

TEST_CASE("the emulated device refuses a kernel in which some threads miss a barrier") {
  int reached = 0;
  CHECK_THROWS_AS(emulated::launch(barrier_of_half, 1, 64, 0, &reached), Error);
  CHECK(reached == 32);
}
