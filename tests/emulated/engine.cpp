/// The kernels of optim/engine.cu on the emulated device, against the CPU backend.
#include <vector>

#include "optim/device.hpp"
#include "optim/storage/block8.hpp"
#include "tests/optim/support.hpp"

using namespace minima;
using namespace minima::test;

namespace {

constexpr Device kEmulated{Device::Kind::emulated, 0};
constexpr emulated::Gpu kGpu{0};

/// A code map in the device's memory.
Tensor on_device(const CodeMap& map) {
  Tensor bytes = Tensor::empty({sizeof(CodeMap)}, DType::u8);
  std::memcpy(bytes.raw(), &map, sizeof(CodeMap));
  return bytes.to(kEmulated);
}

struct DeviceSlot {
  Tensor bytes, absmax;
  SlotView view;
};

/// Zero, as an optimizer begins.
DeviceSlot make_slot(Storage storage, i64 n, i64 block_size, const Tensor& map) {
  DeviceSlot slot{Tensor::zeros({n * 4}, DType::u8, kEmulated),
                  Tensor::zeros({Block8Storage::scales(n, block_size)}, DType::f32, kEmulated),
                  {}};
  slot.view = {storage, slot.bytes.raw(), slot.absmax.data<float>(), block_size,
               reinterpret_cast<const CodeMap*>(map.raw())};
  return slot;
}

/// Whether the first bytes of a tensor on the device are those.
bool holds(const Tensor& found, const Tensor& expected) {
  return std::memcmp(found.to(Device{}).raw(), expected.raw(),
                     static_cast<std::size_t>(expected.bytes())) == 0;
}

}  // namespace

TEST_CASE("AdamW's kernel has the bits of the CPU, over every storage") {
  const Tensor any_sign = on_device(signed_code_map()), one_sign = on_device(unsigned_code_map());
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
          const Model cpu({{"x", {n}}});
          Tensor value = cpu[0].value.to(kEmulated);
          Optimizer optimizer = make_optimizer(spec, cpu.all());
          AdamW::Options options{.lr = 0.01, .weight_decay = 0.1};
          options.amsgrad = std::string(more).find("amsgrad") != std::string::npos;
          options.maximize = std::string(more).find("maximize") != std::string::npos;
          if (options.maximize) options.decay_order = DecayOrder::after;
          const StatePlan& plan = optimizer.state();
          std::vector<DeviceSlot> slots;
          for (const PlannedSlot& slot : plan.slots)
            if (slot.slot != "step")
              slots.push_back(make_slot(slot.storage, n, block_size,
                                        slot.sign == Sign::any ? any_sign : one_sign));
          for (int k = 0; k < 3; ++k) {
            cpu.set_gradients(k);
            if (k == 1) cpu[0].gradient.mutable_values().data<float>()[n / 2] = std::nanf("");
            StepView view;
            view.shape = {n};
            view.value.values = value.raw();
            Tensor gradient = cpu[0].gradient.values().to(kEmulated);
            view.gradient.values.values = gradient.raw();
            for (std::size_t s = 0; s < slots.size(); ++s) view.slots[s] = slots[s].view;
            view.slot_count = static_cast<int>(slots.size());
            view.guard = true;
            optimizer.step();
            minima::step(kGpu, AdamW::prepare(options, k + 1), view);
          }
          CHECK(holds(value, cpu[0].value));
          std::size_t s = 0;
          for (const NamedTensor& x : optimizer.tensors()) {
            if (x.name.ends_with("/step")) continue;
            CAPTURE(x.name);
            const bool scales = x.name.ends_with(".absmax");
            const DeviceSlot& slot = slots[scales ? s - 1 : s];
            s += !scales;
            CHECK(holds(scales ? slot.absmax : slot.bytes, x.tensor));
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
    Tensor device_p = p.to(kEmulated), device_g = g.to(kEmulated);
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
    const auto scratch = [](i64 n, DType dtype) { return Tensor::empty({n}, dtype, kEmulated); };
    Tensor rows_there = scratch(std::ssize(expected.rows), DType::f64),
           totals = scratch(chunks, DType::f64),
           partial_there = scratch(chunks * matrix.columns, DType::f32);
    view.value.values = device_p.raw();
    view.gradient.values.values = device_g.raw();
    matrix_pass(kGpu, squares, view, rows_there.data<double>(), partial_there.data<float>(),
                totals.data<double>());
    const Tensor rows = rows_there.to(Device{}), partial = partial_there.to(Device{});
    double total = 0;
    for (double each : totals.to(Device{}).span<double>()) total += each;
    std::vector<double> columns(expected.columns.size());
    CHECK(total == doctest::Approx(expected.total).epsilon(1e-6));
    for (std::size_t i = 0; i < expected.rows.size(); ++i)
      CHECK(rows.span<double>()[i] == doctest::Approx(expected.rows[i]).epsilon(1e-6));
    for (i64 chunk = 0; chunk < chunks; ++chunk)
      for (i64 j = 0; j < matrix.columns; ++j)
        columns[static_cast<std::size_t>(chunk / per_matrix * matrix.columns + j)] +=
            static_cast<double>(partial.data<float>()[chunk * matrix.columns + j]);
    CHECK(columns == expected.columns);
  }
}
