/// The table of what a classifier says.
#include "train/predictions.hpp"

#include "data/readers/reader.hpp"
#include "tests/support.hpp"

using namespace minima;

TEST_CASE("a table of predictions is read back as the texts that it was made of") {
  const std::vector<Example> examples{
      {"plain", 0}, {"a, \"b\"\r\nc", 1}, {"", 0, "x"}, {"tab\tand \\", 1, ","}};
  const std::vector<std::string> names{"no, never", "yes"};
  const Tensor logits =
      Tensor::from(std::vector<float>{1, 0, 0, 100, -1000, 1000, 2, 2}).reshape({4, 2});
  const std::string table =
      predictions_header(true) + predictions_rows(logits, examples, names, true);
  const std::vector<Row> rows =
      parse_rows(table, Format::csv, "predictions.csv", {.pair_column = "pair"});
  REQUIRE(rows.size() == 4);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    CHECK(rows[i].text == examples[i].text);
    CHECK(rows[i].pair == examples[i].pair);
    CHECK(rows[i].label == names[static_cast<std::size_t>(examples[i].label)]);
  }
  const std::vector<Row> said =
      parse_rows(table, Format::csv, "predictions.csv",
                 {.label_column = "predicted", .text_column = "probability"});
  const char* const predicted[] = {"no, never", "yes", "yes", "no, never"};
  const char* const probability[] = {"0.731059", "1", "1", "0.5"};
  for (std::size_t i = 0; i < said.size(); ++i) {
    CHECK(said[i].label == predicted[i]);
    CHECK(said[i].text == probability[i]);
  }
  CHECK(predictions_header(false) == "label,predicted,probability,text\n");
  CHECK_THROWS_AS(predictions_rows(logits, {}, names, false), Error);
  CHECK_THROWS_WITH_AS(predictions_rows(logits, examples, {"no"}, false),
                       "class 1 has no name among the 1 that are given", Error);
}
