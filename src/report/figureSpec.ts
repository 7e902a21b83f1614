import { z } from "zod";

/**
 * `NAME.figure.json`: how a figure is made of recorded lines. It lies beside them, and NAME.svg is what it makes. Expressions and
 * transforms are Vega's (vega.github.io/vega/docs/expressions, /transforms); `datum` is a line.
 */
export type FigureSpec = z.infer<typeof figureSchema>;
export type PanelSpec = FigureSpec["panels"][number];
export type AxisSpec = PanelSpec["x"];

/** A CSS variable of the page: runs' colours, a ramp for what has an order, ink, a muted ink. */
const color = z.string().regex(/^(run[0-7]|ramp[0-5]|ink|muted)$/, "run0..run7, ramp0..ramp5, ink or muted");

const axis = z.strictObject({
  /** Of a line, after `transform`; numbers. */
  field: z.string(),
  /** In plain words, with the unit. */
  title: z.string(),
  scale: z.enum(["linear", "log", "log2"]).default("linear"),
  /** How numbers are written: 1.2M; 16k for 16384; 50 %; 2x. */
  numbers: z.enum(["short", "kibi", "percent", "times"]).default("short"),
  /** Ends, where the data should not decide: of a linear axis y begins at 0 without. */
  domain: z.tuple([z.number(), z.number()]).optional(),
});

/** Names of files of lines in the same folder. */
export const linesSchema = z.array(z.string().regex(/^[^/\\]+\.jsonl$/, "a file.jsonl of the same folder")).min(1);

/** Chooses and computes, by Vega's transforms; without it each line stands as it is. */
export const transformSchema = z.array(z.looseObject({ type: z.string() })).default([]);

export const figureSchema = z.strictObject({
  title: z.string(),
  /** What stands below: what was measured, what to see, what is missing and why. */
  says: z.string(),
  lines: linesSchema,
  transform: transformSchema,
  /** Which lines belong together; a value of `field` that is not among `kinds` is an error, so that nothing is lost unseen. */
  series: z.strictObject({
    field: z.string(),
    kinds: z
      .array(
        z.strictObject({
          is: z.union([z.string(), z.number(), z.boolean()]),
          /** Stands at the end of the line. */
          label: z.string(),
          color,
          dashed: z.boolean().default(false),
        }),
      )
      .min(1),
  }),
  /** Beside each other, in rows. */
  columns: z.number().int().min(1).max(3).optional(),
  panels: z
    .array(
      z.strictObject({
        title: z.string(),
        /** An expression: which lines are here. */
        where: z.string().optional(),
        x: axis,
        y: axis,
        /** Horizontal lines of comparison: a limit, what guessing gives. */
        rules: z.array(z.strictObject({ at: z.number(), label: z.string() })).default([]),
      }),
    )
    .min(1),
});
