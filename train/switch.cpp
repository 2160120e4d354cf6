#include "train/switch.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace minima {

OptimizerSwitch OptimizerSwitch::parse(const std::string& text) {
  OptimizerSwitch result;
  const auto refuse = [&](const char* why) {
    fail("switch '{}': {}; write 500:adafactor:lr=0.03 or 50%:adamw8bit", text, why);
  };
  double number = 0;
  const char* const end = text.data() + text.size();
  auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || rest == end) refuse("it begins with a step or a percentage");
  if (*rest == '%') {
    if (!(number > 0 && number < 100)) refuse("the percentage must be above 0 and below 100");
    result.share = number / 100;
    ++rest;
  } else {
    if (!(number >= 1 && number <= 0x1p53 && std::trunc(number) == number))
      refuse("the step must be a whole number of at least 1");
    result.steps = static_cast<i64>(number);
  }
  if (rest == end || *rest != ':' || rest + 1 == end) refuse("an optimizer must follow");
  result.spec = std::string(rest + 1, end);
  return result;
}

i64 OptimizerSwitch::step(i64 total) const {
  return steps > 0 ? steps : std::max<i64>(1, std::llround(share * static_cast<double>(total)));
}

std::map<i64, std::string> by_step(const std::vector<OptimizerSwitch>& switches, i64 total) {
  std::map<i64, std::string> result;
  for (const OptimizerSwitch& next : switches) {
    const i64 step = next.step(total);
    check(step < total, "switch to {} after step {}, of {} in all; it must be before the last",
          next.spec, step, total);
    const auto [place, added] = result.emplace(step, next.spec);
    check(added, "switch: two optimizers after step {}, {} and {}; leave one out", step,
          place->second, next.spec);
  }
  return result;
}

std::string SwitchRecord::text() const {
  return fmt::format(
      "after step {}: {} → {}{}\n{}", step, from, to,
      warmup > 0 ? fmt::format(", the learning rate rises again over {} steps", warmup) : "",
      table(slots));
}

Json SwitchRecord::to_json() const {
  Json list = Json::array();
  for (const SlotConversion& slot : slots)
    list.push_back({{"parameter", slot.parameter},
                    {"slot", slot.slot},
                    {"from", slot.from},
                    {"how", how_name(slot.how)},
                    {"note", slot.note}});
  return {{"step", step},     {"from", from},  {"to", to},
          {"warmup", warmup}, {"slots", list}, {"text", text()}};
}

SwitchRecord SwitchRecord::from_json(const Json& json) {
  SwitchRecord record{count_at(json, "step"),
                      json.at("from").get<std::string>(),
                      json.at("to").get<std::string>(),
                      count_at(json, "warmup"),
                      {}};
  using How = SlotConversion::How;
  for (const Json& slot : json.at("slots")) {
    How how = How::afresh;
    for (const How known : {How::copied, How::re_encoded, How::converted, How::dropped})
      if (slot.at("how").get<std::string>() == how_name(known)) how = known;
    record.slots.push_back({slot.at("parameter").get<std::string>(),
                            slot.at("slot").get<std::string>(), slot.at("from").get<std::string>(),
                            how, slot.at("note").get<std::string>()});
  }
  return record;
}

i64 restart_warmup(const std::vector<SlotConversion>& slots, i64 remaining) {
  if (std::ranges::none_of(slots, &SlotConversion::needs_warmup)) return 0;
  return std::min(std::clamp<i64>(remaining / 20, 10, 1000), remaining);
}

}  // namespace minima
