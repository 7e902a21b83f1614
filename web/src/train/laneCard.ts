import { button } from "../ui/controls.ts";
import { fill, h } from "../ui/dom.ts";
import type { LaneHistory, LaneView } from "./race.ts";
import type { LaneName } from "./settings.ts";

/** What a card shows of its lane. */
export interface LaneFacts {
  readonly attention: string;
  /** Bytes of a step. */
  readonly T: number;
  /** null before the first step. */
  readonly history: LaneHistory | null;
  /** null while no worker has the model. */
  readonly view: LaneView | null;
  readonly canDownload: boolean;
}

/** One lane: its numbers, what it writes, and its weights to take away. */
export class LaneCard {
  readonly element: HTMLElement;
  readonly #facts = h("dl", { class: "facts" });
  readonly #attention = h("code", {});
  readonly #writing = h("div", { class: "writing", tabindex: 0, role: "region", "aria-live": "polite" });
  readonly #model = h("p", { class: "muted small" });
  readonly #download: HTMLButtonElement;

  constructor(name: LaneName, { color, download }: { color: string; download: () => void }) {
    const title = name === "dense" ? "Dense" : "Sparse";
    this.#download = button("Download the weights", download);
    this.#download.setAttribute("aria-label", `Download the weights of the ${name} model`);
    this.#writing.setAttribute("aria-label", `What the ${name} model writes`);
    this.element = h(
      "section",
      { class: "card lane", style: `--lane:${color}`, "aria-label": title, "data-lane": name },
      h("h2", {}, `${title} `, this.#attention),
      this.#facts,
      this.#writing,
      h("div", { class: "buttons" }, this.#download, this.#model),
    );
    this.clear();
  }

  show({ attention, T, history, view, canDownload }: LaneFacts): void {
    this.#attention.textContent = attention === "dense" ? "" : attention;
    const { losses, stepMs } = history ?? { losses: [], stepMs: [] };
    const recent = stepMs.slice(-10);
    const meanMs = recent.reduce((sum, ms) => sum + ms, 0) / recent.length;
    const lately = losses.slice(-10);
    const loss = lately.reduce((sum, one) => sum + one, 0) / lately.length;
    const fact = (key: string, term: string, value: string) =>
      h("div", {}, h("dt", {}, term), h("dd", { "data-fact": key }, value));
    const share = view?.visibleShare ?? null;
    fill(
      this.#facts,
      fact("loss", "Loss", losses.length === 0 ? "-" : loss.toFixed(3)),
      fact("steps", "Steps", losses.length.toLocaleString("en")),
      fact("speed", "Bytes a second", recent.length === 0 ? "-" : Math.round((1000 * T) / meanMs).toLocaleString("en")),
      fact("share", "Visible pairs", share === null ? "-" : `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`),
    );
    this.#model.textContent = view ? `${view.parameters.toLocaleString("en")} parameters on ${view.device}` : "";
    this.#download.disabled = !canDownload || losses.length === 0;
  }

  beginWriting(prompt: string): void {
    fill(this.#writing, h("span", { class: "muted" }, prompt));
  }

  addWriting(text: string): void {
    this.#writing.append(text);
  }

  clear(): void {
    fill(this.#writing, h("span", { class: "muted" }, "What it writes will stand here."));
  }
}
