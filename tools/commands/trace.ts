/** `anello trace TXID`: which nodes a request touched, by which ring version, how long each step took. */
import { OperatingError } from '#base/errors.ts';
import type { Command } from 'commander';
import { z } from 'zod';
import { addEndpointOptions, adminUrls, type EndpointOptions, getJson } from '../endpoint.ts';

const traceSchema = z.object({
  txn: z.string(),
  operation: z.string(),
  ringVersion: z.number().optional(),
  startedAt: z.string(),
  ms: z.number(),
  outcome: z.string(),
  steps: z.array(z.object({ atMs: z.number(), ms: z.number(), node: z.string(), call: z.string(), outcome: z.string() }).loose()),
});

export function register(program: Command): void {
  addEndpointOptions(program.command('trace <txid>'))
    .description('what one request did: nodes, ring version, how long each step took')
    .addHelpText('after', '\nThe transaction id is in the X-Trans-Id header of every reply.\n\nExample:\n  anello trace tx1f0c6f2b3d4e4f5a6b7c8-0065a1b2c3')
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
    adminUrls(options).map(async ({ name, url }) => ({ name, answer: await getJson(`${url}/trace/${encodeURIComponent(txid)}`) })),
  );
  return answers.flatMap(({ name, answer }) => {
    if ('error' in answer || answer.status !== 200) return [];
    const list = z.array(traceSchema).safeParse(answer.value);
    return list.success ? list.data.map((trace) => ({ ...trace, process: name })) : [];
  });
}

function print(trace: Trace): void {
  const ring = trace.ringVersion === undefined ? '' : `, ring version ${trace.ringVersion}`;
  console.log(`${trace.process}: ${trace.operation} at ${trace.startedAt}${ring}: ${trace.outcome} after ${trace.ms.toFixed(2)} ms`);
  for (const step of trace.steps) {
    console.log(`  +${step.atMs.toFixed(2).padStart(8)} ms  ${step.ms.toFixed(2).padStart(8)} ms  ${step.node.padEnd(12)} ${step.call.padEnd(18)} ${step.outcome}`);
  }
}
