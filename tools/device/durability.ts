/** `anello status --durability`: what the durability meter of any storage node says. */
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import { type EndpointOptions, getJson, reasonOf, storageUrls } from '../endpoint.ts';

/** A large cluster in the middle of a repair takes its time to be counted. */
const TIMEOUT_MS = 120_000;

const countsSchema = z.object({
  total: z.number(),
  full: z.number(),
  missing1: z.number(),
  missing2: z.number(),
  lost: z.number(),
  unreachable: z.number(),
});

const reportSchema = z.object({
  objects: countsSchema,
  byPolicy: z.record(
    z.string(),
    countsSchema.extend({
      copies: z.record(z.string(), z.number()),
      sites: z.record(z.string(), z.number()),
    }),
  ),
  bySite: z.record(
    z.string(),
    z.object({ copies: z.number(), missing: z.number(), verified: z.number() }),
  ),
  handoffs: z.number(),
  asOf: z.string(),
  verifiedSince: z.string().nullable(),
  repairDoneAt: z.string().nullable(),
});

export type Report = z.infer<typeof reportSchema>;

/** @throws OperatingError `no-answer` */
export async function showDurability(options: EndpointOptions): Promise<void> {
  const report = await askDurability(options);
  if (options.json) console.log(JSON.stringify(report, null, 2));
  else for (const line of describe(report)) console.log(line);
}

/** The first storage node that answers: all of them say the same. */
export async function askDurability(options: EndpointOptions): Promise<Report> {
  const reasons: string[] = [];
  for (const { name, url } of storageUrls(options)) {
    const answer = await getJson(`${url}/durability`, TIMEOUT_MS);
    const parsed = 'error' in answer ? undefined : reportSchema.safeParse(answer.value);
    if (parsed?.success) return parsed.data;
    reasons.push(`${name} ${reasonOf(answer)}`);
  }
  throw new OperatingError('no-answer', `no storage node answers: ${reasons.join('; ')}`);
}

function describe(report: Report): string[] {
  const { objects, byPolicy, bySite, handoffs, asOf, verifiedSince, repairDoneAt } = report;
  const lines = [`objects  ${countsText(objects)}`];
  for (const [name, policy] of Object.entries(byPolicy)) {
    lines.push(`  policy ${name}  ${countsText(policy)}`);
    lines.push(`    good copies: ${spread(policy.copies)}`, `    sites: ${spread(policy.sites)}`);
  }
  for (const [name, { copies, missing, verified }] of Object.entries(bySite)) {
    const read = `${(100 * verified).toFixed(verified === 1 ? 0 : 1)} % read by the auditor`;
    lines.push(`  site ${name}  ${copies} good copies, ${missing} missing, ${read}`);
  }
  lines.push(`handoffs  ${handoffs}`, `as of  ${asOf}`);
  lines.push(`verified since  ${verifiedSince ?? 'not all of it yet'}`);
  if (objects.missing1 + objects.missing2 + objects.unreachable > 0) {
    lines.push(
      `repair done at  ${repairDoneAt ?? 'not known: nothing was mended in the last minute'}`,
    );
  }
  return lines;
}

function countsText(counts: z.infer<typeof countsSchema>): string {
  const { total, full, missing1, missing2, lost, unreachable } = counts;
  const short = { 'one short': missing1, 'two or more short': missing2, unreachable, lost };
  const parts = Object.entries(short).filter(([, count]) => count > 0);
  const rest = parts.map(([name, count]) => `, ${count} ${name}`).join('');
  return `${total}: ${full} full${rest}`;
}

/** `3: 4980, 2: 20` */
export function spread(counts: Readonly<Record<string, number>>): string {
  const parts = Object.entries(counts).sort(([a], [b]) => Number(b) - Number(a));
  return parts.map(([key, count]) => `${key}: ${count}`).join(', ') || 'none';
}
