#include "train/report.hpp"

#include <fmt/format.h>

#include "train/report/parts.hpp"
#include "train/report_style.hpp"

namespace minima {

std::string report_page(const std::string& title, const std::string& content) {
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
      "'unsafe-inline'\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n<style>{}</style>\n"
      "</head>\n<body>\n<main>\n{}</main>\n</body>\n</html>\n",
      html::escaped(title), kReportStyle, content);
}

std::string report_html(const Json& json) {
  using namespace report;
  const Comparison comparison = read(json);
  std::string content = header(comparison);
  if (!comparison.entries.empty()) {
    content += results_section(comparison) + curves_section(comparison) +
               watching_section(comparison) + state_section(comparison) +
               confusion_section(comparison) + worst_section(comparison);
  }
  return report_page("minima: " + title(comparison), content + setup_section(comparison));
}

}  // namespace minima
