import { existsSync, mkdtempSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { type BrowserContext, chromium } from "playwright-core";

/** A Chromium of this machine, if there is one. */
export const chromiumPath = (process.env["PATH"] ?? "")
  .split(":")
  .flatMap((folder) => ["chromium", "chromium-browser", "google-chrome"].map((name) => join(folder, name)))
  .find((path) => existsSync(path));

/** A headless browser with an empty profile that talks to nobody but this machine; `gpu: false` leaves WebGPU out. */
export function openChromium({ gpu: hasGpu = true }: { gpu?: boolean } = {}): Promise<BrowserContext> {
  const quiet = ["--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update"];
  // WebGPU in software: pages see no GPU of the machine.
  const gpu = hasGpu ? ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"] : ["--disable-features=WebGPU"];
  return chromium.launchPersistentContext(mkdtempSync(join(tmpdir(), "scfa-chromium-")), {
    executablePath: chromiumPath!,
    headless: true,
    args: ["--no-sandbox", "--disable-sync", ...quiet, ...gpu],
  });
}

const mimeTypes: Record<string, string> = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css" };

/** Serves a folder; `isolated` adds the headers that give a page shared memory. */
export async function serve(
  folder: string,
  { isolated }: { isolated: boolean },
): Promise<{ url: string; server: Server }> {
  const isolation = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url!, "http://localhost");
    const path = join(folder, pathname === "/" ? "index.html" : pathname);
    try {
      const body = await readFile(path);
      response.writeHead(200, {
        "Content-Type": mimeTypes[extname(path)] ?? "application/octet-stream",
        ...(isolated && isolation),
      });
      response.end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, server };
}
