import { type Child, h } from "./dom.ts";

/** What went wrong, and what one can do about it. */
export interface Explanation {
  readonly what: string;
  readonly remedy: string;
}

/** An error that the site itself raises, in words for people. */
export class PlainError extends Error implements Explanation {
  override name = "PlainError";
  readonly what: string;
  constructor(
    what: string,
    readonly remedy: string,
  ) {
    super(`${what} ${remedy}`);
    this.what = what;
  }
}

/** An error in words; the package's own say what to do where they can. */
export function explain(error: unknown): Explanation {
  if (isExplained(error)) return error;
  const { name, message } = error instanceof Error ? error : { name: "Error", message: String(error) };
  if (name === "DeviceError" && /lost/i.test(message)) {
    return {
      what: `The browser took the GPU away: ${message}`,
      remedy: "Reload the page and try again; if it happens again, choose WASM or smaller numbers.",
    };
  }
  if (/out of memory|allocation failed|maxTensorBytes|holds tensors of up to/i.test(message)) {
    return {
      what: "There is not enough memory for this.",
      remedy: `Choose a shorter context or a smaller model, or close other tabs. (${message})`,
    };
  }
  if (name === "UnsupportedError" || name === "ShapeError" || name === "DataError") {
    return { what: message, remedy: "Change the setting that it names." };
  }
  if (name === "QuotaExceededError") {
    return {
      what: "This browser has no room left to keep the models.",
      remedy: "Training goes on, but a reload would lose it: download the weights, or free storage for this site.",
    };
  }
  if (name === "WorkerError") {
    return { what: message, remedy: "Reload the page. If it stays so, another browser may be able to run it." };
  }
  return { what: message, remedy: "Reload the page; what was saved in this browser is still there." };
}

/** Whether an error brings its explanation, from here or from a worker. */
function isExplained(error: unknown): error is Explanation {
  return error instanceof Error && "what" in error && "remedy" in error;
}

/** A place for one message at a time, read out when it comes. */
export function notice(): {
  readonly element: HTMLElement;
  say(...children: Child[]): void;
  fail(error: unknown): void;
  clear(): void;
} {
  const element = h("div", { class: "notice", role: "status", hidden: true });
  const show = (kind: string, children: Child[]) => {
    element.className = `notice ${kind}`;
    element.hidden = false;
    element.replaceChildren(
      ...children.flatMap((child) => (child ? [child instanceof Node ? child : `${child}`] : [])),
    );
  };
  return {
    element,
    say: (...children) => show("", children),
    fail: (error) => {
      const { what, remedy } = explain(error);
      show("error", [h("strong", { class: "bad" }, what), " ", remedy]);
    },
    clear: () => {
      element.hidden = true;
    },
  };
}
