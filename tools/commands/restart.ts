/**
 * `anello restart`: nodes of a cluster on this machine, one after another. Each is asked to stop, ends
 * its requests, is started again by the supervisor, and the next one's turn comes when this one counts
 * again; so nothing is refused and no majority is missed meanwhile.
 */
import type { Command } from 'commander';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import { getJson, type RunningNode, readNodes } from '../endpoint.ts';
import { isHealthy } from '../up/health.ts';

const READY_MS = 180_000;
const ASK_MS = 200;

interface RestartOptions {
  readonly data: string;
  readonly rolling?: boolean;
  readonly json?: boolean;
}

const statusSchema = z.object({
  pid: z.number(),
  configured: z.array(z.unknown()),
  devices: z.array(
    z.object({ status: z.string(), complete: z.record(z.string(), z.number()) }).loose(),
  ),
});

export function register(program: Command): void {
  program
    .command('restart [node]')
    .description('nodes of this machine anew, one after another, without a failed request')
    .option('--data <dir>', "the cluster's data folder", './data')
    .option('--rolling', 'all nodes, each when the one before counts again')
    .option('--json', 'machine-readable output: a line for each node')
    .addHelpText('after', '\nExamples:\n  anello restart --rolling\n  anello restart bari-1')
    .action((name: string | undefined, options: RestartOptions) => restart(name, options));
}

async function restart(
  name: string | undefined,
  { data, rolling, json }: RestartOptions,
): Promise<void> {
  if ((name === undefined) !== (rolling === true))
    throw new OperatingError('wrong-use', 'anello restart: the name of a node, or --rolling');
  const nodes = readNodes(data).filter((node) => name === undefined || node.name === name);
  if (nodes.length === 0)
    throw new OperatingError('no-node', `there is no node ${name}`, { node: name });
  for (const node of nodes) await untilCounts(data, node.name, undefined);
  for (const node of nodes) {
    if (node.pid === null) throw new OperatingError('no-node', `${node.name} does not run`);
    process.kill(node.pid, 'SIGTERM');
    const pid = await untilCounts(data, node.name, node.pid);
    if (json) console.log(JSON.stringify({ node: node.name, pid }));
    else console.log(`${node.name} serves again (pid ${pid})`);
  }
}

/** The process that counts in majorities again, and answers clients; not the one named. */
async function untilCounts(data: string, name: string, former: number | undefined) {
  const deadline = performance.now() + READY_MS;
  let missing = 'its process';
  while (performance.now() < deadline) {
    const node = readNodes(data).find((one) => one.name === name);
    missing = node === undefined ? 'its process' : await missingOf(node, former);
    if (missing === '' && node?.pid != null) return node.pid;
    await new Promise((resolve) => setTimeout(resolve, ASK_MS));
  }
  const facts = { node: name, missing };
  throw new OperatingError('not-ready', `${name} does not serve: ${missing} is missing`, facts);
}

/** Empty: nothing. */
async function missingOf({ pid, ports }: RunningNode, former: number | undefined): Promise<string> {
  if (pid === null || pid === former) return 'its process';
  const answer = await getJson(`http://127.0.0.1:${ports.admin}/status`);
  if ('error' in answer) return 'its answer';
  const parsed = statusSchema.safeParse(answer.value);
  if (!parsed.success || parsed.data.pid !== pid) return 'its answer';
  const { configured, devices } = parsed.data;
  const whole = devices.filter(
    ({ status, complete }) =>
      (status === 'ok' || status === 'full') &&
      Object.values(complete).every((share) => share === 1),
  );
  if (whole.length < configured.length) return 'a device that counts';
  const { proxy } = ports as { proxy?: number };
  return proxy === undefined || (await isHealthy(proxy)) ? '' : 'its proxy';
}
