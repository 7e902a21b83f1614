import { select } from "../ui/controls.ts";
import { fill, h, newId } from "../ui/dom.ts";
import { notice } from "../ui/messages.ts";
import { connect, type Remote } from "../workers/calls.ts";
import { latest } from "../workers/latest.ts";
import { catalogue, type PatternChoice } from "./catalogue.ts";
import type { handlers, LoadedModel, Reading } from "./readingWorker.ts";

const example =
  "The old whale rose beside the boat. The captain saw the whale, and the whale saw the captain; then the old whale sank, and the boat was still.";

/** A character of the text: bytes first .. end - 1. */
interface Character {
  readonly text: string;
  readonly first: number;
  readonly end: number;
}

/** The part of Explore where a small trained model reads a text: which earlier bytes does a byte attend to? */
export class ReadingPanel {
  readonly element: HTMLElement;
  readonly #notice = notice();
  readonly #body = h("div", { hidden: true });
  readonly #text = h("textarea", { rows: 3, spellcheck: false });
  readonly #shown = h("p", { class: "bytes" });
  readonly #byte = h("input", { type: "range", min: 0, step: 1 });
  readonly #says = h("p", { class: "says", "aria-live": "polite" });
  readonly #loss = h("span", { class: "muted" });
  readonly #head = h("select", {});
  readonly #sees = select({
    label: "The model may see",
    value: "trained",
    choices: [
      { value: "trained", label: "what it was trained to" },
      { value: "dense", label: "every earlier byte" },
      { value: "above", label: "the pattern above" },
    ],
    onInput: () => void this.#read(),
  });
  #remote: Remote<typeof handlers> | undefined;
  #model: LoadedModel | null = null;
  #choice: PatternChoice | undefined;
  #characters: Character[] = [];
  #reading: Reading | null = null;
  readonly #read = latest(() => this.#readOnce());

  constructor() {
    const [textId, byteId, headId] = ["text", "byte", "head"].map(newId);
    this.#text.id = textId!;
    this.#byte.id = byteId!;
    this.#head.id = headId!;
    this.#text.value = example;
    // Before anything is read: a byte that is chosen while the first reading is under way stays chosen.
    this.#byte.max = this.#byte.value = String(example.length - 1);
    this.#text.addEventListener("input", () => void this.#read());
    this.#byte.addEventListener("input", () => this.#show());
    this.#head.addEventListener("input", () => this.#show());
    this.#shown.addEventListener("click", (event) => {
      const index = (event.target as HTMLElement).dataset["index"];
      if (index === undefined) return;
      this.#byte.value = index;
      this.#show();
    });
    fill(
      this.#body,
      h("div", { class: "field" }, h("label", { for: textId! }, "Text"), this.#text),
      h(
        "div",
        { class: "row" },
        h("div", { class: "field" }, h("label", { for: headId! }, "Head"), this.#head),
        this.#sees.element,
      ),
      h(
        "div",
        { class: "field" },
        h("label", { for: byteId! }, "Chosen byte: use the arrow keys, or click into the text below"),
        this.#byte,
      ),
      this.#shown,
      this.#says,
      this.#loss,
    );
    this.element = h(
      "section",
      { class: "card", "aria-labelledby": "reading-title" },
      h("h2", { id: "reading-title" }, "What a trained model looks back at"),
      h(
        "p",
        { class: "muted" },
        "A model of bytes, trained on Moby-Dick for a minute or two when this site was built, reads your text. The stronger a letter's colour, the more of its attention the chosen byte gives to it.",
      ),
      this.#notice.element,
      this.#body,
    );
  }

  /** Loads the model, once. */
  async start(): Promise<void> {
    if (this.#remote) return;
    this.#notice.say("Loading the model ...");
    this.#remote = connect<typeof handlers>(
      new Worker(new URL("./readingWorker.ts", import.meta.url), { type: "module", name: "reading" }),
    );
    try {
      this.#model = await this.#remote.call("load", new URL("model.safetensors", document.baseURI).href);
      if (!this.#model) {
        this.#notice.say(
          h("strong", {}, "The trained model is missing: "),
          "this copy of the site was built without it. Build it with ",
          h("code", {}, "npm run web:build"),
          ", which trains it.",
        );
        return;
      }
      this.#notice.clear();
      this.#body.hidden = false;
      await this.#read();
    } catch (error) {
      this.#notice.fail(error);
    }
  }

  /** The pattern above changed. */
  follow(choice: PatternChoice): void {
    this.#choice = choice;
    if (this.#sees.value === "above") void this.#read();
  }

  /** Reads the text as it is now. */
  async #readOnce(): Promise<void> {
    if (!this.#model || !this.#remote) return;
    const { bytes, characters, isCut } = splitText(this.#text.value, this.#model.context);
    if (characters.length < 2) {
      this.#notice.say("Type at least two letters.");
      return;
    }
    const attention = this.#attention();
    if (attention === undefined) {
      const { label } = catalogue[this.#choice!.name];
      this.#notice.say(`A model's heads know no pattern "${label}". Choose another one above, such as Hash.`);
      return;
    }
    try {
      this.#reading = await this.#remote.call("read", { bytes, attention });
    } catch (error) {
      this.#notice.fail(error);
      return;
    }
    this.#characters = characters;
    if (isCut) this.#notice.say(`The model reads ${this.#model.context} bytes; the rest of the text is left out.`);
    else this.#notice.clear();
    this.#offerHeads(this.#reading);
    this.#byte.max = String(characters.length - 1);
    this.#show();
  }

  /** What the heads shall see; undefined where the pattern above is none of a model's. */
  #attention(): string | null | undefined {
    if (this.#sees.value === "trained") return null;
    if (this.#sees.value === "dense" || !this.#choice) return "dense";
    return catalogue[this.#choice.name].notation?.(this.#choice.numbers);
  }

  #offerHeads({ sees }: Reading): void {
    const before = this.#head.value;
    fill(
      this.#head,
      h("option", { value: "all" }, "all heads, their mean"),
      ...sees.flatMap((layer, l) =>
        layer.map((pattern, n) => h("option", { value: `${l},${n}` }, `layer ${l + 1}, head ${n + 1}: ${pattern}`)),
      ),
    );
    this.#head.value = before;
    if (this.#head.selectedIndex < 0) this.#head.value = "all";
  }

  #show(): void {
    const reading = this.#reading;
    if (!reading) return;
    const chosen = Number(this.#byte.value);
    const shares = this.#shares(reading, this.#characters[chosen]!);
    // Itself apart: a byte gives much to itself, and that is shown by its own colour.
    const strongest = Math.max(...shares.filter((_, i) => i !== chosen));
    fill(
      this.#shown,
      ...this.#characters.map(({ text }, i) => {
        const share = shares[i]!;
        // By the square root: small shares are to be seen beside the largest.
        const level = share === 0 ? 0 : Math.round(100 * Math.sqrt(Math.min(1, share / strongest)));
        const name = i === chosen ? "chosen" : share > 0 ? "seen" : "unseen";
        return h("span", { class: name, "data-index": i, style: `--share:${level}%` }, text === "\n" ? "↵\n" : text);
      }),
    );
    const { text } = this.#characters[chosen]!;
    this.#byte.setAttribute("aria-valuetext", `${chosen + 1} of ${this.#characters.length}, ${nameOf(text)}`);
    const ranked = shares.flatMap((share, i) => (share > 0 ? [{ share, i }] : [])).sort((a, b) => b.share - a.share);
    const best = ranked
      .slice(0, 5)
      .map(({ share, i }) => `${nameOf(this.#characters[i]!.text)} at ${i + 1} (${percent(share)})`);
    fill(
      this.#says,
      h("strong", {}, `${nameOf(text)} at ${chosen + 1}`),
      ranked.length === 0
        ? " sees nothing."
        : ` sees ${ranked.length} of ${chosen + 1}, most of all ${best.join(", ")}.`,
    );
    fill(this.#loss, `The model needs ${reading.bitsPerByte.toFixed(2)} bits for each byte of this text.`);
  }

  /** What the character's last byte gives to each character, by the chosen head or the mean of all. */
  #shares({ T, weights }: Reading, { end }: Character): number[] {
    const [layer, head] = this.#head.value === "all" ? [] : this.#head.value.split(",").map(Number);
    const chosen = weights.flatMap((layerWeights, l) =>
      Array.from({ length: layerWeights.length / (T * T) }, (_, n) => ({ layerWeights, l, n })),
    );
    const used = chosen.filter(({ l, n }) => layer === undefined || (l === layer && n === head));
    return this.#characters.map(({ first, end: last }) => {
      let sum = 0;
      for (const { layerWeights, n } of used) {
        for (let key = first; key < last; key++) sum += layerWeights[(n * T + end - 1) * T + key]!;
      }
      return sum / used.length;
    });
  }
}

/** The bytes of a text, and which of them are which character; characters that do not fit are left out. */
function splitText(text: string, room: number): { bytes: Uint8Array; characters: Character[]; isCut: boolean } {
  const encoder = new TextEncoder();
  const characters: Character[] = [];
  let at = 0;
  let isCut = false;
  for (const one of text) {
    const length = encoder.encode(one).length;
    isCut = at + length > room;
    if (isCut) break;
    characters.push({ text: one, first: at, end: at + length });
    at += length;
  }
  return { bytes: encoder.encode(characters.map((character) => character.text).join("")), characters, isCut };
}

function nameOf(text: string): string {
  if (text === " ") return "space";
  if (text === "\n") return "line end";
  return `“${text}”`;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;
}
