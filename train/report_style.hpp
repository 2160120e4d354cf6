/// The report's style sheet: one set of names for colours, given for light, dark and print.
#pragma once

#include <string_view>

namespace minima {

// Text on paper, and every series colour on it, has a contrast of at least 4.5 : 1 in both schemes.
inline constexpr std::string_view kReportStyle = R"css(
:root {
  color-scheme: light dark;
  --paper: #fdfdfb; --ink: #1c1e21; --soft: #5b6168; --hair: #dcdcd6; --shadow: #0004; --heat: 47 104 173;
  /* From the paper's side to the far one, in both schemes. */
  --h0: #fde725; --h1: #c2df23; --h2: #86d549; --h3: #52c569; --h4: #2ab07f; --h5: #1e9b8a; --h6: #25858e; --h7: #2d708e; --h8: #38598c; --h9: #433e85; --h10: #482173; --h11: #440154;
  --warn: #a3230f;
  --serif: Charter, "Bitstream Charter", "Iowan Old Style", "Source Serif 4", Cambria, Georgia, "Liberation Serif", serif;
  --sans: system-ui, "Segoe UI", "Helvetica Neue", "Liberation Sans", Arial, sans-serif;
}
.s0 { --c: #1f5fa8; --d: none }       .s1 { --c: #b8410c; --d: 7 3 }
.s2 { --c: #1a7541; --d: 2 2.5 }      .s3 { --c: #7a3bb0; --d: 9 3 2 3 }
.s4 { --c: #8a5a00; --d: 14 4 }       .s5 { --c: #0b6b80; --d: 4 3 }
.s6 { --c: #b01b66; --d: 9 2 2 2 2 2 } .s7 { --c: #50565e; --d: 1.5 4 }
@media screen and (prefers-color-scheme: dark) {
  :root { --paper: #16181b; --ink: #e4e4e0; --soft: #a2a8af; --hair: #34383d; --shadow: #fff5; --heat: 104 164 232; --warn: #ff9b85;
    --h0: #440154; --h1: #482173; --h2: #433e85; --h3: #38598c; --h4: #2d708e; --h5: #25858e; --h6: #1e9b8a; --h7: #2ab07f; --h8: #52c569; --h9: #86d549; --h10: #c2df23; --h11: #fde725; }
  .s0 { --c: #79b4f2 } .s1 { --c: #f59a66 } .s2 { --c: #6fcf97 } .s3 { --c: #c6a1f0 }
  .s4 { --c: #dfb84a } .s5 { --c: #5fcbd9 } .s6 { --c: #f58fbb } .s7 { --c: #b4bbc4 }
}
* { box-sizing: border-box }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100% }
body { margin: 0; background: var(--paper); color: var(--ink); font: 17px/1.5 var(--serif) }
main { max-width: 66rem; margin: 0 auto; padding: 2.5rem 1.5rem 4rem }
h1, h2, h3 { font-weight: 600; line-height: 1.2; margin: 0; text-wrap: balance }
h1 { font-size: 1.9rem }
h2 { font-size: 1.3rem; margin: 3rem 0 .8rem; padding-top: .7rem; border-top: 1px solid var(--hair) }
h3 { font-size: 1rem }
p, ul { margin: .6rem 0; max-width: 44em }
.kicker, .note, figcaption, caption { color: var(--soft); font: .82rem/1.45 var(--sans) }
.kicker { margin: 0 0 .5rem }
.verdict { font-size: 1.2rem; line-height: 1.45; margin: 1rem 0 }
.findings { padding-left: 1.1em }
code { font: .88em ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere }
/* What scrolls has a shadow where more of it is: it stays, and its cover scrolls along. */
.wide { overflow-x: auto; max-width: 100%; background:
  linear-gradient(to right, var(--paper) 50%, transparent) left / 3rem 100% no-repeat local,
  linear-gradient(to left, var(--paper) 50%, transparent) right / 3rem 100% no-repeat local,
  linear-gradient(to right, var(--shadow), transparent) left / 1rem 100% no-repeat,
  linear-gradient(to left, var(--shadow), transparent) right / 1rem 100% no-repeat }
:focus-visible { outline: 2px solid var(--ink); outline-offset: 2px }

table { border-collapse: collapse; font: .82rem/1.35 var(--sans); font-variant-numeric: tabular-nums }
caption { text-align: left; padding-bottom: .5rem; caption-side: top }
th, td { padding: .4rem .6rem; text-align: right; vertical-align: top; border-bottom: 1px solid var(--hair) }
thead th { vertical-align: bottom; font-weight: 600; border-bottom-color: var(--soft) }
th[scope=row] { text-align: left; font-weight: 600 }
.unit, .spread { display: block; color: var(--soft); font-weight: 400; font-size: .92em; white-space: nowrap }
.numbers { width: 100% }
.numbers th, .numbers td { padding: .4rem .3rem }
.numbers td { white-space: nowrap }
.numbers .failure { white-space: normal; text-align: left } td.failure { color: var(--warn) }
.numbers th:first-child, .matrix th:first-child { position: sticky; left: 0; background: var(--paper) }
.numbers th:first-child { text-align: left }
.numbers th[scope=row] { white-space: nowrap }
.note { max-width: 62em }
.wide + .wide { margin-top: 1.2rem }
.swatch { width: 34px; height: 12px; margin-right: .5rem; vertical-align: -1px }

.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 2rem 2.5rem }
.maps { grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr)) } h3 + .maps { margin-top: .8rem }
figure { margin: 0; min-width: 0; break-inside: avoid }
section > h3 { margin-top: 1.4rem } h1 + figure, figure + table { margin-top: 1.2rem }
h1 + figure { max-width: 44rem }
figure h3 { margin-bottom: .5rem }
figcaption { margin-top: .3rem; max-width: 46em }
.chart { display: block; width: 100%; height: auto; font-family: var(--sans) }
.chart + h3 { margin-top: 1.2rem }
.chart text { font-size: 12px; fill: var(--soft) }
.chart .name, .chart .number { fill: var(--ink) }
/* Type over curves. */ .halo, .chart .name { paint-order: stroke; stroke: var(--paper); stroke-width: 5px; stroke-linejoin: round }
.middle { text-anchor: middle } .chart .end { text-anchor: end }
.grid { stroke: var(--hair) } .axis { stroke: var(--soft) }
.rule { stroke: var(--soft); stroke-dasharray: 1 3 }
.event { stroke: var(--c); stroke-dasharray: 2 2 }
.line { fill: none; stroke: var(--c); stroke-width: 2; stroke-dasharray: var(--d); stroke-linejoin: round }
.raw { fill: none; stroke: var(--c); opacity: .28; stroke-width: .8 }
.band { fill: var(--c); opacity: .14 }
.leader { stroke: var(--c); stroke-width: .8; stroke-dasharray: 1 4 }
.mark { fill: var(--c); stroke: var(--paper) }
.dot { fill: none; stroke: var(--c) }
.whisker { stroke: var(--c); stroke-width: 1.5 }
.bar { fill: var(--c); opacity: .75 }
.bar + .whisker { stroke: var(--ink) }
.chart:has(.series:hover) .series:not(:hover) { opacity: .25 }

.heat { fill: none; shape-rendering: crispEdges }
.h0 { stroke: var(--h0) } .h1 { stroke: var(--h1) } .h2 { stroke: var(--h2) } .h3 { stroke: var(--h3) } .h4 { stroke: var(--h4) } .h5 { stroke: var(--h5) }
.h6 { stroke: var(--h6) } .h7 { stroke: var(--h7) } .h8 { stroke: var(--h8) } .h9 { stroke: var(--h9) } .h10 { stroke: var(--h10) } .h11 { stroke: var(--h11) }
.alarms { border-left: 4px solid var(--warn); padding: .1rem 0 .1rem 1rem; margin: 1rem 0 }
.alarms h3 { color: var(--warn) } .alarms ul { padding-left: 1.1em }
.words td, .words th { text-align: left } .words td { white-space: normal }

.worst td, .matrix th, .scores th { unicode-bidi: plaintext }
.worst { width: calc(100% - 1.1rem) } .worst th, .worst td { text-align: left; overflow-wrap: anywhere }
.worst th:first-child, .worst td:first-child { text-align: right; overflow-wrap: normal }
.worst td:nth-child(2), .worst td:nth-child(3) { min-width: 6rem; color: var(--soft) }

.matrices { display: flex; flex-wrap: wrap; gap: 2rem }
.matrices > .wide { margin-top: 0 }
.matrices > * { min-width: 0; break-inside: avoid }
.matrix th { font-weight: 400; white-space: nowrap; max-width: 11rem; overflow: hidden; text-overflow: ellipsis }
.matrix th, .matrix td { padding: .25rem .4rem }
.matrix thead th span { writing-mode: vertical-rl; transform: rotate(180deg); max-height: 10rem; overflow: hidden; text-overflow: ellipsis }
.matrix thead th { text-align: center }
.matrix thead th:first-child, .matrix .total { color: var(--soft) }
.matrix td { text-align: center; min-width: 2rem }
.dense { font-size: .7rem }
.dense td { min-width: 1.6rem } .matrix.dense th, .matrix.dense td { padding: .2rem .25rem }
.matrix .cell { background: rgb(var(--heat) / calc(var(--share) * 45%)) }
.matrix .right { font-weight: 700; outline: 1px solid var(--soft); outline-offset: -1px }

dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .25rem 1.2rem; margin: .6rem 0 1rem; font: .88rem/1.5 var(--sans) }
dt { color: var(--soft) } dd { margin: 0; overflow-wrap: anywhere }
details { margin: .5rem 0; max-width: 100% }
summary { cursor: pointer; font: .88rem/1.6 var(--sans) }
details > :not(summary) { margin-left: 1.1rem }
.setup { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1.5rem 2.5rem }
.setup > * { min-width: 0 }

@media screen and (max-width: 30rem) {
  body { font-size: 16px }
  main { padding: 1.5rem 1rem 3rem }
  h1 { font-size: 1.5rem } .verdict { font-size: 1.08rem }
  .chart text { font-size: 15px }
  dl { grid-template-columns: minmax(0, 7rem) minmax(0, 1fr) }
  .numbers .swatch { display: block }
  .worst thead { position: absolute; clip-path: inset(50%) } .worst tr { display: block; padding: .4rem 0; border-bottom: 1px solid var(--hair) }
  .worst td { display: inline; border: 0; padding: 0 .5rem 0 0 } .worst td:last-child { display: block }
  .worst td:nth-child(3)::before { content: "→ " }
}
@page { margin: 16mm 14mm }
@media print {
  :root { color-scheme: light; --paper: #fff; --ink: #000; --soft: #333; --hair: #bbb }
  body { font-size: 10.5pt }
  main { max-width: none; padding: 0 }
  h2 { margin-top: 1.4rem; break-after: avoid }
  .wide { overflow: visible; background: none }
  .numbers th:first-child, .matrix th:first-child { position: static; background: none }
  .numbers { font-size: 7pt } .numbers th, .numbers td { padding: .25rem .3rem }
  tr, p, li { break-inside: avoid }
  .charts { grid-template-columns: 1fr 1fr; gap: 1.2rem 1.5rem } .chart text { font-size: 14px }
  .setup { grid-template-columns: 1fr 1fr; gap: 0 1.5rem } dl, summary { font-size: 8.5pt } dl { gap: 0 1rem }
  .matrices { gap: 1.2rem } .matrix { font-size: 7pt } .matrix th, .matrix td { padding: .12rem .2rem } .matrix td { min-width: 0 }
  .dense { font-size: 6pt }
  .matrix .cell { print-color-adjust: exact; -webkit-print-color-adjust: exact }
  .bar, .band, .heat { print-color-adjust: exact; -webkit-print-color-adjust: exact }
  details:not(.long)::details-content { content-visibility: visible; block-size: auto }
}
)css";

}  // namespace minima
