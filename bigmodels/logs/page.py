"""The HTML frame and the style sheet of the report: light, dark and printed."""

PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
$style</style>
</head>
<body>
$body
</body>
</html>
"""

STYLE = """\
:root { color-scheme: light dark; --page: #f7f7f5; --card: #fff; --ink: #1d2127;
  --soft: #68707a; --line: #e1e3e6; --good: #1d7f4e; --other: #a8620b;
  --bar: #3b7dd82b; }
@media screen and (prefers-color-scheme: dark) { :root { --page: #101215;
  --card: #181b20; --ink: #e4e6ea; --soft: #949ca6; --line: #2c3138; --good: #56c78b;
  --other: #e0a04a; --bar: #3b7dd855; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 48px 24px 72px; max-width: 1048px; color: var(--ink);
  background: var(--page); font: 15px/1.5 system-ui, -apple-system, 'Segoe UI',
  Roboto, 'Helvetica Neue', Arial, sans-serif; font-variant-numeric: tabular-nums; }
h1 { font-size: 28px; font-weight: 650; letter-spacing: -.015em; line-height: 1.2;
  margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 17px; font-weight: 600; margin: 48px 0 12px; }
.badge { font-size: 12px; font-weight: 600; letter-spacing: 0; padding: 3px 10px;
  border: 1px solid; border-radius: 99px; vertical-align: 5px; margin-left: 6px; }
.good { color: var(--good); } .other { color: var(--other); }
.headline { display: flex; flex-wrap: wrap; gap: 16px 44px; margin: 28px 0 4px; }
.headline b { display: block; font-size: 38px; font-weight: 600; line-height: 1.1;
  letter-spacing: -.025em; }
.headline span, dt, .note, .legend { color: var(--soft); font-size: 13px; }
dl { display: flex; flex-wrap: wrap; gap: 10px 30px; margin: 24px 0 0;
  padding: 14px 0 0; border-top: 1px solid var(--line); }
dd { margin: 0; overflow-wrap: anywhere; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 20px; margin: -4px 0 12px; }
.key::before { content: ''; display: inline-block; width: 18px; vertical-align: 4px;
  margin-right: 7px; border-top: 1.5px solid var(--c); }
.evaluated::before { border-top-width: 3px; }
.best::before { border-top: 2px dotted var(--ink); }
.cards { display: flex; flex-wrap: wrap; gap: 16px; align-items: flex-start; }
figure { margin: 0; padding: 12px; max-width: 100%; background: var(--card);
  border: 1px solid var(--line); border-radius: 8px; }
figcaption { font-size: 13px; font-weight: 600; margin: 0 2px 8px; }
figure svg, figure img { display: block; max-width: 100%; height: auto; }
figure svg { fill: var(--ink); }
figure svg text { font-family: inherit !important; }
.chart path { fill: none; stroke-linejoin: round; stroke-linecap: round; }
.chart .grid { stroke: var(--line); stroke-width: 1; }
.chart .mark { stroke: var(--ink); stroke-dasharray: 2 3; }
figure .chart text { fill: var(--soft); font-size: 11px; }
.picture { background: #fff; color: #1d2127; }
.scroll { max-height: 560px; overflow: auto; border: 1px solid var(--line);
  border-radius: 8px; background: var(--card); width: fit-content; max-width: 100%; }
table { border-collapse: collapse; font-size: 14px; }
th, td { padding: 5px 18px; text-align: right; min-width: 104px; }
th:first-child { text-align: left; font-weight: 500; overflow-wrap: anywhere; }
thead th { position: sticky; top: 0; background: var(--card); color: var(--soft);
  font-weight: 500; font-size: 13px; box-shadow: 0 1px var(--line); }
tbody tr + tr > * { border-top: 1px solid var(--line); }
.words { flex-basis: 100%; } .words th:first-child { font-weight: 500; }
.words th, .words td { text-align: left; vertical-align: top; min-width: 12ch;
  padding: 5px 18px 5px 2px; overflow-wrap: anywhere; white-space: pre-wrap; }
.words th { white-space: nowrap; position: static; box-shadow: none; }
.words audio { width: 15rem; max-width: 23vw; }
.bar { background: linear-gradient(var(--bar), var(--bar)) no-repeat 8px 50% /
  calc((100% - 16px) * var(--v)) 76%; }
.tables { display: flex; flex-wrap: wrap; gap: 16px; align-items: flex-start; }
summary { cursor: pointer; margin-top: 48px; } summary h2 { display: inline; }
.config { margin-top: 12px; padding: 16px 20px; background: var(--card);
  border: 1px solid var(--line); border-radius: 8px;
  font: 12.5px/1.65 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.config .group + .group { margin-top: 12px; }
.config .group div { padding-left: 3ch; text-indent: -3ch; overflow-wrap: anywhere; }
.config b { font-weight: 400; color: var(--soft); }
footer { margin-top: 48px; padding-top: 14px; border-top: 1px solid var(--line);
  color: var(--soft); font-size: 13px; }
@media print { body { padding: 0; background: none; zoom: .66; }
  figure, .scroll, .group { break-inside: avoid; } h2, summary { break-after: avoid; }
  .scroll { max-height: none; } * { print-color-adjust: exact; } }
"""
