const SANS = `system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", "PingFang SC", "Hiragino Sans GB", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif`;
const SERIF = `"Iowan Old Style", "Palatino Linotype", Palatino, Georgia, "Noto Serif", "Songti SC", "SimSun", "Noto Serif CJK SC", serif`;
const MONO = `ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "Noto Sans Mono", monospace`;

const LIGHT = `--page:#f6f4f0;--card:#ffffff;--ink:#1d1c1a;--muted:#5e5b55;--rule:#e3dfd7;--soft:#f4f1eb;--accent:#0a655e;--good:#12633a;--bad:#a12a1c;--warn:#8a4b00;
--note-bg:#eaf3f2;--warn-bg:#fdf1df;--good-bg:#e8f4ec;--c0:#0f766e;--c1:#c2410c;--c2:#3b5fc0;--c3:#937000;--c4:#97308f;--c5:#57534e;--heat:15 118 110;--strongest:.74;color-scheme:light`;
const DARK = `--page:#131517;--card:#1b1e21;--ink:#eceae5;--muted:#aba79f;--rule:#34383d;--soft:#24282c;--accent:#5cc9bd;--good:#6fd39a;--bad:#ff9a85;--warn:#f2b866;
--note-bg:#1a2c2c;--warn-bg:#33281a;--good-bg:#1a2d22;--c0:#45bfb2;--c1:#ff8f66;--c2:#8fabff;--c3:#dfbb4a;--c4:#e296dc;--c5:#b9b4aa;--heat:69 191 178;--strongest:.48;color-scheme:dark`;

/** Shares of a row in steps of a tenth; the strongest shade still lets the page's ink be read. */
const HEAT = Array.from({ length: 11 }, (_, i) => `.h${i}{background:rgb(var(--heat) / calc(var(--strongest) * ${i / 10}))}`).join("");

const COLOURS = Array.from({ length: 6 }, (_, i) => `.c${i}{--c:var(--c${i})}`).join("");

/** The one style sheet of every report. */
export const STYLE = `:root{${LIGHT}}
@media (prefers-color-scheme:dark){:root{${DARK}}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-behavior:smooth}
body{margin:0 auto;padding:56px 24px 40px;max-width:1148px;background:var(--page);color:var(--ink);font:16px/1.6 ${SANS};overflow-wrap:anywhere}
h1,h2,h3{line-height:1.25;margin:0;text-wrap:balance}
h1{font:600 40px/1.15 ${SERIF};letter-spacing:-.01em}
h2{font:600 25px/1.25 ${SERIF};margin-bottom:18px}
h3{font-size:15px;font-weight:650;margin:0 0 10px}
p{margin:0 0 12px;max-width:72ch}
header{padding:0 4px 28px}
.subtitle{color:var(--muted);font-size:18px;margin:10px 0 0}
.lead{color:var(--muted);margin:-12px 0 22px}
nav{margin:0 4px 28px}
nav ol{display:flex;flex-wrap:wrap;gap:6px 22px;list-style:none;margin:0;padding:14px 0;border-block:1px solid var(--rule);font-size:14px}
a{color:var(--accent);text-underline-offset:3px;text-decoration-thickness:1px}
a:focus-visible,summary:focus-visible,pre:focus-visible,.drawing:focus-visible{outline:2px solid var(--accent);outline-offset:3px;border-radius:3px}
section{background:var(--card);border:1px solid var(--rule);border-radius:14px;padding:32px 36px 30px;margin:0 0 24px}
section>*:last-child{margin-bottom:0}
footer{padding:8px 4px;color:var(--muted);font-size:13px}
.muted{color:var(--muted);fill:var(--muted)}
.no-data{color:var(--muted);font-style:italic;background:var(--soft);border-radius:8px;padding:18px;text-align:center;max-width:none}
.columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,380px),1fr));gap:12px 36px}
.columns>*,.verdict>*,.tile,.gallery>*,.quotes>*{min-width:0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(140px,1fr));gap:20px 24px;margin:18px 0 30px}
.tile{border-top:2px solid var(--accent);padding-top:10px}
.tile dt{font-size:13.5px;color:var(--muted)}
.tile dd{margin:0}
.figure-value{font:600 31px/1.25 ${SERIF};font-variant-numeric:lining-nums tabular-nums}
.figure-value.good{color:var(--good)}.figure-value.bad{color:var(--bad)}
.unit{font:400 15px/1 ${SANS};color:var(--muted);margin-left:5px;display:inline-block}
.fact{font-size:13px;line-height:1.5;color:var(--muted)}
.scroll{overflow-x:auto;margin:6px 0 26px}
table{overflow-wrap:break-word;border-collapse:collapse;width:100%;font-size:14.5px;line-height:1.45;font-variant-numeric:tabular-nums lining-nums}
caption{caption-side:top;text-align:left;color:var(--muted);font-size:14px;padding-bottom:10px}
th{font-weight:600;font-size:13px;color:var(--muted);border-bottom:1.5px solid var(--ink);vertical-align:bottom}
th,td{padding:8px 14px;text-align:left;vertical-align:top}
th:first-child,td:first-child{padding-left:4px}
td{border-bottom:1px solid var(--rule)}
.right{text-align:right}.center{text-align:center}
tr.highlight td{background:var(--note-bg);font-weight:600}
.matrix{width:auto;border-spacing:3px;border-collapse:separate}
.matrix th,.matrix td{border:0;text-align:center;vertical-align:middle}
.matrix thead th{padding:2px 8px}
.matrix tbody th{text-align:right;white-space:nowrap;padding-right:10px}
.matrix .heat{min-width:74px;padding:9px 8px;border-radius:6px;box-shadow:inset 0 0 0 1px var(--rule);font-weight:600}
.matrix .heat small{display:block;font-weight:400;font-size:12px}
.matrix .diagonal{outline:1.5px solid currentColor;outline-offset:-1.5px}
.matrix .sum{color:var(--muted);padding-left:14px}
.figure{margin:6px 0 30px}
.figure figcaption{margin-bottom:12px}
.figure figcaption strong{display:block;font-size:16px}
.figure figcaption span{display:block;color:var(--muted);font-size:14px;max-width:80ch}
.drawing{overflow-x:auto}
.drawing svg{display:block;width:100%;height:auto;max-width:528px}
.drawing.wide svg{min-width:620px;max-width:1078px}
svg text{font:13px ${SANS};fill:var(--ink);font-variant-numeric:tabular-nums lining-nums}
svg .tick{font-size:12px;fill:var(--muted)}
svg .label{font-size:13px;fill:var(--muted)}
svg .value{font-weight:600}
svg .value.muted{font-weight:400}
.end{text-anchor:end}.middle{text-anchor:middle}
.grid{stroke:var(--rule)}
.axis{stroke:var(--muted)}
.mark{stroke:var(--muted);stroke-dasharray:3 4}
${COLOURS}
${HEAT}
.fill{fill:var(--c)}
.o1{opacity:.26}.o2{opacity:.44}.o3{opacity:.62}.o4{opacity:.8}
.line{stroke:var(--c);fill:none;stroke-width:2.2;stroke-linejoin:round;stroke-linecap:round}
.line.faint{stroke-width:1.2;opacity:.32}
.d1{stroke-dasharray:9 5}.d2{stroke-dasharray:2 5}.d3{stroke-dasharray:12 4 2 4}.d4{stroke-dasharray:5 4}.d5{stroke-dasharray:1 7}
.line.faint{stroke-dasharray:none}
.interval{stroke:var(--c);stroke-width:2.4;fill:none;stroke-linecap:round}
.legend{display:flex;flex-wrap:wrap;gap:4px 22px;list-style:none;margin:0 0 10px;padding:0;font-size:14px}
.legend li{display:flex;align-items:center;gap:8px}
.swatch{width:28px;height:10px;flex:none}.swatch.square{width:12px;height:12px}
.pairs{display:grid;gap:0;margin:0 0 22px;font-size:14.5px}
.pairs div{display:grid;grid-template-columns:minmax(110px,190px) 1fr;gap:16px;padding:7px 0;border-bottom:1px solid var(--rule)}
.pairs dt{color:var(--muted)}.pairs dd{margin:0;overflow-wrap:anywhere}
.bullets{margin:0 0 14px;padding-left:20px}.bullets li{margin:3px 0}
.quotes{list-style:none;margin:0 0 22px;padding:0;display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,420px),1fr));gap:10px 36px;align-items:start}
.quotes li{border-left:3px solid var(--rule);padding:1px 0 1px 14px}
.quotes q{quotes:none}
.quotes cite{color:var(--muted);font-size:13px;font-style:normal}
pre{background:var(--soft);border-radius:8px;padding:14px 16px;overflow-x:auto;font:13.5px/1.55 ${MONO};margin:0 0 22px}
code{font-family:${MONO}}
.callout{border-left:4px solid var(--accent);background:var(--note-bg);border-radius:0 8px 8px 0;padding:14px 18px;margin:6px 0 24px}
.callout strong{display:block;color:var(--accent)}
.callout p:last-child,.callout ul:last-child{margin-bottom:0}
.callout.warning{border-color:var(--warn);background:var(--warn-bg)}.callout.warning strong{color:var(--warn)}
.callout.good{border-color:var(--good);background:var(--good-bg)}.callout.good strong{color:var(--good)}
details{margin:0 0 22px;border-top:1px solid var(--rule);padding-top:12px}
summary{cursor:pointer;font-weight:600;font-size:15px}
.details{padding-top:14px}
.picture{margin:0 0 24px}
.picture img{display:block;max-width:100%;height:auto;border-radius:8px;border:1px solid var(--rule)}
.picture figcaption{color:var(--muted);font-size:13.5px;margin-top:8px}
.gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,440px),1fr));gap:6px 24px}
.gallery img{width:100%}
.verdict{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,380px),1fr));gap:24px 44px;align-items:start;margin:18px 0 26px}
.verdict>div>:first-child{margin-top:0}
.verdict .drawing+p{margin-top:10px}
.score{display:flex;align-items:baseline;gap:12px;flex-wrap:wrap}
.score-value{font:600 62px/1 ${SERIF};font-variant-numeric:lining-nums}
.score-of{color:var(--muted)}
.decision{border-radius:10px;padding:16px 20px;background:var(--note-bg);margin:16px 0 0}
.decision strong{display:block;font-size:19px;color:var(--accent)}
.decision p{margin:4px 0 0}
.decision.reject{background:var(--soft)}.decision.reject strong{color:var(--bad)}
.decision.human-review{background:var(--warn-bg)}.decision.human-review strong{color:var(--warn)}
.decision small{font-size:13px;color:var(--muted)}
.plot{font:17px/1.65 ${SERIF};max-width:68ch;margin-bottom:26px}
.reasons{list-style:none;margin:0 0 22px;padding:0;display:grid;gap:12px}
.reasons li{border-left:3px solid var(--rule);padding-left:14px}
.reasons .strength{border-color:var(--good)}.reasons .weakness{border-color:var(--bad)}
.place{display:inline-block;font-size:12.5px;color:var(--muted);background:var(--soft);border-radius:99px;padding:1px 10px;margin-right:8px;white-space:nowrap;font-variant-numeric:tabular-nums}
.track{stroke:var(--rule);stroke-width:8;stroke-linecap:round}
.band{stroke:var(--c0);stroke-width:8;stroke-linecap:round;opacity:.38}
.pale{fill:var(--c0);opacity:.42}
@media (max-width:640px){.scroll th:first-child,.scroll td:first-child{position:sticky;left:0;background:var(--card)}.scroll td,.scroll th{padding-inline:9px;overflow-wrap:normal}body{padding:28px 12px}section{padding:22px 18px;border-radius:10px}h1{font-size:31px}h2{font-size:22px}.subtitle{font-size:16px}.pairs div{grid-template-columns:1fr;gap:0}}
@media print{:root{${LIGHT}}body{padding:0;max-width:none;background:#fff;font-size:11pt}nav{display:none}section{border:0;border-radius:0;padding:0 0 18pt;margin:0}h2,h3,figcaption{break-after:avoid}.figure,.tile,.callout,.picture,.verdict,tr,.reasons li,.quotes li{break-inside:avoid}.drawing.wide svg{min-width:0}.scroll,.drawing{overflow:visible}*{-webkit-print-color-adjust:exact;print-color-adjust:exact}details::details-content{content-visibility:visible;height:auto}@page{margin:16mm}}
@media (prefers-reduced-motion:reduce){html{scroll-behavior:auto}}
`;
