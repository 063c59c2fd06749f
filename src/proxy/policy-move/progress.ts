/** How far a step of a container's move is, as the job's record keeps it (`place` in job-record.ts). */
import { z } from 'zod';

/** The container of the records. */
export const MOVE_JOB = 'policy';

const schema = z.object({
  /** When all replicas of the container were known to have its settings (Unix ms); 0: not yet. */
  confirmedMs: z.number(),
  after: z.object({ hidden: z.number(), name: z.string() }).optional(),
  isWalked: z.boolean(),
  /** Gone through, deleted ones too. */
  names: z.number(),
  failed: z.number(),
});

export type Progress = z.infer<typeof schema>;

export const NO_PROGRESS: Progress = { confirmedMs: 0, isWalked: false, names: 0, failed: 0 };

export function encodeProgress(progress: Progress): string {
  return JSON.stringify(progress);
}

/** What can't be read is begun anew: everything may be done twice. */
export function decodeProgress(text: string): Progress {
  try {
    return schema.parse(JSON.parse(text));
  } catch {
    return NO_PROGRESS;
  }
}
