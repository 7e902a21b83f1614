/** Text that is already HTML; everything else that enters a template is escaped. */
export class Html {
  constructor(readonly text: string) {}
}

type Piece = string | number | Html | readonly Piece[] | false | null | undefined;

/** A template tag: values are escaped, `Html` passes as it is, lists are joined, false, null and undefined give nothing. */
export function html(parts: TemplateStringsArray, ...values: readonly Piece[]): Html {
  return new Html(parts.reduce((text, part, i) => text + render(values[i - 1]) + part));
}

/** Marks trusted text (a style sheet, a finished SVG) as HTML. Never give it anything that came from a file. */
export function trusted(text: string): Html {
  return new Html(text);
}

/** The five characters that mean something in HTML and in its attributes, as entities; control characters dropped. */
export function escapeHtml(text: string): string {
  return (
    text
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
      .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/g, "\ufffd")
      .replace(/[&<>"']/g, (c) => entities[c]!)
  );
}

const entities: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

function render(piece: Piece): string {
  if (piece === false || piece === null || piece === undefined) return "";
  if (piece instanceof Html) return piece.text;
  if (typeof piece === "object") return piece.map(render).join("");
  return escapeHtml(String(piece));
}
