import { button, type Control, slider } from "../ui/controls.ts";
import { fill, h } from "../ui/dom.ts";
import { percent, thousands, times } from "../ui/format.ts";
import { notice } from "../ui/messages.ts";
import { pageOf } from "../ui/page.ts";
import { connect, type Remote } from "../workers/calls.ts";
import { latest } from "../workers/latest.ts";
import { catalogue } from "./catalogue.ts";
import { PatternControls } from "./patternControls.ts";
import type { PatternPlan } from "./patterns.ts";
import type { handlers } from "./patternWorker.ts";
import { drawPositions, drawVisits, keysSeen, visitedTiles } from "./picture.ts";
import { ReadingPanel } from "./reading.ts";

const sortingMs = 1400;
const sweepMs = 3200;

/** Explore: a pattern by position and in visit order, what it saves, and what a trained model sees through it. */
export function explorePage(): HTMLElement {
  return new ExplorePage().element;
}

class ExplorePage {
  readonly element: HTMLElement;
  readonly #remote: Remote<typeof handlers>;
  readonly #notice = notice();
  readonly #reading = new ReadingPanel();
  readonly #positions = h("canvas", { role: "img" });
  readonly #visits = h("canvas", { role: "img" });
  readonly #controls = new PatternControls(latest(() => this.#plan()));
  readonly #facts = h("dl", { class: "facts" });
  readonly #tiles = h("p", { class: "muted small" });
  readonly #query: ReturnType<typeof slider>;
  readonly #querySays = h("p", { class: "says", "aria-live": "polite" });
  readonly #order: Control<number>;
  readonly #part = h("select", { id: "part" });
  readonly #partField = h(
    "div",
    { class: "field", hidden: true },
    h("label", { for: "part" }, "Part of the union"),
    this.#part,
  );
  #planned: PatternPlan | null = null;
  /** Of the pointing-out: whether anyone asked for it yet. */
  #isQueryChosen = false;
  #tilesShown: number | null = null;
  #animation = 0;

  constructor() {
    this.#remote = connect<typeof handlers>(
      new Worker(new URL("./patternWorker.ts", import.meta.url), { type: "module", name: "pattern" }),
    );
    this.#query = slider({
      label: "Query",
      value: 0,
      values: [0],
      format: (value) => `at position ${value}`,
      onInput: () => this.#chooseQuery(),
    });
    this.#order = slider({
      label: "Order",
      value: 100,
      values: Array.from({ length: 101 }, (_, i) => i),
      format: (value) => (value === 0 ? "by position" : value === 100 ? "in visit order" : `${value} % sorted`),
      onInput: () => this.#stopAnimation(),
    });
    this.#part.addEventListener("input", () => this.#stopAnimation());
    this.#pointOnCanvas(this.#positions, (row) => row);
    this.#pointOnCanvas(this.#visits, (place) => this.#planned!.parts[this.#partIndex]!.qRows[place]!);
    this.element = pageOf(
      "Explore",
      "Attention compares every query with every earlier key. A sparse pattern leaves most pairs out; sorted so that what a query sees is contiguous, the rest is a staircase, and a kernel skips every tile beside it.",
      h("div", { class: "split" }, this.#controls.element, this.#pictures()),
      this.#reading.element,
    );
    const redraw = () => this.#draw();
    new ResizeObserver(redraw).observe(this.#positions);
    document.addEventListener("themechange", redraw);
    void this.#plan();
    void this.#reading.start();
  }

  #pictures(): HTMLElement {
    return h(
      "section",
      { class: "card", "aria-label": "Pictures" },
      this.#notice.element,
      this.#facts,
      h(
        "div",
        { class: "pair" },
        h(
          "figure",
          {},
          h("figcaption", {}, h("strong", {}, "By position"), " queries down, keys across"),
          this.#positions,
        ),
        h("figure", {}, h("figcaption", {}, h("strong", {}, "In visit order"), " tile by tile"), this.#visits),
      ),
      h(
        "ul",
        { class: "legend" },
        h("li", {}, h("i", { class: "swatch pairs" }), "visible pair, a colour for each step"),
        h("li", {}, h("i", { class: "swatch partial" }), "partial tile: computed with a mask"),
        h("li", {}, h("i", { class: "swatch full" }), "full tile: no mask needed"),
        h("li", {}, h("i", { class: "swatch skipped" }), "skipped tile"),
      ),
      this.#tiles,
      h(
        "div",
        { class: "row" },
        this.#partField,
        this.#order.element,
        button("Play", () => this.#play()),
      ),
      this.#query.element,
      this.#querySays,
    );
  }

  /** Plans what is chosen, and shows it. */
  async #plan(): Promise<void> {
    try {
      this.#planned = await this.#remote.call("plan", this.#controls.choice);
      this.#notice.clear();
      this.#showPlan(this.#planned);
    } catch (error) {
      this.#notice.fail(error);
    }
  }

  #showPlan(plan: PatternPlan): void {
    const { parts, visibleShare, visiblePairs, tiles, denseTiles } = plan;
    const { name, T } = plan.choice;
    this.#reading.follow(plan.choice);
    const names = catalogue[name].parts ?? [];
    fill(this.#part, ...parts.map((_, i) => h("option", { value: i }, names[i] ?? `part ${i + 1}`)));
    this.#partField.hidden = parts.length < 2;
    this.#query.offer(Array.from({ length: T }, (_, i) => i));
    if (!this.#isQueryChosen) this.#query.set(Math.round(T * 0.7));
    const visited = tiles.partial + tiles.full;
    const fact = (key: string, term: string, value: string, note: string) =>
      h("div", {}, h("dt", {}, term), h("dd", { "data-fact": key }, value), h("dd", { class: "small muted" }, note));
    fill(
      this.#facts,
      fact("pairs", "Pairs", percent(visibleShare), `${thousands(visiblePairs)} of dense attention's`),
      fact("tiles", "Tiles", percent(visited / denseTiles), `${thousands(visited)} of its ${thousands(denseTiles)}`),
      fact("speedPairs", "Speed-up by pairs", times(1 / visibleShare), "what no kernel exceeds"),
      fact("speedTiles", "Speed-up by tiles", times(denseTiles / visited), "what this tile size leaves"),
    );
    fill(
      this.#tiles,
      "Tiles: ",
      h("span", { "data-fact": "skipped" }, thousands(tiles.skipped)),
      " skipped, ",
      h("span", { "data-fact": "partial" }, thousands(tiles.partial)),
      " partial, ",
      h("span", { "data-fact": "full" }, thousands(tiles.full)),
      ` full${parts.length > 1 ? ", over all parts of the union" : ""}.`,
    );
    const { label } = catalogue[name];
    this.#positions.setAttribute(
      "aria-label",
      `${label}: ${percent(visibleShare)} of the pairs are visible, by position`,
    );
    this.#visits.setAttribute(
      "aria-label",
      `${label} in visit order: ${tiles.skipped} tiles skipped, ${tiles.partial} partial, ${tiles.full} full`,
    );
    this.#stopAnimation();
  }

  get #partIndex(): number {
    return Math.max(0, this.#part.selectedIndex);
  }

  #draw(): void {
    if (!this.#planned || this.#positions.clientWidth === 0) return;
    drawPositions(this.#positions, this.#planned, { query: this.#chosenQuery });
    this.#drawVisits(this.#planned);
    this.#sayQuery(this.#planned, this.#chosenQuery);
  }

  #drawVisits(plan: PatternPlan): void {
    const at = this.#order.value / 100;
    const [part, query, tilesShown] = [this.#partIndex, this.#chosenQuery, this.#tilesShown];
    drawVisits(this.#visits, plan, { part, at, query, tilesShown });
  }

  get #chosenQuery(): number | null {
    return this.#isQueryChosen ? this.#query.value : null;
  }

  #sayQuery({ parts }: PatternPlan, query: number | null): void {
    if (query === null) {
      fill(this.#querySays, "Move the slider, or point at a picture, to see what one query sees.");
      return;
    }
    const keys = parts.flatMap((part) => [...keysSeen(part, query)].map(({ key }) => key)).sort((a, b) => a - b);
    const some = keys.length > 12 ? `${keys.slice(0, 12).join(", ")} and so on` : keys.join(", ");
    const place = parts[this.#partIndex]!.qRows.indexOf(query);
    const text = keys.length === 0 ? " and sees nothing." : ` and sees ${keys.length} keys: ${some}.`;
    fill(this.#querySays, h("strong", {}, `Query ${query}`), ` stands at place ${place}`, text);
  }

  #chooseQuery(): void {
    this.#isQueryChosen = true;
    this.#draw();
  }

  /** A pointer over a picture chooses the query of its row. */
  #pointOnCanvas(canvas: HTMLCanvasElement, queryOf: (row: number) => number): void {
    canvas.addEventListener("pointermove", ({ offsetY }) => {
      if (!this.#planned) return;
      const { T } = this.#planned.choice;
      const row = Math.min(T - 1, Math.max(0, Math.floor((offsetY / canvas.clientHeight) * T)));
      this.#query.set(queryOf(row));
      this.#chooseQuery();
    });
  }

  /** Sorts the rows before one's eyes, then visits the tiles one by one. */
  #play(): void {
    this.#stopAnimation();
    if (!this.#planned || matchMedia("(prefers-reduced-motion: reduce)").matches) {
      this.#order.set(100);
      this.#draw();
      return;
    }
    const plan = this.#planned;
    const { tile } = plan.choice;
    const tiles = [...visitedTiles(plan.parts[this.#partIndex]!, tile)].length;
    const start = performance.now();
    const frame = (now: number) => {
      const spent = now - start;
      const sorted = Math.min(1, spent / sortingMs);
      this.#order.set(Math.round(100 * ease(sorted)));
      const swept = Math.max(0, (spent - sortingMs) / sweepMs);
      this.#tilesShown = swept < 1 ? Math.floor(swept * tiles) : null;
      this.#drawVisits(plan);
      if (swept < 1) this.#animation = requestAnimationFrame(frame);
    };
    this.#animation = requestAnimationFrame(frame);
  }

  #stopAnimation(): void {
    cancelAnimationFrame(this.#animation);
    this.#tilesShown = null;
    this.#draw();
  }
}

/** From 0 to 1, slow at both ends. */
function ease(x: number): number {
  return (1 - Math.cos(Math.PI * x)) / 2;
}
