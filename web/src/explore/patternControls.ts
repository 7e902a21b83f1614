import { button, select, slider } from "../ui/controls.ts";
import { fill, h } from "../ui/dom.ts";
import { powers } from "../ui/powers.ts";
import { catalogue, type PatternChoice, type PatternName, usualNumbers } from "./catalogue.ts";

/** What Explore's pictures are of: a pattern, its numbers, the sequence and the tiles. */
export class PatternControls {
  readonly element: HTMLElement;
  readonly #onChange: () => void;
  readonly #sees = h("p", { class: "muted" });
  /** The sliders of the pattern's own numbers. */
  readonly #numbers = h("div", { class: "stack" });
  readonly #again: HTMLButtonElement;
  #choice: PatternChoice = { name: "hash", numbers: usualNumbers("hash"), T: 256, tile: 16, seed: 1 };

  /** @param onChange called when `choice` is another one */
  constructor(onChange: () => void) {
    this.#onChange = onChange;
    const pattern = select<PatternName>({
      label: "Pattern",
      value: this.#choice.name,
      choices: Object.entries(catalogue).map(([value, { label }]) => ({ value: value as PatternName, label })),
      onInput: (name) => this.#change({ name, numbers: usualNumbers(name) }),
    });
    const length = slider({
      label: "Sequence",
      value: this.#choice.T,
      values: powers(64, 1024),
      format: (T) => `${T} tokens`,
      onInput: (T) => this.#change({ T }),
    });
    const tile = slider({
      label: "Tiles",
      value: this.#choice.tile,
      values: powers(4, 64),
      format: (size) => `${size} × ${size}`,
      onInput: (tile) => this.#change({ tile }),
    });
    this.#again = button("Draw other random numbers", () => this.#change({ seed: this.#choice.seed + 1 }), {
      class: "quiet",
    });
    this.element = h(
      "section",
      { class: "card stack controls", "aria-label": "Pattern and numbers" },
      pattern.element,
      this.#sees,
      this.#numbers,
      length.element,
      tile.element,
      this.#again,
    );
    this.#offerNumbers();
  }

  get choice(): PatternChoice {
    return this.#choice;
  }

  #change(part: Partial<PatternChoice>): void {
    this.#choice = { ...this.#choice, ...part };
    if (part.name !== undefined || part.T !== undefined) this.#offerNumbers();
    this.#onChange();
  }

  #offerNumbers(): void {
    const { name, T, numbers } = this.#choice;
    const { numbers: offered, sees, isRandom } = catalogue[name];
    const sliders = offered.map(({ key, label, values, format }) => {
      const onInput = (value: number) => this.#change({ numbers: { ...this.#choice.numbers, [key]: value } });
      return {
        key,
        made: slider({ label, value: numbers[key]!, values: values(T), ...(format && { format }), onInput }),
      };
    });
    // A shorter sequence may not have room for what was chosen.
    const possible = Object.fromEntries(sliders.map(({ key, made }) => [key, made.value]));
    this.#choice = { ...this.#choice, numbers: possible };
    fill(this.#numbers, ...sliders.map(({ made }) => made.element));
    this.#numbers.hidden = sliders.length === 0;
    fill(this.#sees, sees);
    this.#again.hidden = !isRandom;
  }
}
