// A file for each rule of each format that is read here, breaking it: one error answers it, on one
// line, that names the file, the place and the rule.

#include "core/text/utf8.hpp"
#include "data/readers/reader.hpp"
#include "data/tokenizer_files.hpp"
#include "tests/data/files.hpp"
#include "tests/support.hpp"

namespace minima {
namespace {

struct Bad {
  std::string bytes;
  std::vector<std::string> says;  ///< parts of the message, besides the file's name
};

/// Writes each file and reads it; checks the message. Returns how many there were.
template <class Read>
void check_refused(const std::string& name, const std::vector<Bad>& files, const Read& read) {
  const test::Folder folder;
  for (const Bad& bad : files) {
    const std::string path = folder.write(name, bad.bytes);
    const std::string message = test::error_of([&] { read(path); });
    CAPTURE(bad.bytes.substr(0, 200));
    CAPTURE(message);
    CHECK(test::contains(message, path));
    CHECK(message.find('\n') == message.npos);
    CHECK(find_invalid_utf8(message) == message.npos);
    for (const std::string& part : bad.says) {
      CAPTURE(part);
      CHECK(test::contains(message, part));
    }
  }
  MESSAGE(files.size() << " files like " << name);
}

std::string repeated(const std::string& text, int times) {
  std::string result;
  for (int i = 0; i < times; ++i) result += text;
  return result;
}

const std::string kSpecial = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";

/// A good tokenizer.json; what follows breaks it in one place.
const std::string kJson =
    R"({"version":"1.0","truncation":null,"padding":null,)"
    R"("added_tokens":[{"id":5,"content":"<x>","single_word":false,"lstrip":false,"rstrip":false,)"
    R"("normalized":false,"special":true}],)"
    R"("normalizer":{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,)"
    R"("strip_accents":null,"lowercase":true},)"
    R"("pre_tokenizer":{"type":"BertPreTokenizer"},)"
    R"("post_processor":{"type":"BertProcessing","sep":["[SEP]",3],"cls":["[CLS]",2]},)"
    R"("decoder":{"type":"WordPiece","prefix":"##","cleanup":true},)"
    R"("model":{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##",)"
    R"("max_input_chars_per_word":100,"vocab":{"[PAD]":0,"[UNK]":1,"[CLS]":2,"[SEP]":3,)"
    R"("[MASK]":4}}})";

std::string edited(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  check(at != text.npos, "the good file has no {}", from);
  return text.replace(at, from.size(), to);
}
std::string json_with(const std::string& from, const std::string& to) {
  return edited(kJson, from, to);
}

/// The same with a template for a post-processor.
const std::string kTemplate = edited(
    kJson, R"({"type":"BertProcessing","sep":["[SEP]",3],"cls":["[CLS]",2]})",
    R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"[CLS]","type_id":0}},)"
    R"({"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"[SEP]","type_id":0}}],)"
    R"("pair":[{"SpecialToken":{"id":"[CLS]","type_id":0}},{"Sequence":{"id":"A","type_id":0}},)"
    R"({"SpecialToken":{"id":"[SEP]","type_id":0}},{"Sequence":{"id":"B","type_id":1}},)"
    R"({"SpecialToken":{"id":"[SEP]","type_id":1}}],"special_tokens":{"[CLS]":{"id":"[CLS]",)"
    R"("ids":[2],"tokens":["[CLS]"]},"[SEP]":{"id":"[SEP]","ids":[3],"tokens":["[SEP]"]}}})");
std::string template_with(const std::string& from, const std::string& to) {
  return edited(kTemplate, from, to);
}

}  // namespace

TEST_CASE("each rule of vocab.txt has a file that breaks it and is refused") {
  check_refused("vocab.txt",
                {{"", {"is empty", "one token per line"}},
                 {"[PAD]\n\n[UNK]\n", {":2: the line is empty"}},
                 {kSpecial + "a\n\n", {":7: the line is empty", "the last one too"}},
                 {kSpecial + "a\n\n\n\n", {":7: the line is empty"}},
                 {kSpecial + "a\r\n\r\n", {":7: the line is empty"}},
                 {kSpecial + "a \n", {":6:", "'a '", "begins or ends with a blank"}},
                 {kSpecial + "  \n", {":6:", "begins or ends with a blank"}},
                 {kSpecial + "a\r", {":6:", "'a\\r'", "begins or ends with a blank"}},
                 {"\r\n" + kSpecial, {":1: the line is empty"}},
                 {"\xEF\xBB\xBF" + kSpecial, {":1: begins with a byte order mark", "without one"}},
                 {"\xEF\xBB\xBF", {":1: begins with a byte order mark"}},
                 {kSpecial + "a\nb\na\n", {":8: the token 'a' stands in line 6 already"}},
                 {kSpecial + "[CLS]\n", {":6: the token '[CLS]' stands in line 3 already"}},
                 {kSpecial + "caf\xE9\n", {":6: byte 4 of the line, 0xE9, is not valid UTF-8"}},
                 {kSpecial + "\xC0\x80\n", {":6:", "not valid UTF-8"}},
                 {kSpecial + "\xED\xA0\x80\n", {":6:", "not valid UTF-8"}},
                 {kSpecial + "\xF4\x90\x80\x80\n", {":6:", "not valid UTF-8"}},
                 {kSpecial + "\xE4\xB8", {":6:", "not valid UTF-8"}},
                 {"\xFF\xFE[\0P\0", {"is in UTF-16", "iconv -f UTF-16 -t UTF-8"}},
                 {"[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n", {"has no [PAD]"}},
                 {"[PAD]\n[CLS]\n[SEP]\n[MASK]\na\n", {"has no [UNK]"}},
                 {"[PAD]\n[UNK]\n[SEP]\n[MASK]\na\n", {"has no [CLS]"}},
                 {"[PAD]\n[UNK]\n[CLS]\n[MASK]\na\n", {"has no [SEP]"}},
                 {"[pad]\n[unk]\n[cls]\n[sep]\n[mask]\n", {"has no [PAD]"}}},
                [](const std::string& path) { read_tokenizer(path); });
}

TEST_CASE("each rule of tokenizer.json has a file that breaks it and is refused by name") {
  const auto read = [](const std::string& path) { read_tokenizer(path); };
  const test::Folder folder;
  read(folder.write("good.json", kJson));
  read(folder.write("template.json", kTemplate));
  check_refused(
      "tokenizer.json",
      {{"", {"not valid JSON"}},
       {"[PAD]\n[UNK]\n", {"not valid JSON"}},
       {kJson.substr(0, kJson.size() - 9), {"not valid JSON"}},
       {kJson + "}", {"not valid JSON"}},
       {std::string(1, '\0') + kJson, {"NUL"}},
       {json_with("<x>", "caf\xE9"), {"not valid JSON"}},
       {json_with("<x>", "\\ud800"), {"not valid JSON"}},
       {repeated("[", 300) + repeated("]", 300), {"nested deeper than 256"}},
       {"[]", {"of type array, not an object"}},
       {json_with("\"[UNK]\":1", "\"[UNK]\":1,\"[UNK]\":1"), {"'[UNK]' occurs twice"}},
       {json_with("\"truncation\"", "\"truncate\""), {"'truncate'", "not supported"}},
       {json_with("\"1.0\"", "\"2.0\""), {"version is '2.0'"}},
       {json_with("\"1.0\"", "1"), {"'version' is of type number"}},
       // The model.
       {json_with("\"model\":{", "\"model\":null,\"padding \":{"), {"'padding '"}},
       {json_with("WordPiece\",\"unk", "BPE\",\"unk"), {"the model is \"BPE\"", "only WordPiece"}},
       {json_with("WordPiece\",\"unk", "Unigram\",\"unk"), {"\"Unigram\"", "only WordPiece"}},
       {json_with("WordPiece\",\"unk", "WordLevel\",\"unk"), {"\"WordLevel\""}},
       {json_with("\"unk_token\":", "\"dropout\":0.1,\"unk_token\":"), {"the model", "'dropout'"}},
       {json_with("\"unk_token\":\"[UNK]\",", ""), {"the model has no 'unk_token'"}},
       {json_with("\"unk_token\":\"[UNK]\"", "\"unk_token\":1"), {"'unk_token' is of type number"}},
       {json_with("\"unk_token\":\"[UNK]\"", "\"unk_token\":\"<u>\""), {"has no <u>"}},
       {json_with("\"continuing_subword_prefix\":\"##\",", ""), {"continuing_subword_prefix"}},
       {json_with("prefix\":\"##\",\"max", "prefix\":2,\"max"), {"continuing_subword_prefix"}},
       {json_with("\"max_input_chars_per_word\":100,", ""), {"max_input_chars_per_word"}},
       {json_with(":100", ":0"), {"'max_input_chars_per_word' is 0", "from 1 to 256"}},
       {json_with(":100", ":100000"), {"'max_input_chars_per_word' is 100000"}},
       {json_with(":100", ":1.5"), {"'max_input_chars_per_word' is 1.5"}},
       {json_with(":100", ":\"9\""), {"'max_input_chars_per_word' is \"9\""}},
       {json_with("\"vocab\":{", "\"vocab\":[],\"merges\":{"), {"'merges'"}},
       {json_with(R"("vocab":{"[PAD]":0,"[UNK]":1,"[CLS]":2,"[SEP]":3,"[MASK]":4})",
                  "\"vocab\":{}"),
        {"'vocab' is empty"}},
       {json_with(R"("vocab":{"[PAD]":0,"[UNK]":1,"[CLS]":2,"[SEP]":3,"[MASK]":4})",
                  "\"vocab\":[]"),
        {"'vocab' is of type array"}},
       {json_with("\"[MASK]\":4", "\"[MASK]\":-1"), {"'[MASK]' has id -1", "from 0 to 4"}},
       {json_with("\"[MASK]\":4", "\"[MASK]\":5"), {"'[MASK]' has id 5", "from 0 to 4"}},
       {json_with("\"[MASK]\":4", "\"[MASK]\":4.0"), {"'[MASK]' has id 4.0"}},
       {json_with("\"[MASK]\":4", "\"[MASK]\":\"4\""), {"'[MASK]' has id \"4\""}},
       {json_with("\"[MASK]\":4", "\"[MASK]\":99999999999999999999"), {"'[MASK]' has id"}},
       {json_with("\"[MASK]\":4", "\"[MASK]\":3"), {"both have id 3"}},
       {json_with("\"[MASK]\":4", "\"\":4"), {"the token with id 4 is empty"}},
       {json_with("\"[SEP]\":3", "\"sep\":3"), {"has no [SEP]"}},
       // The normalizer and the pre-tokenizer.
       {json_with("BertNormalizer", "Lowercase"), {"normalizer is \"Lowercase\""}},
       {json_with("BertNormalizer", "Sequence"), {"normalizer is \"Sequence\""}},
       {json_with("{\"type\":\"BertNormalizer\",", "{"), {"normalizer"}},
       {json_with("\"lowercase\":true", "\"lowercase\":\"yes\""),
        {"'lowercase' is of type string"}},
       {json_with("\"clean_text\":true", "\"clean_text\":1"), {"'clean_text' is of type number"}},
       {json_with("\"clean_text\"", "\"clean\""), {"the normalizer has 'clean'"}},
       {json_with("{\"type\":\"BertPreTokenizer\"}", "null"), {"'pre_tokenizer'"}},
       {json_with("BertPreTokenizer", "Whitespace"), {"pre_tokenizer is of type 'Whitespace'"}},
       {json_with("\"BertPreTokenizer\"", "\"BertPreTokenizer\",\"x\":1"),
        {"pre_tokenizer has 'x'"}},
       // The post-processor.
       {json_with(R"({"type":"BertProcessing","sep":["[SEP]",3],"cls":["[CLS]",2]})", "null"),
        {"post_processor is missing"}},
       {json_with("BertProcessing", "RobertaProcessing"), {"post_processor"}},
       {json_with("\"sep\":[\"[SEP]\",3],", ""), {"post_processor has no 'sep'"}},
       {json_with("[\"[SEP]\",3]", "[\"[SEP]\"]"), {"'sep' is [\"[SEP]\"]"}},
       {json_with("[\"[SEP]\",3]", "[\"[SEP]\",2]"), {"'[SEP]' is 2, the vocabulary 3"}},
       {json_with("[\"[SEP]\",3]", "[\"[SEP]\",-1]"), {"'sep' is [\"[SEP]\",-1]"}},
       {json_with("[\"[CLS]\",2]", "[\"<s>\",2]"), {"has no <s>"}},
       {template_with("\"single\":[{\"SpecialToken\"", "\"single\":[{\"Special\""), {"'single'"}},
       {template_with("\"type_id\":0}},{\"Seq", "\"type_id\":1}},{\"Seq"),
        {"'single' is not [CLS] A"}},
       {template_with("\"B\",\"type_id\":1", "\"B\",\"type_id\":0"),
        {"'pair' is not [CLS] A [SEP]"}},
       {template_with("\"ids\":[3]", "\"ids\":[3,3]"), {"'ids' is [3,3], not one id"}},
       {template_with("\"ids\":[3]", "\"ids\":[4]"), {"'[SEP]' is 4, the vocabulary 3"}},
       {template_with("\"special_tokens\":{\"[CLS]\"", "\"special_tokens\":{\"<s>\""),
        {"'special_tokens' has no '[CLS]'"}},
       // Added tokens.
       {json_with("\"added_tokens\":[", "\"added_tokens\":{},\"decoders\":["), {"'decoders'"}},
       {json_with("\"lstrip\":false", "\"lstrip\":true"),
        {"added token 0, '<x>'", "'lstrip' is true"}},
       {json_with("\"rstrip\":false", "\"rstrip\":true"), {"'rstrip' is true"}},
       {json_with("\"single_word\":false", "\"single_word\":true"), {"'single_word' is true"}},
       {json_with("\"normalized\":false", "\"normalized\":1"), {"'normalized' is of type number"}},
       {json_with("\"<x>\"", "\"\""), {"added token 0", "is empty"}},
       {json_with("\"<x>\"", "7"), {"added token 0", "'content' is of type number"}},
       {json_with("\"id\":5", "\"id\":7"), {"added token 0", "'id' is 7"}},
       {json_with("\"id\":5", "\"id\":4"), {"both have id 4"}},
       {json_with("<x>", "[MASK]"), {"'[MASK]' has id 5", "5 tokens are there"}},
       {json_with("\"special\":true", "\"role\":true"), {"added token 0 has 'role'"}},
       {json_with("\"padding\":null", "\"padding\":{\"pad_token\":\"<pad>\"}"), {"has no <pad>"}},
       {json_with("\"padding\":null", "\"padding\":{\"pad\":1}"), {"'padding' has 'pad'"}}},
      read);
}

TEST_CASE("a folder's tokenizer files are refused by name") {
  const test::Folder folder;
  const auto refused = [&](const std::string& part) {
    const std::string message = test::error_of([&] { read_tokenizer(folder.path()); });
    CAPTURE(message);
    CHECK(test::contains(message, folder.path()));
    CHECK(test::contains(message, part));
  };
  refused("neither tokenizer.json nor vocab.txt");
  folder.write("vocab.txt", kSpecial);
  for (const auto& [config, part] :
       {std::pair{"{\"do_lower_case\": \"no\"}", "'do_lower_case' is of type string"},
        {"{\"strip_accents\": 1}", "'strip_accents' is of type number"},
        {"[]", "of type array"},
        {"{\"do_lower_case\": tru}", "not valid JSON"},
        {"{\"do_lower_case\": null}", "'do_lower_case' is null"},
        {"{\"cls_token\": null}", "'cls_token' is null"},
        {"{\"cls_token\": 7}", "'cls_token' is 7, not a token"},
        {"{\"cls_token\": {\"content\": \"[CLS]\", \"lstrip\": true}}", "'lstrip' is true"},
        {"{\"cls_token\": \"<s>\"}", "has no <s>"},
        {"{\"tokenizer_class\": \"MPNetTokenizer\"}", "'tokenizer_class' is 'MPNetTokenizer'"},
        {"{\"tokenizer_class\": \"PreTrainedTokenizerFast\"}", "takes a tokenizer.json"},
        {"{\"split_special_tokens\": true}", "'split_special_tokens' is true"},
        {"{\"truncation_side\": \"left\"}", "'truncation_side' is 'left'"},
        {"{\"init_inputs\": [1]}", "'init_inputs' is [1]"},
        {"{\"extra_special_tokens\": 7}", "'extra_special_tokens' is of type number"},
        {"{\"extra_special_tokens\": [7]}", "'extra_special_tokens' is 7, not a token"},
        {"{\"added_tokens_decoder\": []}", "'added_tokens_decoder' is of type array"},
        {"{\"added_tokens_decoder\": {\"x\": {}}}", "'x' is no id"},
        {"{\"added_tokens_decoder\": {\"5\": \"<x>\"}}", "5 is of type string"},
        {"{\"added_tokens_decoder\": {\"5\": {}}}", "has no 'content'"},
        {"{\"added_tokens_decoder\": {\"6\": {\"content\": \"<x>\"}}}", "'<x>' has id 6"}}) {
    folder.write("tokenizer_config.json", config);
    refused(part);
  }
  folder.write("tokenizer_config.json", "{}");
  for (const auto& [tokens, part] : {std::pair{"[]", "of type array"},
                                     {"{\"<x>\": \"5\"}", "'<x>' has id \"5\""},
                                     {"{\"<x>\": -1}", "'<x>' has id -1"},
                                     {"{\"<x>\": 7}", "'<x>' has id 7"},
                                     {"{\"<x>\": 5, \"<y>\": 5}", "both have id 5"}}) {
    folder.write("added_tokens.json", tokens);
    refused(part);
  }
  folder.write("added_tokens.json", "{}");
  folder.write("special_tokens_map.json", "{\"sep_token\": \"</s>\"}");
  refused("has no </s>");
  folder.write("special_tokens_map.json", "{}");
  for (const auto& [from, to] :
       {std::pair{"\"clean_text\":true", "\"clean_text\":false"},
        {"prefix\":\"##\",\"max", "prefix\":\"@\",\"max"},
        {":100", ":9"},
        {"\"unk_token\":\"[UNK]\"", "\"unk_token\":\"[PAD]\""},
        {"[\"[SEP]\",3]", "[\"[PAD]\",0]"}}) {  // BertTokenizer's own, by the folder
    folder.write("tokenizer.json", json_with(from, to));
    refused("PreTrainedTokenizerFast");
  }
  folder.write("tokenizer.json", kJson);
  CHECK(test::contains(test::error_of([&] { read_tokenizer(folder.path(), Casing::cased); }),
                       "--cased and --uncased go with a vocab.txt"));
}

TEST_CASE("each rule of labelled rows has a file that breaks it and is refused") {
  const auto read = [](const std::string& path) { read_rows(path); };
  const std::string tsv = "label\ttext\n0\tgood\n", csv = "label,text\n0,good\n",
                    jsonl = "{\"label\": 0, \"text\": \"good\"}\n";
  check_refused(
      "x.tsv",
      {{"", {"is empty"}},
       {"label\ttext\n", {"has no rows"}},
       {"\xEF\xBB\xBF", {"is empty"}},
       {"0\tgood\n", {":1:", "the header is '0\tgood'"}},
       {"label\tsentence\n0\ta\n", {":1:", "without the column 'text'", "--text-column"}},
       {"Label\tText\n0\ta\n", {":1:", "without the column 'label'; did you mean 'Label'? Name"}},
       {"label,text\n0,a\n",
        {":1:", "the header is 'label,text'", "there are commas", "tabs are expected"}},
       {"Label;Text, raw\n0;a\n", {":1:", "there are semicolons", "say --delimiter ';'"}},
       {"one, two\n0\n", {":1:", "without the column 'label'. Name"}},
       {"label\ttext\ttext\n0\ta\tb\n", {":1:", "'text' twice"}},
       {tsv + "no tab\n", {":3:", "1 field, the header 2"}},
       {tsv + "\n1\tb\n", {":3:", "the line is blank, and others follow; --skip-bad-rows leaves"}},
       {tsv + "1\ta\tb\n", {":3:", "3 fields, the header 2: '1\ta\tb'; --skip-bad-rows leaves"}},
       {tsv + "\ta\n", {":3:", "no label; --skip-bad-rows leaves such rows out"}},
       {"label\ttext\r0\ta\r1\tb\r", {"carriage returns alone", "tr '\\r' '\\n' < FILE"}},
       {"\"label\"\t\"text\"\n\"0\"\t\"a\"\n",
        {":1:", "without the column 'label'; where fields stand in quotes, say --delimiter tab."}},
       {tsv + "1\t\"a\nb\"\n",
        {":4:", "1 field, the header 2: 'b\"'; where fields stand in quotes"}},
       {std::string("l\0a\0b\0", 6), {"begins with a NUL byte", "iconv -f UTF-16LE"}},
       {std::string(2 << 20, '\0'), {"begins with a NUL byte"}},
       {tsv + "1\tcaf\xE9\n", {":3:", "byte 6 of the line, 0xE9", "UTF-8"}},
       {tsv + "1\t\xE4\xB8\n", {":3:", "byte 3", "UTF-8"}},
       {tsv + "1\t\xED\xB0\x80\n", {":3:", "0xED", "UTF-8"}},
       {std::string("\xFF\xFEl\0a\0", 6), {"is in UTF-16", "iconv -f UTF-16 -t UTF-8"}},
       {tsv + "a\rb\tx\n", {":3:", "line's end"}},
       {tsv + "1\t" + std::string(2 << 20, 'a') + "\n",
        {":3:", "2097154 bytes, more than 1048576", "; --skip-bad-rows leaves"}},
       {tsv + "1\t" + std::string(2 << 20, 'a'), {":3:", "2097154 bytes"}}},
      read);
  check_refused(
      "x.csv",
      {{"", {"is empty"}},
       {"label,text\r\n", {"has no rows"}},
       {"good,0\n", {":1:", "without the column 'label'"}},
       {"label;text\n0;a\n", {":1:", "without the column 'label'", "say --delimiter ';'"}},
       {"sep=;\nlabel;text\n0;a\n",
        {":1:", "without the column 'label' (it is", "leave that line out"}},
       {"label,label,text\n0,1,a\n", {":1:", "'label' twice"}},
       {csv + "1,a, b,\"c\"\n",
        {":3:",
         "4 fields, the header 2: '1,a, b,\"c\"'; a field with commas in it stands in quotes"}},
       {csv + "1,\"a\nb\",c\n2,d\n", {":3:", "3 fields, the header 2: '1,\"a\\nb\",c'; a field"}},
       {csv + "1\n", {":3:", "1 field, the header 2"}},
       {csv + " \r\n\n1,b\n", {":3:", "the line is blank, and others follow"}},
       {csv + ",a\n", {":3:", "no label"}},
       {csv + "\"\",a\n", {":3:", "no label"}},
       {csv + "1,a \"b\" c\n", {":3:", "a quote in field 'a \"b\" c'"}},
       {csv + "1, \"b\"\n", {":3:", "a quote in field"}},
       {csv + "1,\"a\"b\n", {":3:", "behind a closing quote stands 'b'"}},
       {csv + "1,\"a\" \n", {":3:", "behind a closing quote stands ' '"}},
       {csv + "1,\"a \\\"b\\\" c\"\n", {":3:", "behind a closing quote"}},
       {csv + "1,\"a\nb\"c\n", {":3: behind a closing quote in line 4 stands 'c', not a comma"}},
       {csv + "1,\"open\n2,b\n", {":3:", "is not closed"}},
       {csv + "1,\"", {":3:", "is not closed"}},
       {csv + "1,\"" + repeated("a line\n", 200'000), {":3:", "more than 1048576 bytes"}},
       {csv + "1,a\rb\n", {":3:", "carriage return", "tr '\\r' '\\n' < FILE"}},
       {"label,text\r0,a\r" + repeated("1,b\r", 300'000), {"carriage returns alone"}},
       {csv + "\"a\nb\",x\n", {":3:", "line's end"}},
       {csv + "1,\"two\nlines caf\xE9\"\n", {":4:", "byte 10 of the line", "UTF-8"}},
       {csv + "1," + std::string(2 << 20, 'a') + "\n", {":3:", "2097154 bytes"}},
       {"1,title,text\n2,title\n", {":2:", "2 fields, the first 3"}}},
      read);
  check_refused(
      "x.jsonl",
      {{"", {"is empty"}},
       {"[" + jsonl + "]",
        {"x.jsonl: is a JSON array, one document", "jq -c '.[]' FILE > NEW.jsonl"}},
       {" [\n" + jsonl + "]\n", {"x.jsonl: is a JSON array"}},
       {"[" + repeated("{\"label\": 0, \"text\": \"good\"}, ", 60'000) + "{}]",
        {"x.jsonl: is a JSON array"}},
       {"{\n  \"label\": 0,\n  \"text\": \"good\"\n}\n",
        {"x.jsonl: its objects go over several lines", "jq -c . FILE > NEW.jsonl"}},
       {"{\"label\": 0, \n \"text\": \"good\"}\n", {"x.jsonl: its objects go over several lines"}},
       {"{\"label\": 0\n", {":1:", "not valid JSON"}},
       {"{\"label\": 0, \"text\": \"cut off,\n" + jsonl, {":1:", "not valid JSON"}},
       {jsonl + "\n" + jsonl, {":2:", "the line is blank"}},
       {jsonl + "[0, \"a\"]\n", {":2:", "holds array, not a JSON object"}},
       {jsonl + "\"a\"\n", {":2:", "holds string, not a JSON object"}},
       {jsonl + "{\"label\": 1, \"text\": \"a\"\n", {":2:", "not valid JSON"}},
       {jsonl + "{'label': 1, 'text': 'a'}\n", {":2:", "not valid JSON"}},
       {jsonl + "{\"label\": 1, \"text\": \"a\"},\n", {":2:", "not valid JSON"}},
       {jsonl + "{\"label\": 1, \"text\": \"a\"} {}\n", {":2:", "not valid JSON"}},
       {jsonl + "{\"label\": 01, \"text\": \"a\"}\n", {":2:", "not valid JSON"}},
       {jsonl + "{\"label\": NaN, \"text\": \"a\"}\n", {":2:", "not valid JSON"}},
       {jsonl + "{\"label\": 1, \"text\": \"\\ud800\"}\n", {":2:", "not valid JSON", "surrogate"}},
       {jsonl + "{\"label\": 1, \"text\": \"\\x41\"}\n", {":2:", "not valid JSON"}},
       {jsonl + "{\"label\": 1, \"text\": \"a\tb\"}\n",
        {":2:", "not valid JSON", "control character"}},
       {jsonl + std::string("{\"label\": 1, \"text\": \"a\0b\"}\n", 28), {":2:", "NUL"}},
       {jsonl + "{\"label\": 1, \"text\": \"caf\xE9\"}\n", {":2:", "byte 26", "UTF-8"}},
       {jsonl + "{\"label\": 1, \"label\": 2, \"text\": \"a\"}\n", {":2", "'label' occurs twice"}},
       {jsonl + "{\"text\": \"a\"}\n", {":2:", "no 'label'; it has 'text' (--label-column"}},
       {jsonl + "{}\n", {":2:", "no 'label'; --skip-bad-rows"}},
       {jsonl + "{\"" + repeated("a", 2000) + "\": 1}\n", {":2:", "it has 'aaa", "aaa\u2026'"}},
       {jsonl + "{\"label\": 1}\n", {":2:", "no 'text'"}},
       {jsonl + "{\"label\": null, \"text\": \"a\"}\n",
        {":2:", "the row has no label: 'label' is null; --skip-bad-rows"}},
       {jsonl + "{\"label\": 1.5, \"text\": \"a\"}\n", {":2:", "'label' is 1.5; a label is"}},
       {jsonl + "{\"label\": 1e17, \"text\": \"a\"}\n", {":2:", "'label' is 1e+17"}},
       {jsonl + "{\"label\": [1], \"text\": \"a\"}\n", {":2:", "'label' is of type array"}},
       {jsonl + "{\"label\": \"\", \"text\": \"a\"}\n", {":2:", "no label"}},
       {jsonl + "{\"label\": \"a\\nb\", \"text\": \"a\"}\n", {":2:", "line's end"}},
       {jsonl + "{\"label\": 1, \"text\": null}\n", {":2:", "'text' is of type null"}},
       {jsonl + "{\"label\": 1, \"text\": 7}\n", {":2:", "'text' is of type number"}},
       {jsonl + "{\"label\": 1, \"text\": [\"a\"]}\n", {":2:", "'text' is of type array"}},
       {jsonl + "{\"label\": 1, \"text\": " + repeated("[", 400) + "\n", {":2", "nested deeper"}},
       {jsonl + "{\"label\": 1, \"text\": \"" + std::string(2 << 20, 'a') + "\"}\n",
        {":2:", "bytes, more than 1048576"}}},
      read);
}

TEST_CASE("columns that are not there are refused with what there is") {
  const auto with = [](ReadOptions options) {
    return [options](const std::string& path) { read_rows(path, options); };
  };
  const std::string csv = "label,text\n0,good\n";
  check_refused("x.csv", {{csv, {":1:", "'label,text'", "'body'"}}},
                with({.text_column = "text,body"}));
  check_refused("x.csv", {{csv, {":1:", "'gold'"}}}, with({.label_column = "gold"}));
  check_refused("x.csv", {{csv, {":1:", "'1' (numbers count columns under --no-header alone)"}}},
                with({.label_column = "1"}));
  check_refused("x.csv", {{csv, {":1:", "'other'"}}}, with({.pair_column = "other"}));
  check_refused("x.csv", {{csv, {":1:", "'3'", "--text-column a number from 1 to 2"}}},
                with({.text_column = "3", .no_header = true}));
  check_refused("x.csv", {{csv, {":1:", "'name'", "from 1 to 2"}}},
                with({.label_column = "name", .no_header = true}));
  check_refused("x.tsv", {{"one column\n", {":1:", "no column for the text"}}},
                with({.no_header = true}));
  check_refused("x.jsonl", {{"{\"label\": 1, \"text\": \"a\"}\n", {":1:", "no 'other'"}}},
                with({.pair_column = "other"}));
  check_refused("x.jsonl", {{"{\"label\": 1, \"text\": \"a\"}\n", {"--no-header is for tables"}}},
                with({.no_header = true}));
  check_refused("x.tsv", {{"label\ttext\nbad\nbad too\n", {"nothing but 2 bad rows", ":2:"}}},
                with({.skip_bad_rows = true}));
}

}  // namespace minima
