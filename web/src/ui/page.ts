import { type Child, h } from "./dom.ts";

/** What every page is: a heading, which takes the focus when the page is turned to, a sentence, and its parts. */
export function pageOf(title: string, lede: string, ...parts: Child[]): HTMLElement {
  return h(
    "div",
    { class: "page" },
    h("div", {}, h("h1", { tabindex: -1 }, title), h("p", { class: "lede" }, lede)),
    ...parts,
  );
}
