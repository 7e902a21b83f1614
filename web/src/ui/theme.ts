import { segments } from "./controls.ts";

type Theme = "auto" | "light" | "dark";

/** Light, dark, or as the system says; what was chosen is kept in this browser. */
export function themeSwitch(): HTMLElement {
  const root = document.documentElement;
  const tell = () => document.dispatchEvent(new Event("themechange"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", tell);
  const control = segments<Theme>({
    label: "Theme",
    isLabelUnseen: true,
    value: (root.dataset["theme"] as Theme | undefined) ?? "auto",
    choices: [
      { value: "auto", label: "Auto" },
      { value: "light", label: "Light" },
      { value: "dark", label: "Dark" },
    ],
    onInput: (theme) => {
      if (theme === "auto") delete root.dataset["theme"];
      else root.dataset["theme"] = theme;
      try {
        if (theme === "auto") localStorage.removeItem("theme");
        else localStorage.setItem("theme", theme);
      } catch {
        // A browser that stores nothing shows the theme until it is closed.
      }
      tell();
    },
  });
  control.element.classList.add("theme");
  return control.element;
}
