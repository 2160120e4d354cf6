/// After every test case the emulated device is asked whether anything was written behind a block.
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>

#include "tests/device/device.hpp"

using namespace minima;

namespace {

struct CheckBounds : doctest::IReporter {
  explicit CheckBounds(const doctest::ContextOptions&) {}

  void test_case_start(const doctest::TestCaseData& test) override { name_ = test.m_name; }
  void test_case_end(const doctest::CurrentTestCaseStats&) override {
    if (test::kDevice.kind != Device::Kind::emulated) return;
    try {
      emulated::check_bounds();
    } catch (const Error& error) {
      std::fprintf(stderr, "%s: %s\n", name_, error.what());
      std::_Exit(1);
    }
  }

  void report_query(const doctest::QueryData&) override {}
  void test_run_start() override {}
  void test_run_end(const doctest::TestRunStats&) override {}
  void test_case_reenter(const doctest::TestCaseData&) override {}
  void test_case_exception(const doctest::TestCaseException&) override {}
  void subcase_start(const doctest::SubcaseSignature&) override {}
  void subcase_end() override {}
  void log_assert(const doctest::AssertData&) override {}
  void log_message(const doctest::MessageData&) override {}
  void test_case_skipped(const doctest::TestCaseData&) override {}

 private:
  const char* name_ = "";
};
REGISTER_LISTENER("bounds", 1, CheckBounds);

}  // namespace
