/// Streams, events and graphs. Queued work runs when somebody waits for it, and then only what must: the stream's own work up to
/// there, and what the events in it wait for.
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "core/error.hpp"
#include "tests/emulated/device/runtime.hpp"

namespace minima::emulated {

struct Graph {
  std::vector<std::function<void()>> work;
};
struct GraphExec {
  std::shared_ptr<const Graph> graph;  // a launch that is still queued outlives the executable
};

struct Capture {
  cudaStreamCaptureMode mode;
  std::thread::id thread;
  bool valid = true;
  Graph graph;
};

struct Stream {
  unsigned flags = 0;
  u64 queued = 0, done = 0;
  std::deque<std::function<void()>> work;
  std::unique_ptr<Capture> capture;
};

struct Event {
  Stream* stream = nullptr;  ///< where it was recorded last
  u64 place = 0;             ///< done when the stream has done so much
  bool asked = false;
};

namespace {

std::recursive_mutex streams_mutex;
thread_local cudaError_t last_error = cudaSuccess;
thread_local cudaStreamCaptureMode heeded = cudaStreamCaptureModeGlobal;
i64 waited = 0, called = 0;

std::set<Stream*>& streams() {
  static std::set<Stream*>& all = *new std::set<Stream*>;
  return all;
}
std::set<Event*>& events() {
  static std::set<Event*>& all = *new std::set<Event*>;
  return all;
}

/// Shared memory that kernels have asked for.
std::map<const void*, std::size_t>& allowed() {
  static std::map<const void*, std::size_t>& all = *new std::map<const void*, std::size_t>;
  return all;
}
std::size_t allowed_shared(const void* kernel) {
  const std::lock_guard lock(streams_mutex);
  const auto found = allowed().find(kernel);
  return found == allowed().end() ? 48 << 10 : found->second;
}

std::set<GraphExec*>& executables() {
  static std::set<GraphExec*>& all = *new std::set<GraphExec*>;
  return all;
}

/// Does the stream's first `count` pieces of work.
void drain(Stream& stream, u64 count) {
  const Access access;
  while (stream.done < count) {
    const auto work = std::move(stream.work.front());
    stream.work.pop_front();
    ++stream.done;
    work();
  }
}

/// Whether the stream (null: any of them) is being captured, so that nobody can wait for it; the capture is spoiled.
bool captured(Stream* stream) {
  bool any = false;
  for (Stream* each : streams())
    if (each->capture && (!stream || each == stream)) {
      each->capture->valid = false;
      any = true;
    }
  return any;
}

}  // namespace

cudaError_t done(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

cudaError_t enqueue(cudaStream_t stream, std::function<void()> work) {
  const std::lock_guard lock(streams_mutex);
  if (!streams().contains(stream)) return done(cudaErrorInvalidResourceHandle);
  ++called;
  if (Capture* capture = stream->capture.get()) {
    if (!capture->valid) return done(cudaErrorStreamCaptureInvalidated);
    capture->graph.work.push_back(std::move(work));
    return cudaSuccess;
  }
  stream->work.push_back(std::move(work));
  ++stream->queued;
  return cudaSuccess;
}

bool spoils_capture() {
  const std::lock_guard lock(streams_mutex);
  bool refused = false;
  for (Stream* stream : streams()) {
    Capture* const capture = stream->capture.get();
    if (!capture) continue;
    const bool own = capture->thread == std::this_thread::get_id();
    if (own ? capture->mode == cudaStreamCaptureModeRelaxed ||
                  heeded == cudaStreamCaptureModeRelaxed
            : capture->mode != cudaStreamCaptureModeGlobal || heeded != cudaStreamCaptureModeGlobal)
      continue;
    capture->valid = false;
    refused = true;
  }
  return refused;
}

i64 waits() {
  const std::lock_guard lock(streams_mutex);
  return waited;
}
i64 calls() {
  const std::lock_guard lock(streams_mutex);
  return called;
}

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorInsufficientDriver:
      return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    case cudaErrorNoKernelImageForDevice:
      return "no kernel image is available for execution on the device";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorInvalidResourceHandle:
      return "invalid resource handle";
    case cudaErrorNotReady:
      return "device not ready";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated:
      return "operation failed due to a previous error during capture";
    case cudaErrorStreamCaptureUnmatched:
      return "capture was not initiated in this stream";
    case cudaErrorStreamCaptureIsolation:
      return "dependency created on uncaptured work in another stream";
    case cudaErrorStreamCaptureWrongThread:
      return "attempt to terminate a thread-local capture sequence from another thread";
    case cudaErrorLaunchFailure:
      break;
  }
  return "unspecified launch failure";
}

cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  const std::lock_guard lock(streams_mutex);
  streams().insert(*stream = new Stream{flags, 0, 0, {}, {}});
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const std::lock_guard lock(streams_mutex);
  if (const cudaError_t error = cudaStreamSynchronize(stream); error != cudaSuccess) return error;
  for (Event* event : events())
    if (event->stream == stream) event->stream = nullptr;
  streams().erase(stream);
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const std::lock_guard lock(streams_mutex);
  if (!streams().contains(stream)) return done(cudaErrorInvalidResourceHandle);
  if (captured(stream)) return done(cudaErrorStreamCaptureUnsupported);
  ++waited;
  drain(*stream, stream->queued);
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  const std::lock_guard lock(streams_mutex);
  if (captured(nullptr)) return done(cudaErrorStreamCaptureUnsupported);
  ++waited;
  for (Stream* stream : streams()) drain(*stream, stream->queued);
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  const std::lock_guard lock(streams_mutex);
  events().insert(*event = new Event);
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const std::lock_guard lock(streams_mutex);
  if (events().erase(event) == 0) return done(cudaErrorInvalidResourceHandle);
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const std::lock_guard lock(streams_mutex);
  if (!events().contains(event) || !streams().contains(stream))
    return done(cudaErrorInvalidResourceHandle);
  if (captured(stream)) return done(cudaErrorStreamCaptureUnsupported);
  *event = {stream, stream->queued, false};
  return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  const std::lock_guard lock(streams_mutex);
  if (!events().contains(event)) return done(cudaErrorInvalidResourceHandle);
  if (spoils_capture()) return done(cudaErrorStreamCaptureUnsupported);
  if (!event->stream || event->stream->done >= event->place) return cudaSuccess;
  if (!std::exchange(event->asked, true)) return cudaErrorNotReady;
  return cudaEventSynchronize(event);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const std::lock_guard lock(streams_mutex);
  if (!events().contains(event)) return done(cudaErrorInvalidResourceHandle);
  if (spoils_capture()) return done(cudaErrorStreamCaptureUnsupported);
  if (!event->stream || event->stream->done >= event->place) return cudaSuccess;
  ++waited;
  drain(*event->stream, event->place);
  return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const std::lock_guard lock(streams_mutex);
  if (!events().contains(event)) return done(cudaErrorInvalidResourceHandle);
  if (captured(stream)) return done(cudaErrorStreamCaptureIsolation);
  // What the event means now; it may be recorded anew or destroyed before the stream gets there.
  Stream* const other = event->stream;
  const u64 place = event->place;
  return enqueue(stream, [=] {
    if (other && streams().contains(other)) drain(*other, place);
  });
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  if (bytes == 0) return cudaSuccess;
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if (on_device(to, bytes) != to_device || on_device(from, bytes) != from_device)
    return done(cudaErrorInvalidValue);
  const auto at = reinterpret_cast<std::uintptr_t>(to),
             source = reinterpret_cast<std::uintptr_t>(from);
  if (at < source + bytes && source < at + bytes) return done(cudaErrorInvalidValue);  // undefined
  const bool pageable =
      (!from_device && !pinned(from, bytes)) || (!to_device && !pinned(to, bytes));
  if (pageable && captured(stream)) return done(cudaErrorStreamCaptureUnsupported);
  std::function<void()> work;
  if (!from_device && !pinned(from, bytes)) {
    // Pageable memory is staged before the call returns.
    const auto first = static_cast<const std::byte*>(from);
    const auto staged = std::make_shared<std::vector<std::byte>>(first, first + bytes);
    work = [=] { std::memcpy(to, staged->data(), bytes); };
  } else {
    work = [=] { std::memcpy(to, from, bytes); };
  }
  if (const cudaError_t error = enqueue(stream, std::move(work)); error != cudaSuccess)
    return error;
  // A copy to pageable memory returns when it is done.
  return !to_device && !pinned(to, bytes) ? cudaStreamSynchronize(stream) : cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* block, int value, std::size_t bytes, cudaStream_t stream) {
  if (bytes == 0) return cudaSuccess;
  if (!on_device(block, bytes)) return done(cudaErrorInvalidValue);
  return enqueue(stream, [=] { std::memset(block, value, bytes); });
}

cudaError_t set_attribute(const void* kernel, cudaFuncAttribute, int value) {
  if (value < 0 || value > machine().shared_bytes) return done(cudaErrorInvalidValue);
  const std::lock_guard lock(streams_mutex);
  allowed()[kernel] = static_cast<std::size_t>(value);
  return cudaSuccess;
}

cudaError_t start(Kernel kernel, cudaStream_t stream) {
  const dim3 grid = kernel.grid, size = kernel.size;
  const bool valid = grid.x > 0 && grid.y > 0 && grid.z > 0 && grid.x <= 0x7fffffffu &&
                     grid.y <= 65535 && grid.z <= 65535 && size.x > 0 && size.y > 0 && size.z > 0 &&
                     size.x <= 1024 && size.y <= 1024 && size.z <= 64 &&
                     u64{size.x} * size.y * size.z <= 1024;
  if (!machine().has_kernels) return done(cudaErrorNoKernelImageForDevice);
  if (!valid) return done(cudaErrorInvalidConfiguration);
  if (kernel.shared_bytes > allowed_shared(kernel.code)) return done(cudaErrorInvalidValue);
  return enqueue(stream, [kernel = std::move(kernel)] { emulated::run(kernel); });
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  const std::lock_guard lock(streams_mutex);
  if (!streams().contains(stream)) return done(cudaErrorInvalidResourceHandle);
  if (stream->capture) return done(cudaErrorInvalidValue);
  stream->capture.reset(new Capture{mode, std::this_thread::get_id(), true, {}});
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const std::lock_guard lock(streams_mutex);
  *graph = nullptr;
  if (!streams().contains(stream)) return done(cudaErrorInvalidResourceHandle);
  if (!stream->capture) return done(cudaErrorStreamCaptureUnmatched);
  if (stream->capture->mode != cudaStreamCaptureModeRelaxed &&
      stream->capture->thread != std::this_thread::get_id())
    return done(cudaErrorStreamCaptureWrongThread);
  const auto capture = std::move(stream->capture);
  if (!capture->valid) return done(cudaErrorStreamCaptureInvalidated);
  *graph = new Graph(std::move(capture->graph));
  return cudaSuccess;
}

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  std::swap(*mode, heeded);
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph,
                                 unsigned long long) {
  const std::lock_guard lock(streams_mutex);
  if (!graph) return done(cudaErrorInvalidValue);
  executables().insert(*executable = new GraphExec{std::make_shared<const Graph>(*graph)});
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  const std::lock_guard lock(streams_mutex);
  if (!executables().contains(executable)) return done(cudaErrorInvalidValue);
  return enqueue(stream, [graph = executable->graph] {
    for (const auto& work : graph->work) work();
  });
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  const std::lock_guard lock(streams_mutex);
  if (executables().erase(executable) == 0) return done(cudaErrorInvalidValue);
  delete executable;
  return cudaSuccess;
}

}  // namespace minima::emulated
