/// minima doctor.
#include <fstream>

#include "core/cpu/simd.hpp"
#include "tests/cli/shell.hpp"
#include "tests/support.hpp"

using namespace minima;
using namespace minima::test;

namespace {

/// The number behind a name in /proc/meminfo, in kB there.
i64 kilobytes(const std::string& name) {
  std::ifstream file("/proc/meminfo");
  for (std::string word; file >> word;)
    if (word == name + ":") {
      i64 number = 0;
      file >> number;
      return number;
    }
  return 0;
}

}  // namespace

TEST_CASE("doctor tells what the machine has and reaches, on its page as in --json") {
  const Shell shell;
  const Json json = json_of(shell, "doctor --threads 2 --json");
  CHECK(json["memory"].get<i64>() == 1024 * kilobytes("MemTotal"));
  CHECK(json["threads"] == 2);
  for (const char* key : {"one_thread", "all_threads"}) {
    CAPTURE(key);
    CHECK(json["gflops"][key].get<double>() > 0);
    CHECK(json["peak_gflops"][key].get<double>() > 0);
  }
  CHECK(json["bandwidth"].get<double>() > 0);
  const double error = json["product_error"].get<double>();
  CHECK(error > 0);
  CHECK(error <= 20);

  const Answer page = shell.minima("doctor --threads 2");
  CAPTURE(page.out);
  CHECK(page.code == 0);
  const std::string processor = json["processor"], version = json["minima"],
                    library = json["blas"]["library"];
  for (const std::string& row :
       {"minima       " + version + "\n",
        fmt::format("processor    {}, {} core", processor, json["cores"].get<i64>()),
        fmt::format("{:.1f} GB of memory\n", json["memory"].get<double>() / (1 << 30)),
        std::string("threads      2\n"), "BLAS         " + library + "\n",
        std::string("products     by ") +
            (json["products"] == "minima" ? "minima's own code" : "OpenBLAS") + "\n",
        std::string("\n             1 thread: "), std::string("\n             2 threads: "),
        fmt::format("worst error {:.2f} roundings (limit 20)\n", error)})
    CHECK(contains(page.out, row));
}

TEST_CASE("doctor warns of a vector unit that is not the processor's widest, and says why") {
  const Shell shell;
  if (widest_vector_unit() == VectorUnit::base) return;  // there is none below
  const Answer answer = shell.minima("doctor --threads 1", "", "MINIMA_VECTOR_UNIT=base");
  CHECK(contains(answer.out, "vector unit  base; the processor has avx"));
  CHECK(contains(answer.out, ", and base is used; MINIMA_VECTOR_UNIT is set: unset it\n"));
}
