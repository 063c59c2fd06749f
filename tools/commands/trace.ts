/** `anello trace TXID`: which nodes a request touched, by which ring version, how long each step took. */

import type { Command } from 'commander';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import { addEndpointOptions, adminUrls, type EndpointOptions, getJson } from '../endpoint.ts';

const traceSchema = z.object({
  txn: z.string(),
  operation: z.string(),
  path: z.string(),
  /** Unix milliseconds. */
  startedAt: z.number(),
  /** Null while it is under way. */
  tookMs: z.number().nullable(),
  outcome: z.string().nullable(),
  steps: z.array(
    z.object({
      atMs: z.number(),
      tookMs: z.number(),
      node: z.string(),
      device: z.number(),
      call: z.string(),
      ringVersion: z.number(),
      outcome: z.string(),
    }),
  ),
});

export function register(program: Command): void {
  addEndpointOptions(program.command('trace <txid>'))
    .description('what one request did: nodes, ring version, how long each step took')
    .addHelpText(
      'after',
      '\nThe transaction id is in the X-Trans-Id header of every reply.\n\nExample:\n  anello trace tx1f0c6f2b3d4e4f5a6b7c8-0065a1b2c3',
    )
    .action(async (txid: string, options: EndpointOptions) => {
      const traces = await collect(txid, options);
      if (traces.length === 0) throw new OperatingError('unknown', `no process remembers ${txid}`);
      if (options.json) console.log(JSON.stringify(traces, null, 2));
      else for (const trace of traces) print(trace);
    });
}

type Trace = z.infer<typeof traceSchema> & { readonly process: string };

async function collect(txid: string, options: EndpointOptions): Promise<Trace[]> {
  const answers = await Promise.all(
    adminUrls(options).map(async ({ name, url }) => ({
      name,
      answer: await getJson(`${url}/trace/${encodeURIComponent(txid)}`),
    })),
  );
  return answers.flatMap(({ name, answer }) => {
    if ('error' in answer || answer.status !== 200) return [];
    const list = z.array(traceSchema).safeParse(answer.value);
    return list.success ? list.data.map((trace) => ({ ...trace, process: name })) : [];
  });
}

function print(trace: Trace): void {
  const end =
    trace.tookMs === null ? 'under way' : `${trace.outcome} after ${trace.tookMs.toFixed(2)} ms`;
  console.log(
    `${trace.process}: ${trace.operation} ${trace.path} at ${new Date(trace.startedAt).toISOString()}: ${end}`,
  );
  for (const step of trace.steps) {
    const times = `+${step.atMs.toFixed(2).padStart(8)} ms  ${step.tookMs.toFixed(2).padStart(8)} ms`;
    const where = `${step.node} device ${step.device}`;
    console.log(
      `  ${times}  ${where.padEnd(24)} ${step.call.padEnd(18)} ring v${step.ringVersion}  ${step.outcome}`,
    );
  }
}
