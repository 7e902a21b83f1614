import { type Command, type Flags, flagName } from "./command.ts";

/** The help of the whole program. */
export function programHelp(commands: readonly Command[], version: string): string {
  return `scfa ${version}: sparse causal FlashAttention, and a trainer on top of it.

Usage: scfa <command> [flags]

Start here
  scfa demo                            watch three small language models learn from a novel, five minutes
  scfa train --data my.txt --out runs/a   train one on a text of your own
  scfa sample runs/a --prompt "Once"      let it write
  scfa report runs/a                      open the page it makes

Commands
${columns(commands.map(({ name, summary }) => [name, summary]))}

Each command explains itself: scfa <command> --help
Every command takes --debug, which shows where in the program an error came from.
`;
}

/** The help of one command. */
export function commandHelp(command: Command, flags: Flags): string {
  const usage = ["scfa", command.name, command.args?.usage, "[flags]"].filter(Boolean).join(" ");
  const rows = Object.entries(flags).map(([key, { short, placeholder, help, byDefault }]) => [
    [short && `-${short},`, flagName(key), placeholder].filter(Boolean).join(" "),
    byDefault === undefined ? help : `${help} (default: ${byDefault})`,
  ]);
  rows.push(["--debug", "show where in the program an error came from"], ["-h, --help", "show this"]);
  const examples = command.examples.map(({ line, says }) => `  ${line}\n      ${says}`);
  return [
    `${command.summary.charAt(0).toUpperCase()}${command.summary.slice(1)}.`,
    command.description && wrap(command.description, { indent: 0 }),
    `Usage: ${usage}`,
    `Flags\n${columns(rows)}`,
    examples.length > 0 && `Examples\n${examples.join("\n")}`,
  ]
    .filter(Boolean)
    .join("\n\n")
    .concat("\n");
}

const lineWidth = 100;

/** Two columns; a name too long for its column stands on a line of its own. */
function columns(rows: readonly (readonly string[])[]): string {
  const width = Math.min(26, Math.max(...rows.map(([name]) => name!.length)));
  return rows
    .map(([name, text]) => {
      const lines = wrap(text!, { indent: width + 4 });
      return name!.length > width
        ? `  ${name}\n${" ".repeat(width + 4)}${lines}`
        : `  ${name!.padEnd(width)}  ${lines}`;
    })
    .join("\n");
}

/** Breaks text at spaces; all lines but the first are indented. Empty lines stay. */
function wrap(text: string, { indent }: { indent: number }): string {
  return text
    .split("\n")
    .map((paragraph) => {
      const lines: string[] = [];
      let line = "";
      for (const word of paragraph.split(" ")) {
        if (line !== "" && line.length + 1 + word.length > lineWidth - indent) {
          lines.push(line);
          line = word;
        } else line = line === "" ? word : `${line} ${word}`;
      }
      return [...lines, line].join(`\n${" ".repeat(indent)}`);
    })
    .join("\n");
}
