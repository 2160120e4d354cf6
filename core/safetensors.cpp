#include "core/safetensors.hpp"

#include <bit>
#include <set>

#include "core/json.hpp"

namespace minima {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian");

constexpr u64 kLargestHeader = 100'000'000;
constexpr std::pair<DType, const char*> kTypeNames[] = {
    {DType::f64, "F64"}, {DType::f32, "F32"}, {DType::bf16, "BF16"}, {DType::f16, "F16"},
    {DType::i64, "I64"}, {DType::i32, "I32"}, {DType::u8, "U8"}};

const char* type_name(DType dtype) {
  for (const auto& [type, name] : kTypeNames)
    if (type == dtype) return name;
  return "U8";
}

SafetensorsFile::Entry parse_entry(const Json& json, const std::string& where, u64 data_bytes) {
  check(json.is_object() && json.size() == 3 && json.contains("dtype") && json.contains("shape") &&
            json.contains("data_offsets"),
        "{}: must have exactly dtype, shape and data_offsets", where);
  check(json["dtype"].is_string(), "{}: dtype must be a string", where);
  const auto type = std::ranges::find(kTypeNames, json["dtype"].get<std::string>(),
                                      [](const auto& pair) { return std::string(pair.second); });
  check(type != std::end(kTypeNames),
        "{}: unknown dtype '{}'; known are F64, F32, BF16, F16, I64, I32, U8", where,
        json["dtype"].get<std::string>());

  check(json["shape"].is_array() && json["shape"].size() <= Shape::kMaxRank,
        "{}: shape must be a list of at most {} sizes", where, Shape::kMaxRank);
  std::vector<i64> sizes;
  for (const Json& size : json["shape"]) {
    check(size.is_number_unsigned() && size.get<u64>() <= u64{1} << 62,
          "{}: a size in shape is not a whole number", where);
    sizes.push_back(size.get<i64>());
  }
  SafetensorsFile::Entry entry{type->first, {}, 0, 0};
  try {
    entry.shape = Shape(sizes);
  } catch (const Error& error) {
    fail("{}: {}", where, error.what());
  }

  const Json& range = json["data_offsets"];
  check(range.is_array() && range.size() == 2 && range[0].is_number_unsigned() &&
            range[1].is_number_unsigned(),
        "{}: data_offsets must be two whole numbers", where);
  entry.begin = range[0].get<u64>();
  entry.end = range[1].get<u64>();
  check(entry.begin <= entry.end && entry.end <= data_bytes,
        "{}: its bytes {} to {} do not lie in the {} bytes of data", where, entry.begin, entry.end,
        data_bytes);
  const u64 width = static_cast<u64>(element_size(entry.dtype));
  check(static_cast<u64>(entry.shape.size()) <= data_bytes / width &&
            static_cast<u64>(entry.shape.size()) * width == entry.end - entry.begin,
        "{}: shape {} of {} does not fill its {} bytes", where, entry.shape, type->second,
        entry.end - entry.begin);
  return entry;
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : file_(path) {
  const std::string name = path.string();
  check(file_.size() >= 8, "{}: not a safetensors file: {} bytes, at least 8 are needed", name,
        file_.size());
  u64 header_bytes = 0;
  file_.read(&header_bytes, 8, 0);
  check(header_bytes <= kLargestHeader, "{}: header of {} bytes; at most {} are allowed", name,
        header_bytes, kLargestHeader);
  check(header_bytes <= file_.size() - 8, "{}: header of {} bytes in a file of {}; it is cut off",
        name, header_bytes, file_.size());
  data_begin_ = 8 + header_bytes;
  const u64 data_bytes = file_.size() - data_begin_;
  std::string text(header_bytes, ' ');
  file_.read(text.data(), header_bytes, 8);
  check(!text.empty() && text.front() == '{', "{}: the header does not begin with '{{'", name);
  const Json header = parse_json(text, name + ": header");
  check(header.is_object(), "{}: the header is not an object", name);
  for (const auto& [key, value] : header.items()) {
    if (key == "__metadata__") {
      check(value.is_object(), "{}: __metadata__ is not an object", name);
      for (const auto& [field, content] : value.items()) {
        check(content.is_string(), "{}: __metadata__ '{}' is not a string", name, field);
        metadata_[field] = content.get<std::string>();
      }
    } else {
      entries_.emplace(key, parse_entry(value, name + ": tensor '" + key + "'", data_bytes));
    }
  }
  std::vector<std::pair<u64, u64>> ranges;
  for (const auto& [key, entry] : entries_) ranges.emplace_back(entry.begin, entry.end);
  std::ranges::sort(ranges);
  u64 expected = 0;
  for (const auto& [begin, end] : ranges) {
    check(begin == expected, "{}: {} at byte {} of the data", name,
          begin < expected ? "two tensors overlap" : "a hole that belongs to no tensor",
          std::min(begin, expected));
    expected = end;
  }
  check(expected == data_bytes, "{}: {} bytes of data, of which the tensors fill {}", name,
        data_bytes, expected);
}

Tensor SafetensorsFile::read(const std::string& name) const {
  const auto found = entries_.find(name);
  check(found != entries_.end(), "{}: has no tensor '{}'", path().string(), name);
  const Entry& entry = found->second;
  Tensor tensor = Tensor::empty(entry.shape, entry.dtype);
  file_.read(tensor.raw(), entry.end - entry.begin, data_begin_ + entry.begin);
  return tensor;
}

void save_safetensors(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors,
                      const std::map<std::string, std::string>& metadata) {
  std::vector<const NamedTensor*> order;
  std::set<std::string> names;
  for (const NamedTensor& entry : tensors) {
    check(names.insert(entry.name).second, "{}: two tensors are named '{}'", path.string(),
          entry.name);
    order.push_back(&entry);
  }
  std::ranges::stable_sort(order, std::greater<>(), [](const NamedTensor* entry) {
    return element_size(entry->tensor.dtype());
  });

  Json header = Json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  u64 end = 0;
  for (const NamedTensor* entry : order) {
    const u64 begin = std::exchange(end, end + static_cast<u64>(entry->tensor.bytes()));
    header[entry->name] = {
        {"dtype", type_name(entry->tensor.dtype())},
        {"shape", std::vector<i64>(entry->tensor.shape().begin(), entry->tensor.shape().end())},
        {"data_offsets", {begin, end}}};
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // so that the data begins on a multiple of 8

  write_file(path, [&](const Append& append) {
    const u64 header_bytes = text.size();
    append(&header_bytes, sizeof(header_bytes));
    append(text.data(), text.size());
    for (const NamedTensor* entry : order)
      append(entry->tensor.raw(), static_cast<std::size_t>(entry->tensor.bytes()));
  });
}

}  // namespace minima
