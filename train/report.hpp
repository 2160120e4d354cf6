/// The report of a comparison: one HTML file for people who choose an optimizer by what it costs in
/// memory and time and what it reaches in accuracy.
///
/// The file is complete in itself (no network, no script; its content security policy forbids
/// both) and its charts are inline SVG written here rather than by a chart library: they are text
/// that prints, scales, follows dark and light through one style sheet, can be read aloud, and
/// costs 10 KB where a library costs 200.
#pragma once

#include <string>
#include <vector>

#include "core/files/json.hpp"

namespace minima {

/// The page for the result of `minima compare`: {"data", "model", "training", "machine", "runs"}.
///
/// Runs with the same "spec" are seeds of one entry and are shown as mean ± standard deviation (n − 1). An entry is called by
/// its optimizer, "adamw", "adamw → adafactor", or, where another has that name too, by its folder or report::run_name. What
/// is missing or not finite is shown as "–"; strings are escaped. The page stays below 2 MB for eight optimizers with five
/// seeds and 10,000 steps each: curves are thinned to what can be seen, and of many labels the less frequent are counted
/// together.
std::string report_html(const Json& comparison);

/// The runs, steps and lines of logs that it lacks: "sgd with seed 1 failed: the loss is inf …; 2 other seeds failed too",
/// "lion with seed 2 has not ended; nor did 1 other seed end", "sgd with seed 2: the time was up after 531 of 6,180 steps",
/// "came with seed 1: 3 of 96 steps were skipped …", "runs/mine/metrics.jsonl: 3 lines are damaged and left out".
std::vector<std::string> what_it_lacks(const Json& comparison);

/// What tuning tried, by optimizer: "sgd:lr=0.1: dev accuracy by learning rate  0.0316: 0.21, 0.1: 0.34 (best); spread
/// 0.13; …".
std::vector<std::string> what_was_tuned(const Json& comparison);

/// Of a run's record: "11 of 12 steps were skipped (loss or gradient not finite), the first at step 2"; empty where none was.
std::string skipped_steps(const Json& run);

/// What may help a run whose model takes every text of dev for the same class; empty for any other run.
std::string one_class_advice(const Json& run);

/// That a run's model takes every text of dev for the same class, where it does; else empty.
std::string always_one_class(const Json& run);

/// Of a pre-training's record: that its loss on dev is not below that of guessing among so many tokens; else empty.
std::string no_better_than_guessing(const Json& run, double tokens);

/// A page of the same kind around any content: the report's style sheet, no script, no network.
std::string report_page(const std::string& title, const std::string& content);

}  // namespace minima
