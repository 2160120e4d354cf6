/// What the tests share: where the reference files are, and comparisons that say where two arrays
/// differ most.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "core/rng.hpp"
#include "core/tensor.hpp"

namespace minima::test {

/// Where the sources lie. Only tests/main.cpp knows: the other tests are the same for the compiler in every folder.
std::filesystem::path source_folder();

inline bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != text.npos;
}

inline constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// Ids, [ids] of i64.
inline Tensor ids(const std::vector<i64>& list) { return Tensor::from(list); }

/// Normal numbers of f64, a stream's first ones.
inline Tensor normal(const Shape& shape, std::string_view stream) {
  RandomSequence random(3, stream);
  Tensor x = Tensor::empty(shape, DType::f64);
  for (double& value : x.span<double>()) value = random.normal();
  return x;
}

/// Whether both have one type and shape, and bit for bit the same elements.
inline bool same_bits(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() &&
         std::memcmp(a.raw(), b.raw(), static_cast<std::size_t>(a.bytes())) == 0;
}

/// A file of the reference set: that in MINIMA_REFERENCE alone where it names a folder, else in
/// ../shared/reference, else in the project's tests/golden. Empty when it lacks the file, which is
/// told; the caller skips what needs it.
inline std::filesystem::path reference(const std::string& file) {
  const char* const given = std::getenv("MINIMA_REFERENCE");
  const bool chosen = given && *given;
  const std::filesystem::path set = chosen ? given : source_folder() / "../shared/reference";
  std::vector<std::filesystem::path> folders{set};
  if (!chosen || !std::filesystem::is_directory(set))
    folders.push_back(source_folder() / "tests/golden");
  static const bool told = [&] {
    if (!std::filesystem::is_directory(set))
      MESSAGE("no folder ", set.string(),
              " (MINIMA_REFERENCE): the project's own small set is read");
    return true;
  }();
  static_cast<void>(told);
  for (const std::filesystem::path& folder : folders)
    if (std::filesystem::exists(folder / file)) return folder / file;
  MESSAGE("skipped: no ", file, " in the reference set (MINIMA_REFERENCE)");
  return {};
}

/// The same of a file that another one of the set names: throws Error where it is not there.
inline std::filesystem::path listed_reference(const std::string& file) {
  std::filesystem::path found = reference(file);
  check(!found.empty(), "the reference set names {}, and lacks it", file);
  return found;
}

/// Whether the reference set has all of these files of a folder.
inline bool has_reference(const std::string& folder, std::initializer_list<const char*> files) {
  return std::ranges::all_of(files,
                             [&](const char* file) { return !reference(folder + file).empty(); });
}

/// Does f, one of many cases. What it throws is a failure that names the case, and the others go on.
template <class F>
void try_case(const std::string& name, const F& f) {
  CAPTURE(name);
  try {
    f();
  } catch (const std::exception& error) {
    FAIL_CHECK(std::string(error.what()));
  } catch (const doctest::detail::TestFailureException&) {  // a REQUIRE, which has told what failed
  }
}

/// A data set's folder: under MINIMA_DATA, else ../shared/data. Empty when it is in neither.
inline std::filesystem::path data_set(const std::string& name) {
  const std::filesystem::path source = source_folder();
  const char* chosen = std::getenv("MINIMA_DATA");
  for (const std::filesystem::path& folder :
       {std::filesystem::path(chosen ? chosen : ""), source / "../shared/data"})
    if (!folder.empty() && std::filesystem::exists(folder / name)) return folder / name;
  return {};
}

/// A Python that has these modules ("torch safetensors"): MINIMA_PYTHON, else python3. Empty when it
/// lacks one; the caller says what it skips.
inline std::string python_with(const std::string& modules) {
  const char* chosen = std::getenv("MINIMA_PYTHON");
  const std::string python = chosen ? chosen : "python3";
  const std::string look = fmt::format(
      "'{}' -c 'import importlib.util as u, sys; sys.exit(any(u.find_spec(m) is None for m in "
      "sys.argv[1:]))' {} > /dev/null 2>&1",
      python, modules);
  return std::system(look.c_str()) == 0 ? python : "";
}

/// A folder of a Python package, where MINIMA_PYTHON (else python3) has it. Empty otherwise.
inline std::filesystem::path package_folder(const std::string& package, const std::string& folder) {
  const std::string python = python_with(package);
  if (python.empty()) return {};
  const std::string ask = fmt::format(
      "'{}' -c 'import importlib.util as u; "
      "print(u.find_spec(\"{}\").submodule_search_locations[0], "
      "end=\"\")'",
      python, package);
  std::string answer;
  if (FILE* pipe = popen(ask.c_str(), "r")) {
    char block[4096];
    while (const std::size_t count = std::fread(block, 1, sizeof(block), pipe))
      answer.append(block, count);
    pclose(pipe);
  }
  const std::filesystem::path found = std::filesystem::path(answer) / folder;
  return !answer.empty() && std::filesystem::exists(found) ? found : std::filesystem::path();
}

/// What lies within a share of the value; of 0, only 0. (doctest's Approx alone allows as much of 1 besides: anything, where
/// values are small.)
inline doctest::Approx about(double value, double share = 1e-5) {
  return doctest::Approx(value).epsilon(share).scale(value == 0 ? 1e-300 : 0);
}

struct Tolerance {
  double absolute = 1e-5, relative = 1e-5;
};

/// Checks |actual − expected| ≤ absolute + relative·|expected| everywhere; a failure names the
/// worst element.
inline void check_close(const Tensor& actual, const Tensor& expected, Tolerance tolerance = {}) {
  REQUIRE(actual.shape() == expected.shape());
  const Tensor a = actual.to(DType::f64), e = expected.to(DType::f64);
  double worst = -1;
  i64 at = 0;
  for (i64 i = 0; i < a.size(); ++i) {
    const double x = a.data<double>()[i], y = e.data<double>()[i];
    if (x == y || (std::isnan(x) && std::isnan(y))) continue;
    const double excess = std::abs(x - y) / (tolerance.absolute + tolerance.relative * std::abs(y));
    if (!(excess <= worst)) worst = excess, at = i;
    if (std::isnan(excess)) break;
  }
  if (worst < 0) return;
  CAPTURE(at);
  CAPTURE(a.data<double>()[at]);
  CAPTURE(e.data<double>()[at]);
  INFO("error as a multiple of the tolerance");
  CHECK(worst <= 1);
}

}  // namespace minima::test
