// The shell: which page is shown, the theme, and what this browser lets the pages use.

import { fill, h } from "./ui/dom.ts";
import { machineFacts } from "./ui/machine.ts";
import { explain } from "./ui/messages.ts";
import { themeSwitch } from "./ui/theme.ts";

/** A page is made when it is first asked for and then kept, so that training goes on while one looks elsewhere. */
const pages: Readonly<Record<string, { title: string; make: () => Promise<HTMLElement> }>> = {
  explore: { title: "Explore", make: async () => (await import("./explore/page.ts")).explorePage() },
  measure: { title: "Measure", make: async () => (await import("./measure/page.ts")).measurePage() },
  train: { title: "Train", make: async () => (await import("./train/page.ts")).trainPage() },
};

const main = document.querySelector("main")!;
const made = new Map<string, Promise<HTMLElement>>();

async function show({ isFirst }: { isFirst: boolean }): Promise<void> {
  const asked = /^#\/(\w+)/.exec(location.hash)?.[1] ?? "";
  const name = Object.hasOwn(pages, asked) ? asked : "explore";
  const { title, make } = pages[name]!;
  document.title = `${title} - scfa playground`;
  for (const link of document.querySelectorAll<HTMLAnchorElement>("nav a")) {
    if (link.hash === `#/${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (!made.has(name)) made.set(name, make());
  try {
    const page = await made.get(name)!;
    if (main.firstElementChild === page) return;
    main.replaceChildren(page);
  } catch (error) {
    made.delete(name);
    const { what, remedy } = explain(error);
    fill(
      main,
      h("h1", { tabindex: -1 }, title),
      h("p", { class: "notice error" }, h("strong", {}, what), ` ${remedy}`),
    );
  }
  if (isFirst) return;
  // As a browser does for another document: to the top, and a screen reader to the new heading.
  scrollTo(0, 0);
  main.querySelector("h1")?.focus({ preventScroll: true });
}

document.querySelector("#theme")!.replaceWith(themeSwitch());
document.querySelector(".skip")!.addEventListener("click", (event) => {
  // The address names the page that is shown, so the link must not change it.
  event.preventDefault();
  main.focus();
});
addEventListener("hashchange", () => void show({ isFirst: false }));
void show({ isFirst: true });
void machineFacts().then((facts) => {
  fill(document.querySelector("#footer")!, ...facts.map((fact) => h("p", {}, fact)));
});
