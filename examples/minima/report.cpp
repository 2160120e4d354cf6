/// minima report: one page for runs that were trained apart.
#include "train/report.hpp"

#include <CLI/CLI.hpp>

#include "core/files/file.hpp"
#include "core/files/folder.hpp"
#include "examples/minima/terminal.hpp"
#include "examples/minima/verbs.hpp"
#include "train/checkpoint.hpp"
#include "train/collect.hpp"
#include "train/compare.hpp"

namespace minima {
namespace {

struct ReportVerb {
  std::vector<std::string> runs;
  std::string out;
  bool json = false;

  void run() const {
    if (!out.empty())
      for (const char* file : {"run.json", "metrics.jsonl"})
        check(!is_there(std::filesystem::path(out) / file),
              "--out {}: is the folder of a run, whose record the report would replace; name "
              "another",
              out);
    Json all = collect_runs({runs.begin(), runs.end()});
    if (out.empty() && runs.size() == 1) {  // the run's own page: it is no comparison
      const auto page = std::filesystem::path(runs[0]) / "report.html";
      refuse_foreign(page);
      all["report"] = page.string();
      write_file(page, report_html(all));
    } else {
      const auto folder =
          out.empty() ? std::filesystem::path(runs[0]) / "report" : std::filesystem::path(out);
      for (const char* file : {"comparison.json", "report.html"}) refuse_foreign(folder / file);
      const NewFolders made(folder, folder);
      write_report(all, folder);
    }
    for (const std::string& one : what_it_lacks(all)) print_note("minima: {}\n", one);
    if (json)
      fmt::print("{}\n", all.dump());
    else
      print_text("{}\nreport: {}\n", comparison_table(all), all["report"].get<std::string>());
  }
};

}  // namespace

void add_report(CLI::App& app) {
  CLI::App& verb = *app.add_subcommand("report", "one page for one or many runs");
  const auto options = std::make_shared<ReportVerb>();
  verb.add_option("runs", options->runs, "folders of minima train, pretrain or compare")
      ->required();
  verb.add_option("--out", options->out,
                  "folder for report.html (default: the run's; of many, report/ in the first)");
  verb.add_flag("--json", options->json, "one JSON document on standard output, nothing else");
  verb.callback([options] { options->run(); });
}

}  // namespace minima
