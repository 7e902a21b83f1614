// Tables of ours beside the peers, with the ratio that each pattern has to reach beside the ratio that it has.

/** At least this many times as fast as dense cuDNN, whole operation, forward + backward, at 16k. */
const attentionBars = {
  dense: 0.95,
  ...{ "hash(4)": 2.2, "hash(8)": 4, "hash(16)": 7, "hash(32)": 10, "hash(64)": 13 },
  ...{ "drop(0.5)": 3, "drop(0.7)": 7, "drop(0.8)": 13 },
};
/** And at 16k than sorting, gathering and variable-length attention, where queries and keys share their buckets. */
const varlenBars = { "hash(8)": 3, "hash(16)": 3, "hash(32)": 3, "hash(64)": 3 };
/** Milliseconds of a step of hash(16) at most, by length. */
const stepBars = { 8192: 62, 16384: 64, 32768: 68, 65536: 140 };

const kilo = (T) => (T % 1024 === 0 ? `${T / 1024}k` : `${T}`);
const ms = (x) => (x === undefined ? "-" : x < 100 ? x.toFixed(2) : x.toFixed(0));
const times = (slow, fast) => (slow === undefined || fast === undefined ? "-" : `${(slow / fast).toFixed(2)}x`);
const atLeast = (bar) => (bar === undefined ? "" : `${bar}x`);

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Rows of one contestant, pattern and length, taken in several turns, as one with medians. */
function summarize(rows) {
  const groups = new Map();
  for (const row of rows) {
    const key = `${row.who} ${row.pattern} ${row.T}`;
    groups.set(key, [...(groups.get(key) ?? []), row]);
  }
  return [...groups.values()].map((group) => {
    const of = (name) => {
      const values = group.map((row) => row[name]).filter((value) => typeof value === "number");
      return values.length === group.length ? median(values) : undefined;
    };
    const numbers = ["forwardMs", "backwardMs", "stepMs", "peakGib"].map((name) => [name, of(name)]);
    return {
      ...group[0],
      ...Object.fromEntries(numbers),
      sumMs: median(group.map(sum)),
      correct: group.every(isCorrect),
    };
  });
}

const sum = ({ forwardMs, backwardMs }) => forwardMs + backwardMs;
const isCorrect = ({ correct }) => correct !== false;

function markdown(head, rows) {
  return [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

/** One table for each length. @param hasBars whether the sizes are those that ratios are aimed at for, but for the length */
export function attentionTables(rows, { hasBars }) {
  const all = summarize(rows);
  return lengthsOf(all).map((T) => {
    const find = (who, pattern) => all.find((row) => row.who === who && row.pattern === pattern && row.T === T);
    const cudnn = find("torch-cudnn", "dense")?.sumMs;
    const lines = all.filter((row) => row.T === T && (row.who === "scfa" || row.who.startsWith("torch-")));
    const shown = lines
      .filter(({ who }) => who !== "torch-varlen-hash")
      .map((row) => {
        const { who, pattern, forwardMs, backwardMs, sumMs, correct } = row;
        const isOurs = who === "scfa";
        const isAimed = isOurs && hasBars && T === 16384;
        const [varlen, paper] = ["torch-varlen-hash", "paper-triton"].map((peer) => find(peer, pattern)?.sumMs);
        return [
          ...[isOurs ? pattern : who, `${ms(forwardMs)} / ${ms(backwardMs)}`, times(cudnn, sumMs)],
          isAimed ? atLeast(attentionBars[pattern]) : "",
          ...(isOurs
            ? [times(varlen, sumMs), atLeast(isAimed ? varlenBars[pattern] : undefined), times(paper, sumMs)]
            : ["", "", ""]),
          correct ? "" : "WRONG",
        ];
      });
    const head = [
      "",
      "forward / backward ms",
      "than dense cuDNN",
      "at least",
      "than varlen",
      "at least",
      "than the paper's",
      "",
    ];
    return `T ${kilo(T)}, times as fast, forward + backward\n\n${markdown(head, shown)}`;
  });
}

/** One table for all lengths. */
export function trainTable(rows) {
  const all = summarize(rows);
  const blocks = lengthsOf(all).flatMap((T) => {
    const here = all.filter((row) => row.T === T);
    const of = (who) => here.find((row) => row.who === who)?.stepMs;
    const [baseline, best] = [of("torch-eager-fa2"), of("torch-compiled-cudnn")];
    return here.map(({ who, pattern, stepMs, peakGib }) => {
      const isOurs = who === "scfa";
      const most = isOurs && pattern.startsWith("hash(16") && stepBars[T] !== undefined ? `${stepBars[T]} ms` : "";
      const name = isOurs ? `scfa ${pattern}` : who;
      const memory = peakGib === undefined ? "-" : peakGib.toFixed(1);
      return [kilo(T), name, ms(stepMs), most, times(baseline, stepMs), times(best, stepMs), memory];
    });
  });
  const head = ["T", "", "step ms", "at most", "than eager + FlashAttention-2", "than compiled + cuDNN", "peak GiB"];
  return markdown(head, blocks);
}

const lengthsOf = (rows) => [...new Set(rows.map(({ T }) => T))].sort((a, b) => a - b);
