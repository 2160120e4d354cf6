/// minima doctor: what this machine is, what it reaches, and what stands in its way.
#include "core/code_map.hpp"
#include "core/devices.hpp"
#include "examples/minima/options.hpp"
#include "examples/minima/verbs.hpp"
#include "train/machine.hpp"

namespace minima {
namespace {

struct Measurements {
  double peak_one, peak_all, gemm_one, gemm_all;  // 10⁹ operations a second
  double bandwidth;                               // 10⁹ bytes a second
  double product_error;
};

Measurements measure(int threads) {
  const double peak_one = measure_peak_gflops(1), gemm_one = measure_gflops(1);
  return {peak_one,
          threads == 1 ? peak_one : measure_peak_gflops(threads),
          gemm_one,
          threads == 1 ? gemm_one : measure_gflops(threads),
          measure_bandwidth(),
          worst_product_error()};
}

/// What keeps the machine from its speed, each with the way out.
std::vector<std::string> warnings(const MachineInfo& machine, const Measurements& measured) {
  std::vector<std::string> list;
  const VectorUnit kernel = blas::vector_unit_of(machine.blas.core);
  const std::string another = "name another OpenBLAS with MINIMA_BLAS=path";
  if (machine.unit < machine.widest_unit) {
    list.push_back(
        fmt::format("the processor has {}, and {} is used; MINIMA_VECTOR_UNIT is set: unset it",
                    name(machine.widest_unit), name(machine.unit)));
  } else if (!machine.in_blocks && kernel < machine.widest_unit) {
    list.push_back(
        fmt::format("OpenBLAS computes with its kernel '{}' ({}), the processor has {}; {}",
                    machine.blas.core, name(kernel), name(machine.widest_unit),
                    machine.blas.core_by_user ? "OPENBLAS_CORETYPE is set: unset it"
                                              : "install a newer OpenBLAS, or " + another));
  } else if (measured.gemm_one < 0.6 * measured.peak_one) {
    list.push_back(fmt::format(
        "products reach {:.0f} % of the arithmetic's peak; 80 % and more are usual: is other work "
        "running here? if not, {}",
        100 * measured.gemm_one / measured.peak_one,
        machine.in_blocks ? "compare with OpenBLAS: MINIMA_BLAS=libopenblas.so.0" : another));
  }
  if (machine.threads > machine.cores)
    list.push_back(
        fmt::format("{} threads share {} cores; lower --threads", machine.threads, machine.cores));
  if (machine.huge_pages == "never")
    list.push_back(
        "huge pages are off, which costs large models a few percent; as root: "
        "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled");
  return list;
}

void print(const MachineInfo& machine, const Measurements& measured) {
  const auto row = [](const char* what, const std::string& text) {
    fmt::print("{:<12} {}\n", what, text);
  };
  const auto speed = [](double gemm, double peak) {
    return fmt::format("{:.0f} GFLOP/s, {:.0f} % of the peak of {:.0f}", gemm, 100 * gemm / peak,
                       peak);
  };
  const blas::Info& blas = machine.blas;
  row("minima", machine.minima);
  row("processor",
      fmt::format("{}, {} core{}, {:.1f} GB of memory", machine.processor, machine.cores,
                  machine.cores == 1 ? "" : "s", static_cast<double>(machine.memory) / (1 << 30)));
  row("vector unit",
      machine.unit == machine.widest_unit
          ? name(machine.unit)
          : fmt::format("{}; the processor has {}", name(machine.unit), name(machine.widest_unit)));
  row("threads", std::to_string(machine.threads));
  row("BLAS", blas.library);
  if (blas.library != "none")
    row("", fmt::format("{}, kernel {}{}", blas.version, blas.core,
                        blas.core_by_user ? " (by OPENBLAS_CORETYPE)" : ""));
  row("products", machine.in_blocks ? "by minima's own code" : "by OpenBLAS");
  row("", "1 thread: " + speed(measured.gemm_one, measured.peak_one));
  if (machine.threads > 1)
    row("",
        fmt::format("{} threads: ", machine.threads) + speed(measured.gemm_all, measured.peak_all));
  row("", fmt::format("worst error {:.2f} roundings (limit {})", measured.product_error,
                      kProductErrorLimit));
  row("8-bit state", fmt::format("loops in {}", block8::loops().name));
  row("memory", fmt::format("{:.1f} GB/s", measured.bandwidth));
  row("huge pages", machine.huge_pages);
  row("CUDA", machine.cuda);
}

/// What stands between this program and a GPU; empty where nothing does.
std::string cuda_error() {
  try {
    require_device({Device::Kind::cuda, 0});
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

void doctor(const CommonOptions& common) {
  common.apply();
  MachineInfo machine = describe_machine();
  if (const std::string error = cuda_error(); !error.empty()) machine.cuda = error;
  const Measurements measured = measure(machine.threads);
  const std::vector<std::string> list = warnings(machine, measured);
  if (common.json) {
    Json json = machine.to_json();
    json["peak_gflops"] = {{"one_thread", measured.peak_one}, {"all_threads", measured.peak_all}};
    json["gflops"] = {{"one_thread", measured.gemm_one}, {"all_threads", measured.gemm_all}};
    json["block8_loops"] = block8::loops().name;
    json["bandwidth"] = measured.bandwidth;
    json["product_error"] = measured.product_error;
    json["warnings"] = list;
    fmt::print("{}\n", json.dump(2));
  } else {
    print(machine, measured);
    for (const std::string& warning : list) fmt::print("warning      {}\n", warning);
  }
  if (!(measured.product_error <= kProductErrorLimit))
    fail_at_run_time(
        "doctor: {} computes wrong products (error {:.3g} roundings, limit {}); "
        "choose another kernel with OPENBLAS_CORETYPE or another library with MINIMA_BLAS=path",
        machine.in_blocks
            ? "minima's own code"
            : fmt::format("the kernel '{}' of {}", machine.blas.core, machine.blas.library),
        measured.product_error, kProductErrorLimit);
}

}  // namespace

void add_doctor(CLI::App& app) {
  CLI::App& verb = *app.add_subcommand("doctor", "what this machine has and what it reaches");
  const auto common = std::make_shared<CommonOptions>();
  verb.add_option("--threads", common->threads, "threads that compute (0: all cores)");
  verb.add_flag("--json", common->json, "one JSON document on standard output, nothing else");
  verb.callback([common] { doctor(*common); });
}

}  // namespace minima
