import { button } from "../ui/controls.ts";
import { fill, h, newId } from "../ui/dom.ts";
import { PlainError } from "../ui/messages.ts";
import { checkText, longestText, type TrainingText } from "./text.ts";

/** Where a text comes from: pasted, dropped, chosen, or the novel that the site brings. */
export class TextInput {
  readonly element: HTMLElement;
  readonly #onError: (error: unknown) => void;
  readonly #area = h("textarea", {
    id: newId("paste"),
    rows: 5,
    spellcheck: false,
    placeholder: "Paste a text here, or drop a file",
  });
  readonly #file = h("input", { type: "file", hidden: true });
  readonly #name = h("p", { class: "small muted", role: "status" });
  readonly #choose = button("Choose a file", () => this.#file.click());
  readonly #novel = button("Use Moby-Dick", () => void this.#takeNovel());
  readonly #zone: HTMLElement;
  /** A file; null while the text is what was pasted. */
  #taken: TrainingText | null = null;
  #isDisabled = false;

  constructor(onError: (error: unknown) => void) {
    this.#onError = onError;
    this.#zone = h(
      "div",
      { class: "drop" },
      h("label", { for: this.#area.id }, "Text to learn from"),
      this.#area,
      h("div", { class: "buttons" }, this.#choose, this.#novel, this.#file),
      this.#name,
    );
    this.element = this.#zone;
    this.#area.addEventListener("input", () => {
      this.#taken = null;
      this.#say();
    });
    this.#file.addEventListener("change", () => {
      const file = this.#file.files?.[0];
      // So that the same file can be chosen again.
      if (file)
        void this.#take(file).finally(() => {
          this.#file.value = "";
        });
    });
    this.#acceptDrops();
    this.#say();
  }

  /** @throws PlainError if there is no text, or not enough */
  value(): TrainingText {
    if (this.#taken) return this.#taken;
    if (this.#area.value === "") {
      throw new PlainError("There is no text yet.", "Paste one, drop a file, or press Use Moby-Dick.");
    }
    return checkText("The pasted text", new TextEncoder().encode(this.#area.value));
  }

  set(text: TrainingText): void {
    this.#taken = text;
    this.#area.value = new TextDecoder().decode(text.bytes.subarray(0, 400));
    this.#say();
  }

  disable(disabled: boolean): void {
    this.#isDisabled = disabled;
    for (const one of [this.#area, this.#choose, this.#novel, this.#file]) one.disabled = disabled;
  }

  async #take(file: File): Promise<void> {
    await this.#try(async () => {
      const bytes = new Uint8Array(await file.slice(0, longestText).arrayBuffer());
      this.set(checkText(file.name, bytes));
    });
  }

  async #takeNovel(): Promise<void> {
    await this.#try(async () => {
      const response = await fetch(new URL("moby-dick.txt", document.baseURI));
      if (!response.ok || response.headers.get("Content-Type")?.startsWith("text/html")) {
        throw new PlainError(
          "The novel is missing: this copy of the site was built without it.",
          "Build it with npm run web:build, or give a text of your own.",
        );
      }
      this.set(checkText("Moby-Dick", new Uint8Array(await response.arrayBuffer())));
    });
  }

  async #try(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#onError(error);
    }
  }

  #acceptDrops(): void {
    const over = (isOver: boolean) => (event: DragEvent) => {
      event.preventDefault();
      this.#zone.classList.toggle("over", isOver && !this.#isDisabled);
    };
    this.#zone.addEventListener("dragover", over(true));
    this.#zone.addEventListener("dragleave", over(false));
    this.#zone.addEventListener("drop", (event) => {
      over(false)(event);
      const file = event.dataTransfer?.files[0];
      if (file && !this.#isDisabled) void this.#take(file);
    });
  }

  #say(): void {
    if (this.#taken) {
      const { name, bytes } = this.#taken;
      fill(this.#name, h("strong", {}, name), `: ${bytes.length.toLocaleString("en")} bytes. Its beginning is shown.`);
    } else {
      const length = this.#area.value.length;
      fill(
        this.#name,
        length === 0
          ? "Plain text, at least 512 bytes; some 100 kB teach it words."
          : `${length.toLocaleString("en")} characters`,
      );
    }
  }
}
