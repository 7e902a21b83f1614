import { runCli } from "../src/cli/run.ts";

/** Runs a command in this process, and gives its exit code and what it printed. */
export async function scfa(...argv: string[]) {
  const [out, err]: [string[], string[]] = [[], []];
  const terminal = {
    out: (text: string) => void out.push(text),
    err: (text: string) => void err.push(text),
    isInteractive: false,
  };
  const code = await runCli(argv, terminal);
  return { code, out: out.join(""), err: err.join("") };
}
