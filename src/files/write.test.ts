import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { DataError } from "../errors.ts";
import { verifyFolder, writeManifest } from "./checksum.ts";
import { cleanLeftovers, temporaryBeside } from "./leftovers.ts";
import { openFile } from "./open.ts";
import { publishFolder } from "./publish.ts";
import { writeDurably } from "./write.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "scfa-files-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const isRoot = process.getuid?.() === 0;
const helloSha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

async function errorOf(promise: Promise<unknown>): Promise<DataError> {
  const error = await promise.then(
    () => undefined,
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(DataError);
  return error as DataError;
}

describe("writeDurably", () => {
  test("writes text, bytes and streams of pieces, and tells their digest", async () => {
    const path = join(folder, "a");
    expect(await writeDurably(path, "hello")).toEqual({ bytes: 5, sha256: helloSha256 });
    expect(await writeDurably(path, [Buffer.from("hel"), Buffer.from("lo")])).toEqual({
      bytes: 5,
      sha256: helloSha256,
    });
    expect(readFileSync(path, "utf8")).toBe("hello");
    expect(readdirSync(folder)).toEqual(["a"]);
  });

  test("keeps the earlier file, and no rest, when the source of the pieces fails", async () => {
    const path = join(folder, "a");
    await writeDurably(path, "earlier");
    async function* failing() {
      yield Buffer.from("half");
      throw new Error("stopped");
    }
    await expect(writeDurably(path, failing())).rejects.toThrow("stopped");
    expect(readFileSync(path, "utf8")).toBe("earlier");
    expect(readdirSync(folder)).toEqual(["a"]);
  });

  test("writes through a symbolic link instead of replacing it", async () => {
    writeFileSync(join(folder, "real"), "1");
    symlinkSync("real", join(folder, "link"));
    await writeDurably(join(folder, "link"), "2");
    expect(readFileSync(join(folder, "real"), "utf8")).toBe("2");
  });

  test("names the file, the reason and the fix when the place is wrong", async () => {
    const missing = await errorOf(writeDurably(join(folder, "no", "a"), ""));
    expect(missing.message).toContain(`${join(folder, "no", "a")}: create: no such file or folder (ENOENT).`);
    mkdirSync(join(folder, "d"));
    expect((await errorOf(writeDurably(join(folder, "d"), ""))).message).toContain("(EISDIR)");
    expect(readdirSync(folder)).toEqual(["d"]);
  });

  test.skipIf(isRoot)("says that permission is denied (root may write anywhere, so not as root)", async () => {
    chmodSync(folder, 0o500);
    expect((await errorOf(writeDurably(join(folder, "a"), ""))).message).toContain("permission is denied (EACCES)");
    chmodSync(folder, 0o700);
  });
});

const canMount =
  isRoot &&
  process.platform === "linux" &&
  spawnSync("sh", ["-c", "d=$(mktemp -d) && mount -t tmpfs -o size=64k none $d && umount $d"]).status === 0;

describe.skipIf(!canMount)("on a file system of its own (needs root and mount)", () => {
  let disk: string;
  beforeEach(() => {
    disk = join(folder, "disk");
    mkdirSync(disk);
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=128k", "none", disk]);
  });
  afterEach(() => execFileSync("umount", [disk]));

  test("a full disk is one clear sentence, and the earlier file stays", async () => {
    const path = join(disk, "a");
    await writeDurably(path, "earlier");
    const error = await errorOf(writeDurably(path, new Uint8Array(1 << 20)));
    expect(error.message).toBe(
      `${path}: write: the disk is full (ENOSPC). Free some space, then run the command again. Nothing that was there before is changed.`,
    );
    expect(readFileSync(path, "utf8")).toBe("earlier");
    expect(readdirSync(disk)).toEqual(["a"]);
  });

  test("a full disk while a folder is published leaves the earlier folder", async () => {
    const path = join(disk, "run");
    await publishFolder(path, (out) => out.write("a", "earlier"));
    const error = await errorOf(
      publishFolder(path, (out) => out.write("a", new Uint8Array(1 << 20)), { overwrite: true }),
    );
    expect(error.file).toBe(join(path, "a"));
    expect(error.message).toContain("(ENOSPC)");
    expect(readFileSync(join(path, "a"), "utf8")).toBe("earlier");
    expect(readdirSync(disk)).toEqual(["run"]);
  });

  test("a read-only file system is one clear sentence", async () => {
    execFileSync("mount", ["-o", "remount,ro", disk]);
    expect((await errorOf(writeDurably(join(disk, "a"), "x"))).message).toContain(
      "the file system is read-only (EROFS)",
    );
    expect((await errorOf(publishFolder(join(disk, "b"), async () => {}))).message).toContain("(EROFS)");
  });
});

describe("publishFolder", () => {
  test("shows nothing before all of it is there", async () => {
    const path = join(folder, "step-1");
    await publishFolder(path, async (out) => {
      await out.write("a", "hello");
      expect(existsSync(path)).toBe(false);
    });
    expect(readdirSync(folder)).toEqual(["step-1"]);
  });

  test("leaves nothing when filling fails", async () => {
    const failing = publishFolder(join(folder, "x"), async (out) => {
      await out.write("a", "hello");
      throw new Error("stopped");
    });
    await expect(failing).rejects.toThrow("stopped");
    expect(readdirSync(folder)).toEqual([]);
  });

  test("replaces only when asked, and never a folder with files of others", async () => {
    const path = join(folder, "x");
    await publishFolder(path, (out) => out.write("a", "1"));
    const again = () => publishFolder(path, (out) => out.write("a", "2"));
    expect((await errorOf(again())).message).toContain("it already exists and is not empty");
    await publishFolder(path, (out) => out.write("a", "2"), { overwrite: true, expected: ["a"] });
    expect(readFileSync(join(path, "a"), "utf8")).toBe("2");
    writeFileSync(join(path, "mine.txt"), "");
    const others = publishFolder(path, async () => {}, { overwrite: true, expected: ["a"] });
    expect((await errorOf(others)).message).toContain("other files (mine.txt)");
    writeFileSync(join(folder, "f"), "");
    expect((await errorOf(publishFolder(join(folder, "f"), async () => {}))).message).toContain("a file of this name");
    expect(readdirSync(folder).sort()).toEqual(["f", "x"]);
  });
});

describe("leftovers of killed runs", () => {
  // A process that has ended for certain.
  const deadPid = () => spawnSync("true").pid;
  const dead = (path: string, kind: "tmp" | "old") =>
    temporaryBeside(path, kind).replace(`-${process.pid}-`, `-${deadPid()}-`);

  test("are removed at the next start; those of living runs and other files stay", async () => {
    const target = join(folder, "x");
    mkdirSync(dead(target, "tmp"));
    const alive = temporaryBeside(target);
    mkdirSync(alive);
    writeFileSync(join(folder, ".x.tmp"), "");
    expect((await cleanLeftovers(folder)).length).toBe(1);
    expect(readdirSync(folder).sort()).toEqual([alive.slice(folder.length + 1), ".x.tmp"].sort());
  });

  test("a folder set aside by a run killed between its two renames is put back", async () => {
    const target = join(folder, "x");
    const aside = dead(target, "old");
    mkdirSync(aside);
    writeFileSync(join(aside, "a"), "earlier");
    await cleanLeftovers(folder);
    expect(readFileSync(join(target, "a"), "utf8")).toBe("earlier");
    expect(readdirSync(folder)).toEqual(["x"]);
  });

  test("a folder set aside is removed where its successor stands", async () => {
    const target = join(folder, "x");
    mkdirSync(dead(target, "old"));
    mkdirSync(target);
    writeFileSync(join(target, "a"), "new");
    await cleanLeftovers(folder);
    expect(readdirSync(folder)).toEqual(["x"]);
    expect(readFileSync(join(target, "a"), "utf8")).toBe("new");
  });
});

describe("checksums", () => {
  const make = async () => {
    const path = join(folder, "x");
    await publishFolder(path, async (out) => {
      await out.write("a", "hello");
      await out.write("b", new Uint8Array(100_000));
      await writeManifest(out);
    });
    return path;
  };

  test("agree for an untouched folder", async () => {
    expect((await verifyFolder(await make()))["a"]).toEqual({ bytes: 5, sha256: helloSha256 });
  });

  test("name the file that is missing, cut short, or changed by one bit", async () => {
    const path = await make();
    const changed = new Uint8Array(100_000);
    changed[77_777] = 1;
    writeFileSync(join(path, "b"), changed);
    expect((await errorOf(verifyFolder(path))).message).toContain(
      `${join(path, "b")}: content: the bytes do not match`,
    );
    writeFileSync(join(path, "b"), "");
    expect((await errorOf(verifyFolder(path))).message).toContain("must hold 100000 bytes, but holds 0");
    rmSync(join(path, "a"));
    expect((await errorOf(verifyFolder(path))).file).toBe(join(path, "a"));
    writeFileSync(join(path, "checksums.json"), '{"version":1,"files":{"../a":{}}}');
    expect((await errorOf(verifyFolder(path))).file).toBe(join(path, "checksums.json"));
  });
});

describe("openFile", () => {
  test("refuses what is no regular file, and reads outside the file", async () => {
    expect((await errorOf(openFile(folder))).message).toContain("this is a folder");
    expect((await errorOf(openFile("/dev/null"))).message).toContain("not a regular file");
    expect((await errorOf(openFile(join(folder, "a\0b")))).message).toContain("no valid path");
    const path = join(folder, "a");
    writeFileSync(path, "hello");
    await using source = await openFile(path);
    expect(Buffer.from(await source.read(1, 3)).toString()).toBe("ell");
    expect((await errorOf(source.read(3, 2 ** 40))).message).toContain("the file ends at byte 5");
    writeFileSync(path, "h");
    expect((await errorOf(source.read(0, 5))).message).toContain("became shorter");
  });
});
