// Numbers for people. A value that does not exist is a dash.

const DASH = "–";
const MINUS = "−";
const exists = (v) => typeof v === "number" && Number.isFinite(v);
const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

// About four significant digits, thousands grouped, very large and very small as powers of ten.
function number(v, digits = 4) {
  if (!exists(v)) return DASH;
  const size = Math.abs(v);
  let text;
  if (v === 0)
    text = "0";
  else if (size >= 1e9 || size < 1e-4)
    text = power(size, digits);
  else if (size >= 1000 || Number.isInteger(v))
    text = grouped.format(size);
  else
    text = String(Number(size.toPrecision(digits)));
  return v < 0 ? MINUS + text : text;
}

function power(size, digits) {
  const [mantissa, exponent] = size.toExponential(digits - 2).split("e");
  const raised = [...String(Number(exponent))].map((c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c])).join("");
  return `${Number(mantissa)} × 10${raised}`;
}

const percent = (v, digits = 1) => (exists(v) ? `${(100 * v).toFixed(digits).replace("-", MINUS)} %` : DASH);

// Percent with only the digits it has: for axes.
const percentTick = (v) => `${number(Number((100 * v).toPrecision(6)))} %`;

function seconds(v) {
  if (!exists(v)) return DASH;
  const size = Math.abs(v);
  if (v < 0) return MINUS + seconds(-v);
  if (size !== 0 && size < 0.0995) return `${number(1000 * v, 3)} ms`;
  if (size < 9.995) return v === 0 ? "0 s" : `${v.toPrecision(3)} s`;
  if (size < 120) return `${v.toFixed(1)} s`;
  if (size < 7200) return `${Math.floor(v / 60)} min ${Math.round(v % 60)} s`;
  return `${Math.floor(v / 3600)} h ${Math.round((v % 3600) / 60)} min`;
}

// For columns: seconds only, one digit.
const tenths1 = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const secondsPlain = (v) => (exists(v) ? tenths1.format(v).replace("-", MINUS) : DASH);

const plural = (n, one, many = one + "s") => `${number(n)} ${n === 1 ? one : many}`;
const stepsText = (first, last) =>
  (first === last ? `step ${number(first)}` : `steps ${number(first)} to ${number(last)}`);
