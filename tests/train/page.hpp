/// What tests ask of a report's page.
#pragma once

#include <doctest/doctest.h>

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support.hpp"

namespace minima::test {

inline std::size_t count(const std::string& text, std::string_view part) {
  std::size_t n = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

/// The page without its style sheet.
inline std::string content(const std::string& page) { return page.substr(page.find("</style>")); }

/// The first element that is closed in the wrong place or not at all; empty where all is well.
inline std::string unbalanced(const std::string& page) {
  const std::set<std::string> without_end = {"!doctype", "meta", "br"};
  std::vector<std::string> open;
  for (auto at = page.find('<'); at != std::string::npos; at = page.find('<', at + 1)) {
    const auto end = page.find('>', at);
    if (end == std::string::npos) return "a '<' without '>'";
    std::string tag = page.substr(at + 1, end - at - 1);
    if (tag.ends_with('/')) continue;
    const bool closes = tag.starts_with('/');
    tag = tag.substr(closes ? 1 : 0, tag.find_first_of(" \n") - (closes ? 1 : 0));
    if (without_end.contains(tag)) continue;
    if (!closes) {
      open.push_back(tag);
    } else if (open.empty() || open.back() != tag) {
      return "</" + tag + ">" + (open.empty() ? "" : " inside <" + open.back() + ">");
    } else {
      open.pop_back();
    }
  }
  return open.empty() ? "" : "<" + open.back() + ">";
}

inline void check_page(const std::string& page) {
  CHECK(unbalanced(page) == "");
  CHECK(page.size() < 2'000'000);
  const std::string text = content(page);
  for (const char* not_a_number : {"nan", "NaN", "inf ", "inf\"", "inf<"})
    CHECK_FALSE(contains(text, not_a_number));
  for (const char* from_elsewhere :
       {"http:", "https:", "//", "@import", "url(h", "<script", "<link"})
    CHECK_FALSE(contains(page, from_elsewhere));
}

/// The value of every <data> element, in order.
inline std::vector<double> data_values(const std::string& page) {
  std::vector<double> out;
  const std::string mark = "<data value=\"";
  for (auto at = page.find(mark); at != std::string::npos; at = page.find(mark, at + 1))
    out.push_back(std::stod(page.substr(at + mark.size())));
  return out;
}

}  // namespace minima::test
