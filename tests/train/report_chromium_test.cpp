/// The report in a real browser: what it parses, whether it complains, and whether everything has
/// room on a telephone and on a desk. Where there is no Chromium, the case says so and passes.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/support.hpp"
#include "tests/train/sample_comparison.hpp"
#include "train/html.hpp"
#include "train/report.hpp"

namespace fs = std::filesystem;
using namespace minima;
using test::contains;

namespace {

std::string read_text(const fs::path& path) {
  std::ostringstream out;
  out << std::ifstream(path).rdbuf();
  return out.str();
}

std::string first_line(const std::string& command) {
  std::string out;
  if (FILE* pipe = popen(command.c_str(), "r")) {
    for (int c = std::fgetc(pipe); c != EOF && c != '\n'; c = std::fgetc(pipe))
      out += static_cast<char>(c);
    while (std::fgetc(pipe) != EOF) continue;
    pclose(pipe);
  }
  return out;
}

class Browser {
 public:
  struct Shown {
    std::string dom, log;
  };

  // In the build folder: a browser packed as a snap cannot read /tmp.
  Browser() : folder_(fs::current_path() / fmt::format("report-chromium-{}", getpid())) {
    fs::create_directories(folder_);
    program_ = first_line(
        "command -v \"${MINIMA_BROWSER:-chromium}\" chromium chromium-browser google-chrome "
        "google-chrome-stable 2>/dev/null");
  }
  ~Browser() {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
  const std::string& program() const { return program_; }

  Shown show(const std::string& page) const {
    std::ofstream(folder_ / "page.html") << page;
    const std::string command = fmt::format(
        "cd '{}' && timeout 60 '{}' --headless --no-sandbox --disable-gpu --disable-dev-shm-usage "
        "--user-data-dir=profile --enable-logging=stderr --window-size=1100,2000 "
        "--virtual-time-budget=1000 --dump-dom 'file://{}/page.html' >dom 2>log </dev/null",
        folder_.string(), program_, folder_.string());
    const int status = std::system(command.c_str());
    CAPTURE(status);
    return {read_text(folder_ / "dom"), read_text(folder_ / "log")};
  }

 private:
  fs::path folder_;
  std::string program_;
};

/// A page that shows `page` in frames of two widths and writes down what is wrong there.
std::string inspecting(const std::string& page) {
  return R"html(<!doctype html><meta charset="utf-8"><body><pre id="result"></pre>
<iframe width="360" height="800" srcdoc=")html" +
         html::escaped(page) + R"html("></iframe>
<iframe width="1100" height="800" srcdoc=")html" +
         html::escaped(page) + R"html("></iframe>
<script>
onload = () => {
  const wrong = [];
  let texts = 0;
  for (const frame of document.querySelectorAll("iframe")) {
    const page = frame.contentDocument;
    const say = (what) => wrong.push(frame.width + ": " + what);
    if (page.documentElement.scrollWidth > frame.width)
      say("the page is " + page.documentElement.scrollWidth + " wide");
    if (page.querySelectorAll("script").length > 0) say("a script");
    for (const svg of page.querySelectorAll("svg.chart")) {
      const box = svg.viewBox.baseVal;
      const names = [];
      for (const text of svg.querySelectorAll("text")) {
        ++texts;
        const b = text.getBBox();
        if (b.x < -1 || b.y < -1 || b.x + b.width > box.width + 1 || b.y + b.height > box.height + 1)
          say("'" + text.textContent + "' is cut off");
        if (!text.classList.contains("name")) continue;
        for (const o of names)
          if (b.x < o.x + o.width && o.x < b.x + b.width && b.y + 4 < o.y + o.height && o.y + 4 < b.y + b.height)
            say("'" + text.textContent + "' covers another name");
        names.push(b);
      }
    }
  }
  document.getElementById("result").textContent = texts + " texts; wrong: " + wrong.join("; ") + ".";
};
</script>)html";
}

}  // namespace

TEST_SUITE("cli") {
  TEST_CASE("a browser shows the report without complaint, with its numbers, and nothing cut off") {
    const Browser browser;
    if (browser.program().empty()) {
      MESSAGE("skipped: neither chromium nor google-chrome is installed");
      return;
    }
    // What must be noticed is noticed.
    const Browser::Shown control =
        browser.show("<p>shown</p><script>console.error('complaint')</script>");
    if (!contains(control.dom, "shown")) {
      MESSAGE("skipped: " << browser.program()
                          << " does not start: " << control.log.substr(0, control.log.find('\n')));
      return;
    }
    REQUIRE(contains(control.log, "CONSOLE"));
    REQUIRE(contains(control.log, "complaint"));

    const std::string script = "<script>alert(1)</script>";
    const Json json = test::sample_comparison(
        {"adamw", "adafactor:lr=1e-3:relative_step=false", "adamw8bit", "sgd"}, {.seeds = 1},
        {script, "delivery"});
    const std::string page = report_html(json);

    const Browser::Shown shown = browser.show(page);
    const auto complaint = shown.log.find("CONSOLE");
    CHECK_MESSAGE(complaint == std::string::npos, shown.log.substr(complaint, 300));
    CHECK(contains(shown.dom,
                   "<title>minima: adamw, adafactor, adamw8bit and sgd on sample</title>"));
    CHECK(contains(shown.dom, "&lt;script&gt;alert(1)&lt;/script&gt;"));
    CHECK_FALSE(contains(shown.dom, script));
    for (const Json& run : json["runs"])
      for (const char* value : {"/state_elements", "/state_bytes", "/step_ms", "/dev/accuracy",
                                "/test/accuracy", "/test/macro_f1", "/test/loss"}) {
        const double number = run[Json::json_pointer(value)].get<double>();
        // As the file has it, but for the rounding of a percentage.
        bool found = false;
        const std::string mark = "<data value=\"";
        for (auto at = shown.dom.find(mark); at != std::string::npos && !found;
             at = shown.dom.find(mark, at + 1))
          found = std::stod(shown.dom.substr(at + mark.size())) ==
                  doctest::Approx(number).epsilon(1e-12);
        CAPTURE(value);
        CAPTURE(number);
        CHECK(found);
      }

    const Json many = test::sample_comparison(
        {"adamw", "adam", "adamw8bit", "adafactor", "sgd", "came", "lion", "adafactor-torch"},
        {.seeds = 2},
        {"a", "b", "c", "d", "e", "a label of very many characters, one after another"});
    // Alone, a name of wide letters has the margin to itself.
    const Json one = test::sample_comparison({"adamw"}, {.seeds = 1}, {"a", "b"});
    for (const std::string& inspected : {page, report_html(many), report_html(one)}) {
      const Browser::Shown result = browser.show(inspecting(inspected));
      CHECK_FALSE(contains(result.log, "CONSOLE"));
      const std::string mark = "<pre id=\"result\">";
      const auto at = result.dom.find(mark) + mark.size();
      const std::string found = result.dom.substr(at, result.dom.find("</pre>", at) - at);
      CAPTURE(found);
      CHECK(found.ends_with(" texts; wrong: ."));
      CHECK_FALSE(found.starts_with("0 "));
    }
  }
}
