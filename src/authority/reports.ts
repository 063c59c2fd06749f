/**
 * What each process has in force, as it tells the authority: at once after every change, and every few
 * seconds as a sign of life. Kept in the state store, so that any authority can answer; written only
 * when something changed or the last sign of life grows old, since every process of the cluster reports.
 */
import { z } from 'zod';
import type { Clock } from '#env/env.ts';
import { defineRecord } from '#state/record.ts';
import type { State } from '#state/state.ts';
import { KEYS } from './records.ts';

const MAX_DEVICES = 1024;
const MAX_RINGS = 256;
/** How old the recorded sign of life may get. */
const REFRESH_MS = 15_000;
/** Not heard of for so long: counted as away. Above REFRESH_MS and a report's interval. */
const AWAY_MS = 45_000;
/** Forgotten, unless it is a member: a worker that was configured away. */
const FORGET_MS = 24 * 3_600_000;

const text = z.string().max(256);

export const reportSchema = z
  .object({
    process: z.string().regex(/^[a-z0-9][a-z0-9._-]{0,63}(\/worker-\d{1,2})?$/),
    site: text,
    roles: z.array(text).max(8),
    version: text,
    bundleVersion: z.number().int().min(0),
    rings: z
      .record(text, z.number().int())
      .refine((rings) => Object.keys(rings).length <= MAX_RINGS, 'too many rings'),
    devices: z
      .array(
        z.object({
          id: z.number().int().min(0),
          name: text,
          status: text,
          reason: text.optional(),
          usedBytes: z.number().min(0),
          totalBytes: z.number().min(0),
        }),
      )
      .max(MAX_DEVICES),
    /** Where it serves other things, by role. */
    ports: z.record(text, z.number().int().min(0).max(65_535)).optional(),
    /** The last bundle that it refused, and why. */
    refused: z.object({ version: z.number(), code: text }).optional(),
    certifiedUntilMs: z.number().optional(),
    /** How it is at this moment: always another, and no reason to write a report anew. */
    moment: z
      .object({
        /** Its wall clock. */
        clockMs: z.number(),
        uptimeSeconds: z.number().min(0),
        /** What waits: to be listed, on stand-ins for others, in quarantine for a person. */
        queues: z.record(text, z.number().min(0)),
        /** Everything on its devices was read since then; absent: not yet. */
        verifiedSinceMs: z.number().optional(),
      })
      .strict()
      .optional(),
  })
  .strict();

export type ProcessReport = z.infer<typeof reportSchema>;

const reportRecord = defineRecord({
  name: 'process report',
  version: 1,
  schema: z.object({
    report: reportSchema,
    atMs: z.number(),
    /** By device: since when it has been failing. */
    failingSince: z.record(z.string(), z.number()),
  }),
});

export type ReportRecord = ReturnType<typeof reportRecord.decode>;

/** States in which a device takes writes, or will by itself. */
const HEALTHY = new Set(['ok', 'full', 'opening']);

export class Reports {
  readonly #state: State;
  readonly #clock: Clock;
  /** What this authority wrote last, by process. */
  readonly #written = new Map<string, { readonly text: string; readonly atMs: number }>();

  constructor(state: State, clock: Clock) {
    this.#state = state;
    this.#clock = clock;
  }

  async note(report: ProcessReport): Promise<void> {
    const atMs = this.#now();
    const content = JSON.stringify({ ...report, moment: undefined });
    const written = this.#written.get(report.process);
    if (written?.text === content && atMs - written.atMs < REFRESH_MS) return;
    const key = KEYS.process(report.process);
    const before = await this.#state.get(key);
    const known = before === undefined ? {} : reportRecord.decode(before.value).failingSince;
    const failing = report.devices.filter(({ status }) => !HEALTHY.has(status));
    const failingSince = Object.fromEntries(
      failing.map(({ id }) => [String(id), known[String(id)] ?? atMs]),
    );
    const value = reportRecord.encode({ report, atMs, failingSince });
    await this.#state.txn({ success: [{ kind: 'put', key, value }] });
    this.#written.set(report.process, { text: content, atMs });
  }

  /** Every process that was heard of in the last day. */
  async all(): Promise<ReportRecord[]> {
    const { items } = await this.#state.range({ prefix: KEYS.processes });
    const records = items.map(({ value }) => reportRecord.decode(value));
    return records.filter(({ atMs }) => atMs > this.#now() - FORGET_MS);
  }

  isAway({ atMs }: ReportRecord): boolean {
    return this.#now() - atMs > AWAY_MS;
  }

  #now(): number {
    return this.#clock.wallMicros() / 1000;
  }
}
