#include "train/html.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <set>

#include "core/text/utf8.hpp"
#include "tests/support.hpp"

using namespace minima;
using test::kNaN;

TEST_CASE("numbers are typeset for reading") {
  CHECK(html::fixed(1234567.891, 1) == "1,234,567.9");
  CHECK(html::fixed(-1234, 0) == "−1,234");
  CHECK(html::fixed(-0.001, 1) == "0.0");
  CHECK(html::fixed(999, 0) == "999");
  CHECK(html::fixed(kNaN, 1) == "–");
  CHECK(html::significant(0.012345) == "0.0123");
  CHECK(html::significant(502.3) == "502");
  CHECK(html::significant(1234.4) == "1,234");
  CHECK(html::significant(0) == "0");
  CHECK(html::shortest(0.0005) == "0.0005");
  CHECK(html::escaped("a<b>&\"'\x01") == "a&lt;b&gt;&amp;&quot;&#39;\uFFFD");
  CHECK(html::shortened("adamw:lr=1e-3", 20) == "adamw:lr=1e-3");
  CHECK(html::shortened("ääääöööö", 5) == "ää…öö");
  using Names = std::vector<std::string>;
  CHECK(html::shortened(Names{"lion", "ääää switch 25%:lion öööö", "ääää switch 50%:lion öööö"},
                        12) == Names{"lion", "ääää…ch 25%…", "ääää…ch 50%…"});
  // What stands at the beginning is no place to cut out; a character is not half in common.
  CHECK(html::shortened(Names{"adamw:lr=1e-3:weight_decay=0.1", "adamw:lr=3e-3:weight_decay=0.1"},
                        18) == Names{"adamw:lr=1e-3:wei…", "adamw:lr=3e-3:wei…"});
  CHECK(html::shortened(Names{"aaaaä behind and more", "aaaaö behind and more"}, 9) ==
        Names{"aaaaä be…", "aaaaö be…"});
}

TEST_CASE("short names of a grid of options stay apart, and as short as asked for") {
  for (const std::size_t width : {12, 18, 30}) {
    std::vector<std::string> names;
    for (const char* lr : {"1e-3", "3e-3"})
      for (const char* beta : {"0.9", "0.95"})
        for (const char* decay : {"0.1", "0.01", "0"})
          names.push_back(
              fmt::format("adamw:lr={}:beta1={}:weight_decay={}:amsgrad=true", lr, beta, decay));
    names.push_back(names[0]);  // the same stays the same
    const std::vector<std::string> all = html::shortened(names, width);
    CHECK(std::set<std::string>(all.begin(), all.end()).size() == names.size() - 1);
    CHECK(all.back() == all.front());
    for (const std::string& name : all) CHECK(count_characters(name) <= width);
  }
}
