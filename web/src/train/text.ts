import { PlainError } from "../ui/messages.ts";

/** A text to learn from. */
export interface TrainingText {
  readonly name: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Longer files are cut: a browser's storage keeps the text beside the models. */
export const longestText = 20_000_000;
/** The shortest context that is offered, and the bytes that a text needs for it. */
export const shortestContext = 128;
const shortestText = 4 * shortestContext;

/**
 * Makes sure that bytes are text, as UTF-8, and enough of it.
 * @throws PlainError in words for who chose the file
 */
export function checkText(name: string, bytes: Uint8Array<ArrayBuffer>): TrainingText {
  const text = bytes.subarray(0, longestText);
  if (!isText(text)) {
    throw new PlainError(
      `${name} is not a text file.`,
      "Choose a plain text in UTF-8, such as a .txt or .md file or source code; save a document as plain text first.",
    );
  }
  if (text.length < shortestText) {
    throw new PlainError(
      `There are only ${text.length} bytes of text.`,
      `Give at least ${shortestText}; a model needs some hundred thousand to learn words.`,
    );
  }
  return { name, bytes: text.slice() };
}

/** The longest of the contexts that a text has room for. */
export function contextFor({ bytes }: TrainingText, wanted: number): number {
  let T = wanted;
  while (T > shortestContext && bytes.length < 2 * T) T /= 2;
  return T;
}

function isText(bytes: Uint8Array): boolean {
  if (bytes.includes(0)) return false;
  try {
    // The end may lie inside a character.
    new TextDecoder("utf-8", { fatal: true }).decode(bytes, { stream: true });
    return true;
  } catch {
    return false;
  }
}
