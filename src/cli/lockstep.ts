/**
 * Lets several runs take their steps in turns: step i of the first, of the second, ..., then step i + 1 of the first. So
 * each has the machine to itself while it steps, and what the machine does meanwhile hits all alike.
 */
export class Lockstep {
  readonly #members: Set<number>;
  readonly #waiting = new Map<number, () => void>();
  /** Whose turn it is; undefined when all have left. */
  #holder: number | undefined = 0;
  /** Whether the holder is stepping, rather than awaited. */
  #isStepping = false;
  /** Whether the holder's turn begins a round. */
  #isNewRound = true;

  /**
   * @param count runs, numbered from 0
   * @param beforeRound called before the first step of each round
   */
  constructor(
    count: number,
    readonly beforeRound: () => void = () => {},
  ) {
    this.#members = new Set(Array.from({ length: count }, (_, i) => i));
  }

  /** Ends the member's turn, if it has it, and waits for its next one. */
  takeTurn(member: number): Promise<void> {
    if (this.#isStepping && this.#holder === member) this.#passOn(member);
    const turn = new Promise<void>((resolve) => this.#waiting.set(member, resolve));
    this.#grant();
    return turn;
  }

  /** The member takes no more turns: it is done, or it failed. */
  leave(member: number): void {
    this.#members.delete(member);
    this.#waiting.delete(member);
    if (this.#holder === member) this.#passOn(member);
    this.#grant();
  }

  #passOn(from: number): void {
    const order = [...this.#members].sort((a, b) => a - b);
    this.#isStepping = false;
    const later = order.find((member) => member > from);
    this.#isNewRound = later === undefined;
    this.#holder = later ?? order[0];
  }

  #grant(): void {
    const holder = this.#holder;
    const go = holder === undefined ? undefined : this.#waiting.get(holder);
    if (holder === undefined || !go || this.#isStepping) return;
    this.#isStepping = true;
    this.#waiting.delete(holder);
    if (this.#isNewRound) this.beforeRound();
    go();
  }
}
