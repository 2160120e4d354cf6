#include <array>
#include <bit>
#include <optional>
#include <utility>

#include "core/cuda/context.hpp"
#include "core/cuda/copy_ahead.hpp"

namespace minima {
namespace MINIMA_BACKEND {
namespace {

/// Two places in turn: one is computed on while the other is filled, by a stream of its own.
class CopyBeside final : public CopyAhead {
 public:
  explicit CopyBeside(Gpu gpu) : gpu_(gpu), compute_(stream_of(gpu)) {
    check_cuda(cudaStreamCreateWithFlags(&copies_, cudaStreamNonBlocking), "making a stream");
    for (Place& place : places_)
      for (cudaEvent_t* event : {&place.copied, &place.used})
        check_cuda(cudaEventCreateWithFlags(event, cudaEventDisableTiming), "making an event");
  }
  ~CopyBeside() override {
    cudaStreamSynchronize(copies_);  // before the places are somebody else's
    for (Place& place : places_) {
      if (place.here) cudaFreeHost(place.here);
      cudaEventDestroy(place.copied);
      cudaEventDestroy(place.used);
    }
    cudaStreamDestroy(copies_);
  }

  void begin(const Tensor& values) override {
    stream_of(gpu_);
    Place& place = places_[next_];
    const auto bytes = static_cast<std::size_t>(values.bytes());
    // A copy of two batches ago, long done as a rule, reads what is written here.
    check_cuda(cudaEventSynchronize(place.copied), "waiting for a copy");
    if (!place.here || place.there.size() < values.size()) grow(place, values.size());
    std::memcpy(place.here, values.data<i64>(), bytes);
    check_cuda(cudaStreamWaitEvent(copies_, place.used, 0), "a copy ahead");
    check_cuda(
        cudaMemcpyAsync(place.there.raw(), place.here, bytes, cudaMemcpyHostToDevice, copies_),
        "a copy ahead");
    check_cuda(cudaEventRecord(place.copied, copies_), "a copy ahead");
    begun_ = values.size();
  }

  Tensor take() override {
    check(begun_.has_value(), "copy ahead: nothing was begun");
    stream_of(gpu_);
    Place& place = places_[next_];
    next_ = 1 - next_;
    check_cuda(cudaEventRecord(places_[next_].used, compute_), "a copy ahead");
    check_cuda(cudaStreamWaitEvent(compute_, place.copied, 0), "a copy ahead");
    return place.there.rows(0, *std::exchange(begun_, std::nullopt));
  }

 private:
  struct Place {
    void* here = nullptr;  ///< pinned: only from there a copy goes on beside the host
    Tensor there;          ///< of the same size
    cudaEvent_t copied = nullptr, used = nullptr;
  };

  void grow(Place& place, i64 size) {
    const auto room = static_cast<i64>(std::bit_ceil(static_cast<u64>(size)));
    Tensor there = Tensor::empty({room}, DType::i64, device_of(gpu_));
    void* here = nullptr;
    check_cuda(cudaMallocHost(&here, static_cast<std::size_t>(there.bytes())),
               "taking memory of the host");
    std::swap(place.here, here);
    place.there = std::move(there);
    if (here) check_cuda(cudaFreeHost(here), "giving memory back");
    // Queued work may still be using the block for what it was before.
    check_cuda(cudaEventRecord(place.used, compute_), "a copy ahead");
  }

  Gpu gpu_;
  cudaStream_t compute_, copies_ = nullptr;
  std::array<Place, 2> places_;
  std::size_t next_ = 0;      ///< that is filled; the other is computed on
  std::optional<i64> begun_;  ///< its size
};

}  // namespace
}  // namespace MINIMA_BACKEND

template <>
std::unique_ptr<CopyAhead> copy_ahead_on(MINIMA_BACKEND::Gpu gpu) {
  return std::make_unique<MINIMA_BACKEND::CopyBeside>(gpu);
}

}  // namespace minima
