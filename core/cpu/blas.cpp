#include "core/cpu/blas.hpp"

#include <dlfcn.h>

#include <cstdlib>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "core/error.hpp"

namespace minima::blas {
namespace {

enum { kRowMajor = 101, kNoTranspose = 111, kTranspose = 112 };

using Sgemm = void (*)(int, int, int, int, int, int, float, const float*, int, const float*, int,
                       float, float*, int);

struct Library {
  Info info;
  Sgemm sgemm = nullptr;
};

struct Choices {
  bool core = std::getenv("OPENBLAS_CORETYPE") != nullptr;
  bool library = std::getenv("MINIMA_BLAS") != nullptr;
};

/// The user's: as they were before load() set any itself.
const Choices& choices() {
  static const Choices first;
  return first;
}

/// Chooses OpenBLAS's kernel before it is loaded; returns whether the user had chosen already.
bool choose_core() {
  if (choices().core) return true;
  switch (vector_unit()) {
    case VectorUnit::avx512:
      setenv("OPENBLAS_CORETYPE", "SkylakeX", 1);
      break;
    case VectorUnit::avx2:
      setenv("OPENBLAS_CORETYPE", "Haswell", 1);
      break;
    case VectorUnit::base:
      break;  // its own detection is right for old processors
  }
  return false;
}

Library load() {
  Library library;
  library.info.core_by_user = choose_core();
  const char* const given = std::getenv("OPENBLAS_NUM_THREADS");
  const std::optional<std::string> threads_by_user =
      given ? std::optional<std::string>(given) : std::nullopt;
  setenv("OPENBLAS_NUM_THREADS", "1", 1);  // no pool of its own beside ours

  std::vector<std::string> candidates{"libopenblas.so.0", "libopenblas.so"};
  library.info.library_by_user = choices().library;
  if (choices().library) candidates = {std::getenv("MINIMA_BLAS")};
  void* handle = nullptr;
  std::string reasons;
  for (const std::string& name : candidates) {
    handle = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    library.info.library = name;
    if (handle) break;
    reasons += fmt::format("\n  {}", dlerror());
  }
  // For it alone: a program that this one starts would take it for the user's choice.
  if (!library.info.core_by_user) unsetenv("OPENBLAS_CORETYPE");
  if (threads_by_user)
    setenv("OPENBLAS_NUM_THREADS", threads_by_user->c_str(), 1);
  else
    unsetenv("OPENBLAS_NUM_THREADS");
  if (!handle)
    fail_at_run_time(
        "blas: OpenBLAS cannot be loaded; install libopenblas0-pthread, or name a library with "
        "MINIMA_BLAS=path:{}",
        reasons);

  std::string prefix;
  auto symbol = [&](const char* name) { return dlsym(handle, (prefix + name).c_str()); };
  if (!symbol("cblas_sgemm")) prefix = "scipy_";
  library.sgemm = reinterpret_cast<Sgemm>(symbol("cblas_sgemm"));
  if (!library.sgemm) fail_at_run_time("blas: {} has no cblas_sgemm", library.info.library);

  if (auto set = reinterpret_cast<void (*)(int)>(symbol("openblas_set_num_threads"))) set(1);
  auto text = [&](const char* name) -> std::string {
    auto get = reinterpret_cast<const char* (*)()>(symbol(name));
    return get ? get() : "unknown";
  };
  library.info.version = text("openblas_get_config");
  library.info.core = text("openblas_get_corename");
  Dl_info where{};
  if (dladdr(reinterpret_cast<void*>(library.sgemm), &where) && where.dli_fname)
    library.info.library = where.dli_fname;
  return library;
}

int counted(i64 size) {
  constexpr int most = std::numeric_limits<int>::max();
  check(size <= most, "blas: a size of {}; OpenBLAS counts to {}", size, most);
  return static_cast<int>(size);
}

const Library& library() {
  static const Library loaded = load();
  return loaded;
}

}  // namespace

const Info& info() { return library().info; }

bool chosen_by_user() { return choices().core || choices().library; }

VectorUnit vector_unit_of(const std::string& core) {
  for (const char* wide : {"skylakex", "cooperlake", "sapphirerapids"})
    if (strcasecmp(core.c_str(), wide) == 0) return VectorUnit::avx512;
  for (const char* middle : {"haswell", "zen", "excavator"})
    if (strcasecmp(core.c_str(), middle) == 0) return VectorUnit::avx2;
  return VectorUnit::base;
}

void sgemm(bool transpose_a, bool transpose_b, i64 m, i64 n, i64 k, float alpha, const float* a,
           i64 lda, const float* b, i64 ldb, float beta, float* c, i64 ldc) {
  library().sgemm(kRowMajor, transpose_a ? kTranspose : kNoTranspose,
                  transpose_b ? kTranspose : kNoTranspose, counted(m), counted(n), counted(k),
                  alpha, a, counted(lda), b, counted(ldb), beta, c, counted(ldc));
}

}  // namespace minima::blas
