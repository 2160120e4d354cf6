#include "core/files/safetensors.hpp"

#include <array>
#include <bit>
#include <set>

#include "core/files/json.hpp"
#include "core/files/sorted_json.hpp"
#include "core/text/utf8.hpp"

namespace minima {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian");

constexpr u64 kLargestHeader = 100'000'000;
/// A key of the header that is no tensor.
constexpr const char* kMetadata = "__metadata__";

/// The types of the format; those without a DType are known, so that a file which holds one beside
/// others can be read. A BOOL is a byte, 0 or 1.
struct Type {
  std::string_view name;
  u64 bits;
  std::optional<DType> dtype = {};
};
constexpr Type kTypes[] = {{"F64", 64, DType::f64},
                           {"F32", 32, DType::f32},
                           {"BF16", 16, DType::bf16},
                           {"F16", 16, DType::f16},
                           {"I64", 64, DType::i64},
                           {"I32", 32, DType::i32},
                           {"U8", 8, DType::u8},
                           {"BOOL", 8, DType::u8},
                           {"I8", 8},
                           {"I16", 16},
                           {"U16", 16},
                           {"U32", 32},
                           {"U64", 64},
                           {"C64", 64},
                           {"F8_E4M3", 8},
                           {"F8_E5M2", 8},
                           {"F8_E8M0", 8},
                           {"F8_E4M3FNUZ", 8},
                           {"F8_E5M2FNUZ", 8},
                           {"F6_E2M3", 6},
                           {"F6_E3M2", 6},
                           {"F4", 4}};

std::string_view type_name(DType dtype) {
  return std::ranges::find(kTypes, std::optional(dtype), &Type::dtype)->name;
}

/// The sizes of `json`, an array of whole numbers; more of them than a Shape has are made one. Throws Error where their
/// product overflows.
Shape parse_shape(const SortedJson& json, const std::string& where) {
  check(json.is_array(), "{}: shape must be a list of sizes", where);
  std::vector<i64> sizes;
  for (const SortedJson& size : json) {
    check(size.is_number_unsigned() && size.get<u64>() <= u64{1} << 62,
          "{}: a size in shape is {}; it must be a whole number up to 2^62", where, size.dump());
    sizes.push_back(size.get<i64>());
  }
  try {
    while (sizes.size() > Shape::kMaxRank) {
      const i64 last = sizes.back();
      sizes.pop_back();
      sizes.back() = Shape{sizes.back(), last}.size();
    }
    return Shape(sizes);
  } catch (const Error& error) {
    fail("{}: {}", where, error.what());
  }
}

SafetensorsFile::Entry parse_entry(const SortedJson& json, const std::string& where,
                                   u64 data_bytes) {
  check(json.is_object() && json.size() == 3 && json.contains("dtype") && json.contains("shape") &&
            json.contains("data_offsets"),
        "{}: must have exactly dtype, shape and data_offsets", where);
  check(json["dtype"].is_string(), "{}: dtype must be a string", where);
  const std::string name = json["dtype"].get<std::string>();
  const auto type = std::ranges::find(kTypes, name, &Type::name);
  check(type != std::end(kTypes), "{}: unknown dtype '{}'; the format has F32, F16, BF16, I64, …",
        where, shown(name));
  const Shape shape = parse_shape(json["shape"], where);

  const SortedJson& range = json["data_offsets"];
  check(range.is_array() && range.size() == 2 && range[0].is_number_unsigned() &&
            range[1].is_number_unsigned(),
        "{}: data_offsets must be two whole numbers", where);
  const u64 begin = range[0].get<u64>(), end = range[1].get<u64>();
  check(begin <= end && end <= data_bytes,
        "{}: its bytes {} to {} do not lie in the {} bytes of data", where, begin, end, data_bytes);
  const u64 elements = static_cast<u64>(shape.size());
  // The first comparison keeps the products below within 64 bits.
  check(elements <= 8 * data_bytes && elements * type->bits % 8 == 0 &&
            elements * type->bits / 8 == end - begin,
        "{}: shape {} of {} does not fill its {} bytes", where, shape, name, end - begin);
  const std::size_t rank = json["shape"].size();
  if (rank > Shape::kMaxRank)
    return {fmt::format("{} of {} dimensions", name, rank), {}, shape, begin, end};
  return {name, type->dtype, shape, begin, end};
}

/// Throws Error unless the tensors' bytes, side by side, are the data.
void check_layout(const std::map<std::string, SafetensorsFile::Entry>& entries,
                  const std::string& file, u64 data_bytes) {
  struct Range {
    u64 begin, end;
    const std::string* name;
  };
  std::vector<Range> ranges;
  for (const auto& [name, entry] : entries) ranges.push_back({entry.begin, entry.end, &name});
  std::ranges::sort(ranges, {},
                    [](const Range& range) { return std::pair(range.begin, range.end); });
  u64 filled = 0;
  for (const Range& range : ranges) {
    const auto refuse = [&](const char* what) {
      fail("{}: tensor '{}': begins at byte {} of the data, the tensors before it end at {}: {}",
           file, shown(*range.name), range.begin, filled, what);
    };
    if (range.begin < filled) refuse("two tensors overlap");
    if (range.begin > filled) refuse("a hole that belongs to no tensor");
    filled = range.end;
  }
  check(filled == data_bytes, "{}: {} bytes of data, of which the tensors fill {}", file,
        data_bytes, filled);
}

}  // namespace

std::map<std::string, Tensor> by_name(const std::vector<NamedTensor>& tensors) {
  std::map<std::string, Tensor> result;
  for (const auto& [name, tensor] : tensors) result.emplace(name, tensor);
  return result;
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : file_(path) {
  const std::string name = path.string();
  check(file_.size() >= 8, "{}: not a safetensors file: {} bytes, at least 8 are needed", name,
        file_.size());
  std::array<char, 8> first;
  file_.read(first.data(), first.size(), 0);
  // "version https://git-lfs.github.com/spec/v1"
  check(std::string_view(first.data(), first.size()) != "version ",
        "{}: is Git LFS's pointer to the file; fetch the file itself: git lfs pull", name);
  const auto header_bytes = std::bit_cast<u64>(first);
  check(header_bytes <= kLargestHeader,
        "{}: not a safetensors file, or damaged: header of {} bytes; at most {} are allowed", name,
        header_bytes, kLargestHeader);
  check(header_bytes <= file_.size() - 8, "{}: header of {} bytes in a file of {}; it is cut off",
        name, header_bytes, file_.size());
  data_begin_ = 8 + header_bytes;
  const u64 data_bytes = file_.size() - data_begin_;
  std::string text(header_bytes, ' ');
  file_.read(text.data(), header_bytes, 8);
  check(!text.empty() && text.front() == '{', "{}: the header does not begin with '{{'", name);
  const SortedJson header = parse_sorted_json(text, name + ": header");
  check(header.is_object(), "{}: the header is not an object", name);
  for (const auto& [key, value] : header.items()) {
    if (key == kMetadata) {
      if (value.is_null()) continue;  // none, as the public library reads it
      check(value.is_object(), "{}: {} is not an object", name, kMetadata);
      for (const auto& [field, content] : value.items()) {
        check(content.is_string(), "{}: {} '{}' is not a string", name, kMetadata, shown(field));
        metadata_[field] = content.get<std::string>();
      }
    } else {
      entries_.emplace(key, parse_entry(value, name + ": tensor '" + shown(key) + "'", data_bytes));
    }
  }
  check_layout(entries_, name, data_bytes);
}

const SafetensorsFile::Entry& SafetensorsFile::entry(const std::string& name) const {
  const auto found = entries_.find(name);
  check(found != entries_.end(), "{}: has no tensor '{}'", path().string(), shown(name));
  return found->second;
}

Tensor SafetensorsFile::read(const std::string& name) const {
  const Entry& found = entry(name);
  check(found.dtype.has_value(),
        "{}: tensor '{}' is of type {}; save it as F64, F32, BF16, F16, I64, I32, U8 or BOOL, of "
        "at most {} dimensions",
        path().string(), shown(name), found.type, Shape::kMaxRank);
  Tensor tensor = Tensor::empty(found.shape, *found.dtype);
  file_.read(tensor.raw(), found.end - found.begin, data_begin_ + found.begin);
  return tensor;
}

void SafetensorsFile::read_into(Tensor& to, const std::string& name) const {
  const Entry& found = entry(name);
  check(found.shape == to.shape(), "{}: tensor '{}' is {}; {} is needed", path().string(),
        shown(name), found.shape, to.shape());
  check(to.device() == Device{}, "{}: tensor '{}' is read into memory of the cpu, not of {}",
        path().string(), shown(name), to_string(to.device()));
  const u64 begin = data_begin_ + found.begin;
  if (found.dtype == to.dtype()) return file_.read(to.raw(), found.end - found.begin, begin);
  check(found.dtype && is_float(*found.dtype) && is_float(to.dtype()),
        "{}: tensor '{}' is of type {}; {} is needed{}", path().string(), shown(name), found.type,
        type_name(to.dtype()), is_float(to.dtype()) ? ", or another floating-point type" : "");
  constexpr i64 kPiece = 1 << 18;  // values
  const Tensor all = to.reshape({to.size()});
  for (i64 at = 0; at < all.size(); at += kPiece) {
    Tensor piece = Tensor::empty({std::min(kPiece, all.size() - at)}, *found.dtype);
    file_.read(piece.raw(), static_cast<u64>(piece.bytes()),
               begin + static_cast<u64>(at * element_size(*found.dtype)));
    all.rows(at, at + piece.size()).copy_from(piece.to(to.dtype()));
  }
}

void save_safetensors(const std::filesystem::path& path, const std::vector<TensorSource>& tensors,
                      const std::map<std::string, std::string>& metadata) {
  std::vector<const TensorSource*> order;
  std::set<std::string> names;
  const auto valid = [](std::string_view text) { return find_invalid_utf8(text) == text.npos; };
  for (const TensorSource& source : tensors) {
    check(valid(source.name), "{}: the name '{}' of a tensor is not valid UTF-8", path.string(),
          shown(source.name));
    check(source.name != kMetadata, "{}: no tensor can be named '{}'", path.string(), kMetadata);
    check(names.insert(source.name).second, "{}: two tensors are named '{}'", path.string(),
          source.name);
    order.push_back(&source);
  }
  for (const auto& [field, content] : metadata)
    check(valid(field) && valid(content), "{}: the metadata '{}': '{}' is not valid UTF-8",
          path.string(), shown(field), shown(content));
  std::ranges::stable_sort(order, std::greater<>(),
                           [](const TensorSource* source) { return element_size(source->dtype); });

  Json header = Json::object();
  auto& fields = header.get_ref<Json::object_t&>();  // whose [] would search them all for each
  if (!metadata.empty()) fields.emplace_back(kMetadata, metadata);
  i64 end = 0;
  for (const TensorSource* source : order) {
    const i64 begin = std::exchange(end, end + source->shape.size() * element_size(source->dtype));
    fields.emplace_back(
        source->name,
        Json{{"dtype", source->type.empty() ? type_name(source->dtype) : source->type},
             {"shape", std::vector<i64>(source->shape.begin(), source->shape.end())},
             {"data_offsets", {begin, end}}});
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // so that the data begins on a multiple of 8

  write_file(path, [&](const Append& append) {
    const u64 header_bytes = text.size();
    append(&header_bytes, sizeof(header_bytes));
    append(text.data(), text.size());
    for (const TensorSource* source : order) {
      const Tensor tensor = source->make();
      check(tensor.shape() == source->shape && tensor.dtype() == source->dtype,
            "{}: tensor '{}' was announced as {} {} and is {} {}", path.string(), source->name,
            dtype_name(source->dtype), source->shape, dtype_name(tensor.dtype()), tensor.shape());
      append(tensor.to(Device{}).raw(), static_cast<std::size_t>(tensor.bytes()));
    }
  });
}

void save_safetensors(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors,
                      const std::map<std::string, std::string>& metadata) {
  std::vector<TensorSource> sources;
  for (const auto& [name, tensor] : tensors)
    sources.push_back({name, tensor.dtype(), tensor.shape(), [tensor = tensor] { return tensor; }});
  save_safetensors(path, sources, metadata);
}

}  // namespace minima
