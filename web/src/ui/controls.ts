import { type Child, h, newId } from "./dom.ts";

/** An input with its label; `value` is what it stands at. */
export interface Control<T> {
  readonly element: HTMLElement;
  readonly value: T;
  set(value: T): void;
  disable(disabled: boolean): void;
}

export interface SliderOptions {
  readonly label: string;
  readonly value: number;
  /** What it may stand at, in order. */
  readonly values: readonly number[];
  /** The value in words, which a screen reader says too. Default: the number. */
  readonly format?: (value: number) => string;
  readonly onInput?: (value: number) => void;
}

/** Whole numbers from `from` to `to`. */
export function range(from: number, to: number, step = 1): number[] {
  return Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, i) => from + i * step);
}

/** A slider over a list of values, its value beside its label. */
export function slider({ label, value, values, format = String, onInput }: SliderOptions): Control<number> & {
  /** Lets it stand at other values, at the nearest to where it stood. */
  offer(values: readonly number[]): void;
} {
  const id = newId("slider");
  const output = h("output", { for: id, class: "value" });
  const input = h("input", { id, type: "range", min: 0, step: 1, max: values.length - 1 });
  let offered = values;
  const valueNow = () => offered[Number(input.value)]!;
  const say = () => {
    output.textContent = format(valueNow());
    input.setAttribute("aria-valuetext", format(valueNow()));
  };
  const set = (wanted: number) => {
    const distance = (i: number) => Math.abs(offered[i]! - wanted);
    input.value = String(offered.reduce((best, _, i) => (distance(i) < distance(best) ? i : best), 0));
    say();
  };
  input.addEventListener("input", () => {
    say();
    onInput?.(valueNow());
  });
  set(value);
  return {
    element: h(
      "div",
      { class: "field" },
      h("div", { class: "label-row" }, h("label", { for: id }, label), output),
      input,
    ),
    get value() {
      return valueNow();
    },
    set,
    disable: (disabled) => {
      input.disabled = disabled;
    },
    offer: (others) => {
      const stood = valueNow();
      offered = others;
      input.max = String(others.length - 1);
      set(stood);
    },
  };
}

export interface Choice<T extends string> {
  readonly value: T;
  readonly label: string;
}

/** A list to choose from. */
export function select<T extends string>(options: {
  readonly label: string;
  readonly choices: readonly Choice<T>[];
  readonly value: T;
  readonly onInput?: (value: T) => void;
}): Control<T> {
  const id = newId("select");
  const input = h("select", { id }, ...options.choices.map(({ value, label }) => h("option", { value }, label)));
  input.value = options.value;
  input.addEventListener("input", () => options.onInput?.(input.value as T));
  return {
    element: h("div", { class: "field" }, h("label", { for: id }, options.label), input),
    get value() {
      return input.value as T;
    },
    set: (value) => {
      input.value = value;
    },
    disable: (disabled) => {
      input.disabled = disabled;
    },
  };
}

/** A box to tick. */
export function checkbox(options: {
  readonly label: string;
  readonly value: boolean;
  readonly onInput?: (value: boolean) => void;
}): Control<boolean> {
  const id = newId("box");
  const input = h("input", { id, type: "checkbox" });
  input.checked = options.value;
  input.addEventListener("input", () => options.onInput?.(input.checked));
  return {
    element: h("div", { class: "field box" }, input, h("label", { for: id }, options.label)),
    get value() {
      return input.checked;
    },
    set: (value) => {
      input.checked = value;
    },
    disable: (disabled) => {
      input.disabled = disabled;
    },
  };
}

/** A few choices side by side, of which one holds. */
export function segments<T extends string>(options: {
  readonly label: string;
  /** Whether the label is for screen readers only. */
  readonly isLabelUnseen?: boolean;
  readonly choices: readonly Choice<T>[];
  readonly value: T;
  readonly onInput?: (value: T) => void;
}): Control<T> {
  const name = newId("segment");
  const inputs = options.choices.map(({ value }) => {
    const input = h("input", { type: "radio", name, id: `${name}-${value}`, value });
    input.checked = value === options.value;
    input.addEventListener("input", () => options.onInput?.(value));
    return input;
  });
  const labels = options.choices.map(({ value, label }) => h("label", { for: `${name}-${value}` }, label));
  return {
    element: h(
      "fieldset",
      { class: "segments" },
      h("legend", { class: options.isLabelUnseen ? "unseen-label" : null }, options.label),
      h("div", {}, ...inputs.flatMap((input, i) => [input, labels[i]])),
    ),
    get value() {
      return inputs.find((input) => input.checked)!.value as T;
    },
    set: (value) => {
      for (const input of inputs) input.checked = input.value === value;
    },
    disable: (disabled) => {
      for (const input of inputs) input.disabled = disabled;
    },
  };
}

/** A button. */
export function button(label: Child, onClick: () => void, attributes: Record<string, string> = {}): HTMLButtonElement {
  return h("button", { type: "button", ...attributes, onclick: onClick }, label);
}
