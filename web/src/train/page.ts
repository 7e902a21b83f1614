import { Chart } from "../ui/chart.ts";
import { button, type Control, segments } from "../ui/controls.ts";
import { h, newId } from "../ui/dom.ts";
import { notice } from "../ui/messages.ts";
import { pageOf } from "../ui/page.ts";
import { Controls } from "./controls.ts";
import { LaneCard } from "./laneCard.ts";
import { laneColors, lossChart } from "./lossChart.ts";
import { type LaneHistory, Race } from "./race.ts";
import { attentionOf, type LaneName, laneNames, type TrainSettings } from "./settings.ts";
import { forgetRace, keepState, keepText, loadRace, type StoredRace } from "./storage.ts";
import { contextFor } from "./text.ts";
import { TextInput } from "./textInput.ts";

const saveEveryMs = 15_000;

/** Train: a dense and a sparse model side by side, on a text of one's own. */
export function trainPage(): HTMLElement {
  return new TrainPage().element;
}

class TrainPage {
  readonly element: HTMLElement;
  readonly #notice = notice();
  readonly #chart = new Chart();
  readonly #text = new TextInput((error) => this.#notice.fail(error));
  readonly #settings = new Controls();
  readonly #cards: Readonly<Record<LaneName, LaneCard>>;
  readonly #start = button("Start", () => void this.#startOrPause(), { class: "primary" });
  readonly #anew = button("New run", () => void this.#forget());
  readonly #write = button("Let them write", () => void this.#letWrite());
  readonly #prompt = h("input", { type: "text", id: newId("prompt"), value: "The " });
  readonly #saved = h("p", { class: "muted small", role: "status" });
  readonly #across: Control<"time" | "steps">;
  #race: Race | null = null;
  /** What the browser kept from before, until it is gone on with or thrown away. */
  #stored: StoredRace | null = null;
  #savedAt = 0;
  #isBusy = false;

  constructor() {
    this.#across = segments({
      label: "Loss against",
      value: "time",
      choices: [
        { value: "time", label: "time" },
        { value: "steps", label: "steps" },
      ],
      onInput: () => this.#show(),
    });
    const card = (name: LaneName) =>
      new LaneCard(name, { color: laneColors[name], download: () => void this.#download(name) });
    this.#cards = { dense: card("dense"), sparse: card("sparse") };
    this.element = pageOf(
      "Train",
      "Two small models of bytes learn from your text: one sees every earlier byte, the other what a sparse pattern shows it. They take turns, so that both have had the same time at any moment.",
      h(
        "div",
        { class: "split" },
        h(
          "section",
          { class: "card stack", "aria-label": "Text and models" },
          this.#text.element,
          ...this.#settings.elements,
        ),
        this.#progress(),
      ),
      h("div", { class: "pair" }, ...laneNames.map((name) => this.#cards[name].element)),
    );
    document.addEventListener("visibilitychange", () => {
      if (document.hidden && this.#race?.isRunning) this.#savedAt = 0;
    });
    this.#show();
    void this.#lookForStored();
  }

  #progress(): HTMLElement {
    return h(
      "section",
      { class: "card", "aria-label": "Progress" },
      this.#notice.element,
      h("div", { class: "buttons" }, this.#start, this.#anew),
      h("div", { class: "row" }, this.#across.element),
      this.#chart.element,
      this.#saved,
      h(
        "div",
        { class: "row" },
        h("div", { class: "field" }, h("label", { for: this.#prompt.id }, "Begin their writing with"), this.#prompt),
        this.#write,
      ),
    );
  }

  /** A run that was left by a reload, or by closing the page. */
  async #lookForStored(): Promise<void> {
    try {
      this.#stored = await loadRace();
    } catch {
      this.#saved.textContent = "This browser keeps nothing for the page: a reload loses the run.";
    }
    if (!this.#stored || this.#race) return;
    const { settings, text, savedAt } = this.#stored;
    this.#settings.set(settings);
    this.#text.set(text);
    this.#notice.say(
      h("strong", {}, "A run is kept in this browser, "),
      `from ${new Date(savedAt).toLocaleString()}. Press Resume to go on with it, or New run to throw it away.`,
    );
    this.#show();
  }

  async #startOrPause(): Promise<void> {
    if (this.#race?.isRunning) {
      await this.#guard(() => this.#race!.pause());
      return;
    }
    await this.#guard(async () => {
      this.#race ??= await this.#openRace();
      this.#stored = null;
    });
    if (this.#race) void this.#run(this.#race);
  }

  async #openRace(): Promise<Race> {
    this.#notice.say("Opening the device and making the models; a GPU compiles its kernels now ...");
    const text = this.#text.value();
    const settings = this.#stored?.settings ?? this.#settingsFor(contextFor(text, this.#settings.value.T));
    const race = await Race.open(settings, this.#stored?.text ?? text, this.#stored);
    this.#notice.clear();
    if (!this.#stored) await keepText(text).catch((error: unknown) => this.#notice.fail(error));
    return race;
  }

  #settingsFor(T: number): TrainSettings {
    const settings = { ...this.#settings.value, T };
    this.#settings.set(settings);
    return settings;
  }

  /** Steps until paused; whatever ends it, what was reached is kept. */
  async #run(race: Race): Promise<void> {
    this.#savedAt = performance.now();
    const running = race.run(async () => {
      this.#show();
      if (performance.now() - this.#savedAt > saveEveryMs) await this.#save(race);
    });
    this.#show();
    try {
      await running;
      await this.#save(race);
    } catch (error) {
      // Its device may be gone: what was kept is gone on with on a new one. A run that was thrown away has failed nobody.
      if (this.#race !== race) return;
      this.#notice.fail(error);
      race.close();
      this.#race = null;
      this.#stored = await loadRace().catch(() => null);
    }
    this.#show();
  }

  async #save(race: Race): Promise<void> {
    this.#savedAt = performance.now();
    try {
      const snapshot = await race.snapshot();
      if (this.#race !== race) return;
      await keepState(snapshot);
      const { dense, sparse } = snapshot.lanes;
      this.#saved.textContent = `Kept in this browser: step ${dense.state.step} of dense, ${sparse.state.step} of sparse.`;
    } catch (error) {
      this.#notice.fail(error);
    }
  }

  async #forget(): Promise<void> {
    await this.#guard(async () => {
      this.#race?.close();
      this.#race = null;
      this.#stored = null;
      this.#saved.textContent = "";
      this.#notice.clear();
      for (const name of laneNames) this.#cards[name].clear();
      await forgetRace();
    });
  }

  /** Runs something that needs the models at rest, and then goes on if they were running. */
  async #atRest(work: (race: Race) => Promise<void>): Promise<void> {
    await this.#guard(async () => {
      // A run that was kept needs its models first.
      this.#race ??= await this.#openRace();
      this.#stored = null;
      const wasRunning = this.#race.isRunning;
      await this.#race.pause();
      await work(this.#race);
      if (wasRunning) void this.#run(this.#race);
    });
  }

  async #letWrite(): Promise<void> {
    const prompt = this.#prompt.value;
    await this.#atRest(async (race) => {
      for (const name of laneNames) {
        this.#cards[name].beginWriting(prompt);
        await race.write(name, prompt, (text) => this.#cards[name].addWriting(text));
      }
    });
  }

  async #download(name: LaneName): Promise<void> {
    await this.#atRest(async (race) => {
      const url = URL.createObjectURL(new Blob([await race.weights(name)]));
      const file = `scfa-${name}-step-${race.lane(name).history.losses.length}.safetensors`;
      h("a", { href: url, download: file }).click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
      this.#notice.say(`Downloaded. Let it write: `, h("code", {}, `npx scfa sample ${file} --prompt "The "`));
    });
  }

  /** One thing at a time; what fails is said. */
  async #guard(work: () => Promise<void>): Promise<void> {
    this.#isBusy = true;
    this.#show();
    try {
      await work();
    } catch (error) {
      this.#notice.fail(error);
    } finally {
      this.#isBusy = false;
      this.#show();
    }
  }

  #historyOf(name: LaneName): LaneHistory | null {
    return this.#race?.lane(name).history ?? this.#stored?.lanes[name].history ?? null;
  }

  #show(): void {
    const hasRun = this.#race !== null || this.#stored !== null;
    const isRunning = this.#race?.isRunning === true;
    this.#start.textContent = isRunning ? "Pause" : hasRun ? "Resume" : "Start";
    this.#start.disabled = this.#isBusy;
    this.#anew.disabled = this.#isBusy || !hasRun;
    this.#write.disabled = this.#isBusy || !hasRun;
    this.#text.disable(hasRun || this.#isBusy);
    this.#settings.disable(hasRun || this.#isBusy);
    const settings = this.#race?.settings ?? this.#stored?.settings ?? this.#settings.value;
    for (const name of laneNames) {
      this.#cards[name].show({
        attention: attentionOf(name, settings),
        T: settings.T,
        history: this.#historyOf(name),
        view: this.#race?.lane(name) ?? null,
        canDownload: hasRun && !this.#isBusy,
      });
    }
    const histories = { dense: this.#historyOf("dense"), sparse: this.#historyOf("sparse") };
    this.#chart.show(lossChart(histories, { settings, byTime: this.#across.value === "time" }));
  }
}
