/// Charts by themselves: where lines, cells and names stand.
#include "train/chart.hpp"

#include <algorithm>
#include <set>

#include "tests/support.hpp"

using namespace minima;
using test::contains;
using test::kNaN;

TEST_CASE("a heat map of many steps keeps its largest values") {
  std::vector<double> steps, values(5000, 1e-4);
  for (int i = 0; i < 5000; ++i) steps.push_back(20.0 * i);
  values[1234] = 0.9;
  const std::string svg =
      chart::heat_map({"h", "a", "b"}, {"step"}, "ratio", steps, {{"g", "w", values}}, 1e-4, 0.9);
  CHECK(contains(svg, "class=\"heat h11\" d=\"M22 0h1\""));  // 1234/5000 of 90 columns
  CHECK(svg.size() < 5000);
}

TEST_CASE("the names of changes stand above the plot, each at the right of its line") {
  const auto drawn = [](const std::vector<chart::Mark>& marks) {
    return chart::lines({"c", "a", "b"}, {"step"}, {}, {{.name = "s", .line = {{0, 1}, {100, 2}}}},
                        {}, marks);
  };
  const std::string svg =
      drawn({{"→ came", 2, 60}, {"→ lion", 0, 50}, {"→ sgd", 1, 50}, {"→ no", 3, 400}});
  // A row below another where the names would meet; a line begins at its own name.
  const auto at = [&](const std::string& name) {
    const auto end = svg.find("\" class=\"name\">" + name);
    REQUIRE(end != std::string::npos);
    const auto line = svg.rfind("class=\"event\" d=\"M", end);
    double x, top, name_x, name_y;
    REQUIRE(std::sscanf(svg.c_str() + line, "class=\"event\" d=\"M%lf %lf", &x, &top) == 2);
    REQUIRE(std::sscanf(svg.c_str() + svg.find("x=", line), "x=\"%lf\" y=\"%lf", &name_x,
                        &name_y) == 2);
    CHECK(name_x == doctest::Approx(x + 4));
    CHECK(name_y == doctest::Approx(top + 13));
    return name_y;
  };
  CHECK(at("→ lion") == 39);
  CHECK(at("→ sgd") == 56);
  CHECK(at("→ came") == 73);
  CHECK(contains(svg, "y=\"77.0\" width"));  // of the plot, below three rows
  CHECK(contains(drawn({}), "y=\"26.0\" width"));
  CHECK_FALSE(contains(svg, ">→ no<"));
  // What ends before the next begins leaves it the first row.
  CHECK(contains(drawn({{"→ a", 0, 10}, {"→ b", 0, 60}}), "y=\"43.0\" width"));
}

TEST_CASE("a name far from its point is led there, and covers neither markers nor names") {
  std::vector<chart::Cloud> clouds;
  for (int i = 0; i < 8; ++i)
    clouds.push_back(
        {fmt::format("optimizer {}", i), i, {}, {i < 6 ? 7.2 : 0.1 * i, 80 + 0.2 * i}, 0, 2});
  const std::string svg = chart::scatter({"t", "a", "b"}, {"MB", chart::Scale::log}, {"%"}, clouds);
  CHECK(contains(svg, "class=\"leader\""));
  std::set<std::string> places;
  for (const chart::Cloud& cloud : clouds) {
    const auto end = svg.find(">" + cloud.name + "</text>");
    REQUIRE(end != std::string::npos);
    const auto start = svg.rfind("<text", end);
    double x, y;
    REQUIRE(std::sscanf(svg.c_str() + start, "<text x=\"%lf\" y=\"%lf", &x, &y) == 2);
    CHECK(y > 26);  // within the plot
    CHECK(places.emplace(svg.substr(start, svg.find(" class", start) - start)).second);
  }
  // Alone it stands beside its point.
  clouds.resize(1);
  CHECK_FALSE(contains(chart::scatter({"t", "a", "b"}, {"MB"}, {"%"}, clouds), "leader"));
}

TEST_CASE("a chart leaves a gap where a number is missing, and keeps a spike when thinned") {
  std::vector<chart::Point> line;
  for (int i = 0; i < 5000; ++i) line.push_back({double(i), 1.0});
  line[1234].y = 9;
  for (int i = 3000; i < 3100; ++i) line[std::size_t(i)].y = kNaN;
  line[4321].y = kNaN;  // one of the twenty of its bucket
  const std::string svg = chart::lines({"c", "a", "b"}, {}, {}, {{.name = "s", .line = line}});
  const auto at = svg.find("<path class=\"line\"");
  const std::string path = svg.substr(at, svg.find("/>", at) - at);
  CHECK(std::ranges::count(path, 'M') == 3);
  CHECK(path.size() < 12'000);
  // The axis ends at the spike or above: its height is the least of all.
  double highest = 1e9;
  for (auto p = path.find_first_of("ML"); p != std::string::npos;
       p = path.find_first_of("ML", p + 1))
    highest = std::min(highest, std::stod(path.substr(path.find(' ', p))));
  CHECK(highest < 60);
}

TEST_CASE("the numbers of a log scale are written alike, plain or all as powers of ten") {
  const auto drawn = [](double low, double high) {
    return chart::lines({"c", "a", "b"}, {}, {"y", chart::Scale::log},
                        {{.name = "s", .line = {{0, low}, {1, high}}}});
  };
  const std::string far = drawn(1e-5, 1), small = drawn(2e-5, 1e-3), plain = drawn(5e-4, 1);
  for (const char* tick : {">10⁻⁵<", ">10⁻⁴<", ">10⁻³<", ">10⁻²<", ">10⁻¹<", ">1<"})
    CHECK(contains(far, tick));
  for (const char* tick : {">2·10⁻⁵<", ">10⁻⁴<", ">5·10⁻⁴<", ">10⁻³<"})
    CHECK(contains(small, tick));
  for (const char* tick : {">0.001<", ">0.01<", ">0.1<", ">1<"}) CHECK(contains(plain, tick));
}

TEST_CASE("numbers beyond all sense have a place in a chart, and steps in any order a column") {
  const chart::Axis steps{"step", chart::Scale::linear, chart::Ticks::whole};
  for (const double far : {1e17, 1e300, 1e308, 1e-320}) {
    CAPTURE(far);
    const std::vector<std::vector<chart::Point>> curves = {{{far, far}},
                                                           {{1, -far}, {2, far}, {far, 0.5}}};
    for (const std::vector<chart::Point>& line : curves) {
      const std::string svg =
          chart::lines({"c", "a", "b"}, steps, {}, {{.name = "s", .line = line}});
      for (const char* no_place : {"nan", "inf"}) CHECK_FALSE(contains(svg, no_place));
    }
  }
  // On a log scale what is next to nothing stands where 0 does, and has no part in the ticks.
  for (const std::vector<double>& values : {std::vector{5e-324, 0.5, 2.0}, {1e-320}}) {
    std::vector<chart::Point> line;
    for (const double value : values) line.push_back({double(line.size()), value});
    const std::string svg = chart::lines({"c", "a", "b"}, steps, {"nats", chart::Scale::log},
                                         {{.name = "s", .line = line}});
    for (const char* no_place : {"nan", "inf", "⁻³"}) CHECK_FALSE(contains(svg, no_place));
    CHECK(svg.size() < 10'000);
  }
  const std::string svg = chart::heat_map({"h", "a", "b"}, {"step"}, "ratio", {10, 20, 30, 0},
                                          {{"g", "w", {1, 1, 1, 1}}}, 1e-4, 1);
  CHECK(contains(svg, "d=\"M0 0h4\""));
}

TEST_CASE("what is constant is drawn over 0, no share above 100 %, and a size of 0 not below it") {
  const auto drawn = [](double value) {
    return chart::lines({"c", "a", "b"}, {}, {"%"},
                        {{.name = "s", .line = {{1, value}, {2, value}}}});
  };
  CHECK(contains(drawn(100), ">100</text>"));
  CHECK(contains(drawn(100), ">0</text>"));
  CHECK_FALSE(contains(drawn(100), ">120</text>"));
  CHECK_FALSE(contains(drawn(0), ">−"));
  CHECK(contains(drawn(-5), ">−5</text>"));
  const std::string sizes =
      chart::scatter({"t", "a", "b"}, {"MB"}, {"%"},
                     {{"sgd", 0, {}, {0, 50}, 0, 2}, {"sgd:momentum=0", 1, {}, {0, 60}, 0, 2}});
  CHECK_FALSE(contains(sizes, ">−"));
}

TEST_CASE("numbers are drawn at their own size, however small") {
  const auto drawn = [](double first, double last) {
    return chart::lines({"c", "a", "b"}, {}, {"rate"},
                        {{.name = "s", .line = {{1, first}, {2, last}}}});
  };
  CHECK(contains(drawn(2e-5, 2e-5), ">0.000020</text>"));
  CHECK(contains(drawn(1e-9, 2e-9), ">2e-09</text>"));
  CHECK_FALSE(contains(drawn(0, 0), "0.001"));
  CHECK(contains(drawn(1.7904, 1.7904002), ">1.79040020</text>"));
}

TEST_CASE("a chart of many is as high as their names, and each has a place of its own") {
  std::vector<chart::Series> series;
  std::vector<chart::Cloud> clouds;
  for (int i = 0; i < 60; ++i) {
    const std::string name = fmt::format("adamw:lr={}", i);
    series.push_back({.name = name, .style = i, .line = {{1, 2}, {2, 1 + 1e-3 * i}}});
    clouds.push_back({name, i, {}, {1.5, 80 + 0.01 * i}, 0, 2});
  }
  for (const std::string& svg :
       {chart::lines({"c", "a", "b"}, {"step"}, {"nats"}, series, {}, {{"→ lion", 0, 1.5}}),
        chart::scatter({"t", "a", "b"}, {"MB"}, {"%"}, clouds)}) {
    double height;
    REQUIRE(std::sscanf(svg.c_str(), "<svg class=\"chart\" viewBox=\"0 0 480 %lf", &height) == 1);
    std::set<std::pair<double, double>> places;
    for (const chart::Series& one : series) {
      const auto end = svg.find(">" + one.name + "</text>");
      REQUIRE(end != std::string::npos);
      double x, y;
      REQUIRE(std::sscanf(svg.c_str() + svg.rfind("<text", end), "<text x=\"%lf\" y=\"%lf", &x,
                          &y) == 2);
      CHECK(y > 26);
      CHECK(y < height - 30);
      for (const auto& [other_x, other_y] : places)
        CHECK((x != other_x || std::abs(y - other_y) > 16));
      places.emplace(x, y);
    }
  }
}
