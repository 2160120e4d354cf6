#include "core/recording.hpp"

#include "core/cuda/memory.hpp"
#include "core/on_device.hpp"

namespace minima {
namespace {

void* record(Cpu, const MemoryPool&, const std::function<void()>&) {
  fail("recording: the cpu queues nothing; a recording is for a GPU");
}
template <AnyGpu Gpu>
void* record(Gpu gpu, const MemoryPool& pool, const std::function<void()>& work) {
  begin_recording(gpu);
  try {
    const MemoryPool::Use use(pool);
    work();
  } catch (...) {
    abandon_recording(gpu);
    throw;
  }
  return end_recording(gpu);
}

void replay_on(Cpu, void*) {}
template <AnyGpu Gpu>
void replay_on(Gpu gpu, void* graph) {
  minima::replay(gpu, graph);
}

void forget_on(Cpu, void*) {}
template <AnyGpu Gpu>
void forget_on(Gpu gpu, void* graph) {
  forget_recording(gpu, graph);
}

}  // namespace

Recording::Recording(const MemoryPool& pool, const std::function<void()>& work)
    : pool_(pool),
      graph_(on_device(pool.device(), [&](auto device) { return record(device, pool, work); }),
             [device = pool.device()](void* graph) {
               on_device(device, [&](auto tag) { forget_on(tag, graph); });
             }) {}

void Recording::replay() const {
  on_device(pool_.device(), [&](auto device) { replay_on(device, graph_.get()); });
}

}  // namespace minima
