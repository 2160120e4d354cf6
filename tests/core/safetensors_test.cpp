/// safetensors files: what is written can be read, here and by the public library; what is broken
/// is refused with a reason.
#include "core/files/safetensors.hpp"

#include "core/files/file.hpp"
#include "tests/data/files.hpp"
#include "tests/support.hpp"

using namespace minima;
using test::contains;
using test::error_of;

namespace {

/// A file with this header (its length before it) and so many bytes of data.
std::string file_of(const std::string& header, std::size_t data_bytes = 0) {
  const u64 length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + header +
         std::string(data_bytes, '\1');
}

std::vector<NamedTensor> examples() {
  return {
      {"bytes", Tensor::from(std::vector<u8>{1, 2, 255})},
      {"w/ünï \"quoted\"", Tensor::from(std::vector<float>{1, -0.0f, 3e38f, 1e-45f, 5, 6}, {2, 3})},
      {"half", Tensor::from(std::vector<float>{0.5f, -65504}).to(DType::f16)},
      {"brain", Tensor::from(std::vector<float>{0.5f, 3e38f, NAN, INFINITY}).to(DType::bf16)},
      {"f64", Tensor::from(std::vector<double>{1e-300})},
      {"i64", Tensor::from(std::vector<i64>{-1, i64{1} << 62})},
      {"i32", Tensor::from(std::vector<i32>{-7})},
      {"scalar", Tensor::scalar(2.0f)},
      // Begins where "half" does, which is before it by name.
      {"no elements", Tensor::zeros({0, 4})}};
}

}  // namespace

TEST_CASE("metadata that is null is none") {
  const test::Folder folder;
  const SafetensorsFile file(folder.write("x.safetensors", file_of(R"({"__metadata__":null})")));
  CHECK(file.metadata().empty());
  CHECK(file.entries().empty());
}

TEST_CASE("tensors of every type, names of any letters and metadata survive a file") {
  const test::Folder folder;
  const std::string path = folder.path() + "/x.safetensors";
  const std::map<std::string, std::string> metadata{{"format", "pt"},
                                                    {"note", "line\nbreak \"q\""}};
  save_safetensors(path, examples(), metadata);
  const SafetensorsFile file(path);
  CHECK(file.metadata() == metadata);
  CHECK(file.entries().size() == examples().size());
  for (const auto& [name, expected] : examples()) {
    CAPTURE(name);
    REQUIRE(file.contains(name));
    CHECK(test::same_bits(file.read(name), expected));
    // Aligned by its type, for readers that map the file.
    CHECK(file.entries().at(name).begin % static_cast<u64>(element_size(expected.dtype())) == 0);
  }
  u64 header = 0;
  InputFile(path).read(&header, sizeof(header), 0);
  CHECK(header % 8 == 0);
  CHECK(contains(error_of([&] { (void)file.read("none"); }), "has no tensor 'none'"));
}

TEST_CASE("a file without tensors is a file") {
  const test::Folder folder;
  save_safetensors(folder.path() + "/x", std::vector<NamedTensor>{});
  CHECK(SafetensorsFile(folder.path() + "/x").entries().empty());
}

TEST_CASE("two tensors of one name are not written, and the old file stays") {
  const test::Folder folder;
  const std::string path = folder.write("x", "old");
  const Tensor one = Tensor::scalar(1.0f);
  CHECK(contains(error_of([&] {
                   save_safetensors(path, {{"a", one}, {"a", one}});
                 }),
                 "two tensors are named 'a'"));
  CHECK(read_file(path) == "old");
}

TEST_CASE("what would not be read again as it was is not written, and the old file stays") {
  const test::Folder folder;
  const std::string path = folder.write("x", "old");
  const std::vector<NamedTensor> one{{"a", Tensor::scalar(1.0f)}};
  CHECK(contains(error_of([&] {
                   save_safetensors(path, {{"__metadata__", one[0].tensor}}, {{"k", "v"}});
                 }),
                 "no tensor can be named '__metadata__'"));
  for (const auto& [key, value] : {std::pair{"k\xff", "v"}, {"k", "v\xff"}})
    CHECK(contains(error_of([&, key = key, value = value] {
                     save_safetensors(path, one, {{key, value}});
                   }),
                   "the metadata 'k"));
  CHECK(read_file(path) == "old");
}

TEST_CASE("a broken file is refused with the rule that it breaks") {
  const std::string a = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  const auto with = [](const std::string& dtype, const std::string& shape,
                       const std::string& offsets) {
    return R"({"a":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets +
           "}}";
  };
  const std::string huge("\xff\xff\xff\xff\xff\xff\xff\x7f{}", 10);
  const std::pair<std::string, const char*> broken[] = {
      {"", "0 bytes, at least 8 are needed"},
      {"1234567", "7 bytes, at least 8 are needed"},
      {huge, "not a safetensors file, or damaged: header of "},
      {"version https://git-lfs.github.com/spec/v1\noid sha256:53aa\nsize 90868376\n",
       "is Git LFS's pointer to the file; fetch the file itself: git lfs pull"},
      {file_of(a).substr(0, 20), "it is cut off"},
      {file_of(""), "does not begin with '{'"},
      {file_of("  " + a, 8), "does not begin with '{'"},
      {file_of("[1]"), "does not begin with '{'"},
      {file_of("{\"a\":"), "not valid JSON"},
      {file_of("{\"\xff\":1}"), "not valid JSON"},
      {file_of(a + "x", 8), "not valid JSON"},
      {file_of(a.substr(0, a.size() - 1) + "," + a.substr(1), 8), "the key 'a' occurs twice"},
      {file_of(R"({"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8),
       "the key 'dtype' occurs twice"},
      {file_of("{\"a\":" + std::string(300, '[') + std::string(300, ']') + "}"),
       "nested deeper than 256"},
      {file_of(R"({"a":7})"), "must have exactly dtype, shape and data_offsets"},
      {file_of(R"({"a":{"dtype":"F32","shape":[2]}})", 8), "must have exactly dtype"},
      {file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}})", 8),
       "must have exactly dtype"},
      {file_of(with("7", "[2]", "[0,8]"), 8), "dtype must be a string"},
      {file_of(with("\"F31\"", "[2]", "[0,8]"), 8), "unknown dtype 'F31'"},
      {file_of(with("\"F32\"", "2", "[0,8]"), 8), "shape must be a list"},
      {file_of(with("\"F32\"", "[1,1,1,1,1,1,1,1,3]", "[0,8]"), 8), "does not fill its 8 bytes"},
      {file_of(with("\"F32\"", "[1,1,1,1,1,1,1,4503599627370496,4503599627370496]", "[0,8]"), 8),
       "overflows"},
      {file_of(with("\"F32\"", "[-2]", "[0,8]"), 8), "must be a whole number"},
      {file_of(with("\"F32\"", "[2.0]", "[0,8]"), 8), "must be a whole number"},
      {file_of(with("\"F32\"", "[18446744073709551615]", "[0,8]"), 8), "must be a whole number"},
      {file_of(with("\"F32\"", "[4611686018427387904,4]", "[0,8]"), 8), "overflows"},
      {file_of(with("\"F32\"", "[1099511627776]", "[0,8]"), 8), "does not fill its 8 bytes"},
      {file_of(with("\"F64\"", "[576460752303423488]", "[0,0]")),
       "does not fill its 0 bytes"},  // 2⁶⁵ bits
      {file_of(with("\"F32\"", "[3]", "[0,8]"), 8), "does not fill its 8 bytes"},
      {file_of(with("\"F32\"", "[2]", "[0]"), 8), "data_offsets must be two whole numbers"},
      {file_of(with("\"F32\"", "[2]", "[-8,0]"), 8), "data_offsets must be two whole numbers"},
      {file_of(with("\"F32\"", "[2]", "[8,0]"), 8), "do not lie in the 8 bytes"},
      {file_of(with("\"F32\"", "[2]", "[0,8]"), 4), "do not lie in the 4 bytes"},
      {file_of(with("\"F32\"", "[2]", "[0,8]"), 9), "9 bytes of data, of which the tensors fill 8"},
      {file_of(with("\"F32\"", "[2]", "[4,12]"), 12),
       "tensor 'a': begins at byte 4 of the data, the tensors before it end at 0: a hole"},
      {file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
               R"("b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
               12),
       "tensor 'b': begins at byte 4 of the data, the tensors before it end at 8: two tensors "
       "overlap"},
      {file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
               R"("b":{"dtype":"F32","shape":[2],"data_offsets":[12,20]}})",
               20),
       "tensor 'b': begins at byte 12 of the data, the tensors before it end at 8: a hole"},
      {file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
               R"("b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
               8),
       "two tensors overlap"},
      {file_of(with("\"f32\"", "[2]", "[0,8]"), 8), "unknown dtype 'f32'"},
      {file_of(with("\"F4\"", "[3]", "[0,2]"), 2), "does not fill its 2 bytes"},
      {file_of(with("\"F32\"", "[\"2\"]", "[0,8]"), 8), "must be a whole number"},
      {file_of(with("\"F32\"", "[2]", "{\"0\":8}"), 8), "data_offsets must be two whole numbers"},
      {file_of(with("\"F32\"", "[2]", "[0.5,8]"), 8), "data_offsets must be two whole numbers"},
      {file_of(with("\"F32\"", "[2]", "[0,18446744073709551615]"), 8), "do not lie in the 8 bytes"},
      {file_of(with("\"F32\"", "[0,9223372036854775807]", "[0,0]")), "must be a whole number"},
      {file_of(with("\"F64\"", "[2]", "[0,8]"), 8), "shape [2] of F64 does not fill its 8 bytes"},
      {file_of(with("\"F32\"", "[]", "[0,8]"), 8), "shape [] of F32 does not fill its 8 bytes"},
      {file_of("{}", 1), "1 bytes of data, of which the tensors fill 0"},
      {file_of("{\"a\":{\"dtype\":\"F32\",\"shape\":[NaN],\"data_offsets\":[0,8]}}", 8),
       "not valid JSON"},
      {file_of(a + std::string(1, '\0'), 8), "a NUL at byte"},
      {file_of("{\"a\":null}"), "must have exactly dtype, shape and data_offsets"},
      {file_of(R"({"__metadata__":{"x":"1","x":"2"}})"), "the key 'x' occurs twice"},
      {file_of(R"({"__metadata__":{},"__metadata__":{}})"), "the key '__metadata__' occurs twice"},
      {file_of(R"({"__metadata__":7})"), "__metadata__ is not an object"},
      {file_of(R"({"__metadata__":{"x":7}})"), "__metadata__ 'x' is not a string"},
  };
  CHECK(std::size(broken) >= 50);
  const test::Folder folder;
  for (const auto& [bytes, reason] : broken) {
    CAPTURE(reason);
    const std::string path = folder.write("x.safetensors", bytes);
    const std::string message = error_of([&] { SafetensorsFile file(path); });
    CAPTURE(message);
    CHECK(contains(message, reason));
    CHECK(contains(message, path));
  }
  CHECK(contains(error_of([&] { SafetensorsFile file(folder.path() + "/none"); }),
                 "cannot be opened: No such file"));
  CHECK(contains(error_of([&] { SafetensorsFile file(folder.path()); }), "is a folder"));
}

TEST_CASE("every file that is cut off is refused, wherever it is cut") {
  const test::Folder folder;
  const std::string path = folder.path() + "/x";
  save_safetensors(path, {{"a", Tensor::from(std::vector<float>{1, 2, 3})}});
  const std::string whole = read_file(path);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    CAPTURE(length);
    folder.write("cut", whole.substr(0, length));
    CHECK(error_of([&] { SafetensorsFile file(folder.path() + "/cut"); }) != "");
  }
}

TEST_CASE("a type that is not here does not stand in the way of the others") {
  const test::Folder folder;
  const std::string path = folder.write(
      "x.safetensors", file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                               R"("small":{"dtype":"I8","shape":[3],"data_offsets":[8,11]},)"
                               R"("four":{"dtype":"F4","shape":[2,3],"data_offsets":[11,14]}})",
                               14));
  const SafetensorsFile file(path);
  CHECK(file.read("a").size() == 2);
  CHECK(file.entry("small").type == "I8");
  CHECK(contains(error_of([&] { (void)file.read("small"); }), "tensor 'small' is of type I8"));
  CHECK(contains(error_of([&] { (void)file.read("four"); }), path));
}

TEST_CASE("a tensor of too many dimensions does not stand in the way of the others") {
  const test::Folder folder;
  const SafetensorsFile file(folder.write(
      "x", file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                   R"("deep":{"dtype":"F32","shape":[1,2,1,1,1,1,1,1,3,1],"data_offsets":[8,32]}})",
                   32)));
  CHECK(file.read("a").size() == 2);
  CHECK(file.entry("deep").shape.size() == 6);
  CHECK(contains(error_of([&] { (void)file.read("deep"); }),
                 "tensor 'deep' is of type F32 of 10 dimensions; save it as F64"));
}

TEST_CASE("a BOOL is read as a byte, and written as what it was") {
  const test::Folder folder;
  const std::string path = folder.path() + "/x", again = folder.path() + "/y";
  const Tensor mask = Tensor::from(std::vector<u8>{1, 0, 1});
  const auto make = [&] { return mask; };
  save_safetensors(path, std::vector<TensorSource>{{"mask", DType::u8, {3}, make, "BOOL"},
                                                   {"bytes", DType::u8, {3}, make}});
  const SafetensorsFile file(path);
  CHECK(file.entry("mask").type == "BOOL");
  CHECK(file.entry("bytes").type == "U8");
  CHECK(std::ranges::equal(file.read("mask").span<u8>(), mask.span<u8>()));
  Tensor weights = Tensor::zeros({3});
  CHECK(contains(error_of([&] { file.read_into(weights, "mask"); }), "is of type BOOL; F32"));
}

TEST_CASE("a header of any length is read, padded or not") {
  const test::Folder folder;
  std::string header = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  for (int spaces = 0; spaces < 9; ++spaces, header += ' ') {
    const SafetensorsFile file(folder.write("x", file_of(header, 8)));
    CHECK(file.read("a").data<float>()[1] == std::bit_cast<float>(0x01010101));
  }
}

TEST_CASE("a tensor is read into one that is there, rounded where the types differ") {
  const test::Folder folder;
  const std::string path = folder.path() + "/x";
  const Tensor values = Tensor::from(std::vector<double>{1 + 0x1p-40, -3, 1e-30, 7}, {2, 2});
  save_safetensors(path, {{"f64", values},
                          {"bf16", values.to(DType::bf16)},
                          {"i64", Tensor::zeros({2, 2}, DType::i64)}});
  const SafetensorsFile file(path);
  Tensor to = Tensor::zeros({2, 2});
  file.read_into(to, "f64");
  test::check_close(to, values.to(DType::f32), {0, 0});
  file.read_into(to, "bf16");
  test::check_close(to, values.to(DType::bf16).to(DType::f32), {0, 0});
  CHECK(contains(error_of([&] { file.read_into(to, "i64"); }), "is of type I64; F32 is needed"));
  Tensor other = Tensor::zeros({4});
  CHECK(contains(error_of([&] { file.read_into(other, "f64"); }), "is [2, 2]; [4] is needed"));
}

TEST_CASE("a tensor of many values is converted piece by piece, wherever its bytes begin") {
  const test::Folder folder;
  const i64 count = (1 << 19) + 3;
  Tensor values = Tensor::empty({count}, DType::f64);
  for (i64 i = 0; i < count; ++i) values.data<double>()[i] = static_cast<double>(i) / 3;
  const std::string path = folder.path() + "/x";
  save_safetensors(path, {{"a", values.to(DType::bf16)}});
  const std::string whole = read_file(path);
  for (const u64 shift : {0, 1, 3}) {
    u64 header = 0;
    std::memcpy(&header, whole.data(), 8);
    header += shift;
    const std::string moved = std::string(reinterpret_cast<const char*>(&header), 8) +
                              whole.substr(8, header - shift) + std::string(shift, ' ') +
                              whole.substr(8 + header - shift);
    const SafetensorsFile file(folder.write("y", moved));
    Tensor to = Tensor::zeros({count});
    file.read_into(to, "a");
    test::check_close(to, values.to(DType::bf16).to(DType::f32), {0, 0});
  }
}

TEST_CASE("a tensor that is made only when it is written must be what was announced") {
  const test::Folder folder;
  const std::string path = folder.write("x", "old");
  int made = 0;
  const auto make = [&] { return ++made, Tensor::full({2}, 7); };
  save_safetensors(path, std::vector<TensorSource>{{"a", DType::f32, {2}, make}});
  CHECK(made == 1);
  CHECK(SafetensorsFile(path).read("a").data<float>()[1] == 7);
  CHECK(contains(error_of([&] {
                   save_safetensors(path, std::vector<TensorSource>{{"a", DType::f16, {2}, make}});
                 }),
                 "was announced as f16 [2] and is f32 [2]"));
  CHECK(SafetensorsFile(path).read("a").data<float>()[1] == 7);  // the old file stays
}

TEST_CASE("the public library reads our files and we read its, every type, bit for bit") {
  const std::string python = test::python_with("torch safetensors");
  if (python.empty()) {
    MESSAGE("skipped: MINIMA_PYTHON (or python3) has no torch or no safetensors");
    return;
  }
  const test::Folder folder;
  const std::string ours = folder.path() + "/ours", theirs = folder.path() + "/theirs";
  const std::map<std::string, std::string> metadata{{"format", "pt"}, {"note", "line\nbreak"}};
  save_safetensors(ours, examples(), metadata);
  const std::string script =
      folder.write("through_torch.py",
                   "import sys\n"
                   "from safetensors import safe_open\n"
                   "from safetensors.torch import load_file, save_file\n"
                   "with safe_open(sys.argv[1], 'pt') as f: metadata = f.metadata()\n"
                   "save_file(load_file(sys.argv[1]), sys.argv[2], metadata=metadata)\n");
  REQUIRE(std::system(fmt::format("'{}' {} {} {}", python, script, ours, theirs).c_str()) == 0);
  const SafetensorsFile file(theirs);
  CHECK(file.metadata() == metadata);
  CHECK(file.entries().size() == examples().size());
  for (const auto& [name, tensor] : examples()) {
    CAPTURE(name);
    REQUIRE(file.contains(name));
    CHECK(test::same_bits(file.read(name), tensor));
  }
}

TEST_CASE(
    "a file that is cut off while it is open is an error, and what was before the cut is read") {
  const test::Folder folder;
  const std::string path = folder.path() + "/x.safetensors";
  save_safetensors(path, {{"a", Tensor::full({3000}, 1)}, {"b", Tensor::full({3000}, 2)}});
  const SafetensorsFile file(path);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 5000);
  CHECK(file.read("a").data<float>()[2999] == 1);
  CHECK(contains(error_of([&] { (void)file.read("b"); }), "it had"));
  std::filesystem::resize_file(path, 0);
  CHECK(contains(error_of([&] { (void)file.read("a"); }), "ends at byte"));
}
